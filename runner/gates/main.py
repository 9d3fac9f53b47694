"""The whole of gate.py: options, criteria, what is shown of each, summary, exit status."""
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from runner.errors import UsageError, explain_os_error
from runner.gates.command import COMMAND
from runner.gates.documents import DOCUMENTS
from runner.gates.file import Criterion, GateFile, read_gates
from runner.gates.kinds import Finding, Kind, NotJudged, Workshop
from runner.gates.reference import Reference, find_reference
from runner.gates.run import RUN
from runner.gates.scaling import SCALING
from runner.gates.show import Show
from runner.gates.speed import SPEED
from runner.interrupts import Interrupted, Interrupts
from runner.machine import driver_environment
from runner.paths import TREE
from runner.patient_stream import run_patiently
from runner.schedule import in_words
from runner.sentence_parser import SentenceParser

ROOT = TREE
CRITERIA = TREE / "runner" / "gates.toml"
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (RUN, SPEED, SCALING, COMMAND, DOCUMENTS)}
EXIT_PASSED, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_EPILOG = """examples:
  runner/gate.py --list                          what is asked in each phase
  runner/gate.py --phase 1                       against the newest tag, else the commit before
  runner/gate.py --phase 2 --reference v1.2      against a revision, a directory or a library
  runner/gate.py --phase 1 --criteria mine.toml  criteria of your own

exit status: 0 every criterion passed; 1 one failed, or can't be judged; 2 wrong usage, or a mistake in
the file of criteria; 130 interrupted (what was found until then is shown)
"""


@dataclass(frozen=True)
class Verdict:
    """What came of one criterion."""

    criterion: Criterion
    finding: Finding
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        finding = self.finding
        return {
            "name": self.criterion.name, "kind": self.criterion.kind.name, "passed": finding.passed,
            "asked": self.criterion.asked, "measured": finding.measured, "remarks": finding.remarks,
            "lines": finding.lines, "seconds": round(self.seconds, 3),
        }


def main(arguments: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    return run_patiently("gate.py", lambda: _guarded(arguments), lambda status: status or EXIT_FAILED)


def _guarded(arguments: Sequence[str]) -> int:
    interrupts = Interrupts()
    interrupts.install()
    try:
        return _run(arguments, interrupts)
    except UsageError as error:
        _say(f"gate.py: {error}")
        return EXIT_USAGE
    except Interrupted:
        _say("Interrupted before anything was judged.")
        return interrupts.exit_status


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> SentenceParser:
    parser = SentenceParser(
        prog="gate.py", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="Checks the criteria of a phase, and names those that fail.",
    )
    parser.add_argument("--phase", metavar="N", help="the phase whose criteria are checked")
    parser.add_argument("--criteria", metavar="FILE", help="the file of criteria (default: runner/gates.toml)")
    parser.add_argument("--reference", metavar="WHAT", help="what speed is measured against: a git revision, a "
                        "directory or a library (default: as the file of criteria says)")
    parser.add_argument("--drivers", metavar="DIR", help="take what is built from DIR/release, DIR/asan, DIR/tsan "
                        "and DIR/guard, and build nothing (default: out/, brought up to date)")
    parser.add_argument("--list", action="store_true", help="show what is asked, of one phase or of all, and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output; the lines go to "
                        "standard error")
    return parser


def _run(arguments: Sequence[str], interrupts: Interrupts) -> int:
    given = _parser().parse_args(list(arguments))
    phase = _phase(given.phase)
    gates = read_gates(_path(given.criteria, "--criteria") or CRITERIA, KINDS)
    if given.list:
        return _show_list(gates, phase, given.json)
    if phase is None:
        raise UsageError("--phase N says which phase's criteria are checked; --list shows them all.")
    criteria = gates.of_phase(phase)
    drivers = _path(given.drivers, "--drivers")
    if drivers is not None and not drivers.is_dir():
        raise UsageError(f"--drivers {drivers}: that is no directory; check the path.")
    reference = Reference("", "none", "no criterion of this phase needs one")
    if any(criterion.kind.needs_reference for criterion in criteria):
        if given.reference is not None and not given.reference.strip():
            raise UsageError("--reference: the name is empty; give a revision, a directory or a library.")
        reference = find_reference(given.reference or gates.reference, ROOT)
        if given.reference and reference.problem is not None and not reference.shallow:
            raise UsageError(reference.problem.replace("the reference ", "--reference ", 1) + ".")
    try:
        scratch = tempfile.TemporaryDirectory(prefix="hakmem-gate-")
    except OSError as error:
        raise UsageError(explain_os_error(error, Path(tempfile.gettempdir()))) from error
    with scratch:
        show = Show(quiet=given.json)
        workshop = Workshop(
            ROOT, drivers.resolve() if drivers else ROOT / "out", drivers is None, reference, Path(scratch.name),
            driver_environment(os.environ), interrupts, show.tell,
        )
        many = f"{len(criteria)} criteri{'on' if len(criteria) == 1 else 'a'}"
        show.line(f"Phase {phase}{_title(gates, phase)}: {many}")
        verdicts, unseen = _judge_all(criteria, workshop, show)
    _summarise(verdicts, unseen, phase, show)
    if given.json:
        print(json.dumps(_as_json(gates, phase, reference, verdicts, unseen), indent=2))
    if unseen:
        return interrupts.exit_status
    return EXIT_PASSED if all(verdict.finding.passed for verdict in verdicts) else EXIT_FAILED


def _phase(given: Optional[str]) -> Optional[int]:
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and 0 < int(given[:9]) < 100):
        raise UsageError(f"--phase: '{given}' is no phase; give its number, such as 1.")
    return int(given)


def _path(given: Optional[str], option: str) -> Optional[Path]:
    if given is None:
        return None
    if not given or "\0" in given:
        raise UsageError(f"{option}: the name is empty; give a path.")
    return Path(given)


def _title(gates: GateFile, phase: int) -> str:
    return f" ({gates.titles[phase]})" if phase in gates.titles else ""


def _judge_all(
    criteria: Sequence[Criterion], workshop: Workshop, show: Show
) -> tuple[list[Verdict], list[Criterion]]:
    """Judge one after the other. Return what was found, and what an interrupt kept from being judged."""
    verdicts: list[Verdict] = []
    for number, criterion in enumerate(criteria):
        show.begin(f"[{number + 1} of {len(criteria)}] {criterion.name}")
        begin = time.monotonic()
        try:
            workshop.interrupts.check()
            finding = _judge_one(criterion, workshop)
        except Interrupted:
            show.clear()
            return verdicts, list(criteria[number:])
        verdicts.append(Verdict(criterion, finding, time.monotonic() - begin))
        _show_verdict(verdicts[-1], show)
    return verdicts, []


def _judge_one(criterion: Criterion, workshop: Workshop) -> Finding:
    try:
        return criterion.kind.judge(criterion.values, workshop)
    except NotJudged as reason:
        return Finding(False, f"can't be judged: {reason}", lines=reason.lines)
    except (UsageError, OSError) as error:
        workshop.interrupts.check()  # what failed, may have failed because of the signal
        return Finding(False, f"can't be judged: {str(error).rstrip('.')}")


def _show_verdict(verdict: Verdict, show: Show) -> None:
    finding, criterion = verdict.finding, verdict.criterion
    word = "passed" if finding.passed else "FAILED"
    show.line(f"{word}  {criterion.name}: asked: {criterion.asked}; measured: {finding.measured}")
    for remark in finding.remarks:
        show.line(f"        {remark}")
    if not finding.passed:
        for line in finding.lines:
            show.line(f"      | {line}")


def _summarise(
    verdicts: Sequence[Verdict], unseen: Sequence[Criterion], phase: int, show: Show
) -> None:
    failed = [verdict for verdict in verdicts if not verdict.finding.passed]
    show.line()
    if unseen:
        show.line(f"Interrupted: phase {phase} is not decided; not judged: "
                  f"{', '.join(criterion.name for criterion in unseen)}.")
    seconds = in_words(sum(verdict.seconds for verdict in verdicts))
    show.line(f"{len(verdicts) - len(failed)} passed, {len(failed)} failed in {seconds}")
    for verdict in failed:
        show.line(f"FAILED  {verdict.criterion.name}: {verdict.finding.measured}")
    if not unseen:
        show.line(f"Phase {phase} {'FAILED' if failed else 'passed'}.")


def _as_json(
    gates: GateFile, phase: int, reference: Reference, verdicts: Sequence[Verdict], unseen: Sequence[Criterion]
) -> dict[str, Any]:
    return {
        "phase": phase, "title": gates.titles.get(phase), "criteria_file": str(gates.path),
        "reference": {"given": reference.rev, "title": reference.title, "why": reference.why,
                      "problem": reference.problem},
        "passed": not unseen and all(verdict.finding.passed for verdict in verdicts),
        "interrupted": bool(unseen),
        "criteria": [verdict.to_json() for verdict in verdicts],
        "not_judged": [criterion.name for criterion in unseen],
    }


def _show_list(gates: GateFile, phase: Optional[int], as_json: bool) -> int:
    criteria = gates.criteria if phase is None else gates.of_phase(phase)
    criteria = sorted(criteria, key=lambda criterion: criterion.phase)
    if as_json:
        rows = [{"phase": c.phase, "name": c.name, "kind": c.kind.name, "asked": c.asked} for c in criteria]
        print(json.dumps({"criteria_file": str(gates.path), "criteria": rows}, indent=2))
        return EXIT_PASSED
    before = None
    for criterion in criteria:
        if criterion.phase != before:
            print(f"Phase {criterion.phase}{_title(gates, criterion.phase)}")
            before = criterion.phase
        print(f"  {criterion.name} [{criterion.kind.name}]\n      {criterion.asked}")
    return EXIT_PASSED
