"""The kind `run`: a driver runs to its end with every set of parameters, without a crash, a damaged
block, or a word from a sanitizer."""
from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from runner.allocators import SUBJECT, Allocator
from runner.errors import UsageError
from runner.gates.kinds import Finding, Kind, NotJudged, Workshop
from runner.gates.values import Parameter, choice, flag, texts, time_span, whole
from runner.matrix import (
    make_cells, needs_calibration, parse_matrix, parse_workloads, with_operations,
)
from runner.measure import Laboratory, Ticket
from runner.programs import PROGRAMS
from runner.records import Cell, Failure, Settings
from runner.schedule import in_words

VARIANTS = ("release", "asan", "tsan", "guard")
_SANITIZERS = {"tsan": ("TSAN_OPTIONS", "ThreadSanitizer"), "asan": ("ASAN_OPTIONS", "AddressSanitizer")}
_DEFAULT_OPERATIONS = 1_000_000
_SEED = 42
_FAILURES_SHOWN = 3
_LOG_LINES = 12


def cells_of(workloads: Sequence[str], matrix: Sequence[str]) -> list[Cell]:
    """Return the cells of run.py's --workloads and --matrix; raises UsageError. Real programs are
    none of a gate's."""
    names = parse_workloads(workloads)
    programs = [name for name in names if name in PROGRAMS]
    if programs:
        raise UsageError(f"workloads: '{programs[0]}' is a real program; name drivers such as larson.")
    return make_cells(names, parse_matrix(matrix), [1])


def _check(values: Mapping[str, Any]) -> None:
    cells_of(values["workloads"], values["matrix"])


def _asked(values: Mapping[str, Any]) -> str:
    _, sanitizer = _SANITIZERS.get(values["variant"], ("", ""))
    parts = [
        "no crash", "exit status 0",
        *(["no damaged block"] if values["check"] else []),
        *([f"no {sanitizer} report"] if sanitizer else []),
    ]
    times = f", {values['repeat']} times each" if values["repeat"] > 1 else ""
    what = " ".join([", ".join(values["workloads"]), *values["matrix"]])
    return f"{what} in variant {values['variant']}{times}: {', '.join(parts)}"


def _judge(values: Mapping[str, Any], workshop: Workshop) -> Finding:
    variant, cells = values["variant"], cells_of(values["workloads"], values["matrix"])
    allocator = Allocator(SUBJECT, "linked")
    for workload in dict.fromkeys(cell.workload for cell in cells):
        workshop.make(variant, allocator.driver_name(workload))
    begin = time.monotonic()
    failed: list[tuple[Cell, str, list[str]]] = []
    runs = [cell for cell in cells for _ in range(values["repeat"])]
    for number, cell in enumerate(runs):
        left = (time.monotonic() - begin) / number * (len(runs) - number) if number else None
        workshop.tell(f"{number} of {len(runs)} runs"
                      f"{f', {in_words(left)} left' if left is not None else ''}, at {cell.id}")
        problem = _run(cell, allocator, number, values, workshop)
        if problem is not None:
            failed.append((cell, *problem))
    measured = (f"{len(runs) - len(failed)} of {len(runs)} run{'' if len(runs) == 1 else 's'} passed in "
                f"{in_words(time.monotonic() - begin)}")
    if not failed:
        return Finding(True, measured)
    which = ", ".join(dict.fromkeys(cell.id for cell, _, _ in failed))
    lines: list[str] = []
    for cell, reason, said in failed[:_FAILURES_SHOWN]:
        lines += [f"{cell.id}: {reason}", *(f"    {line}" for line in said)]
    if len(failed) > _FAILURES_SHOWN:
        lines.append(f"... and {len(failed) - _FAILURES_SHOWN} more")
    return Finding(False, f"{measured}; failed: {which}: {failed[0][1]}", lines=lines)


def _run(
    cell: Cell, allocator: Allocator, number: int, values: Mapping[str, Any], workshop: Workshop
) -> Optional[tuple[str, list[str]]]:
    """Run a driver once. Return why that does not pass, and what was said; None if it does."""
    log = workshop.scratch / f"sanitizer-{number}"
    environment = {**workshop.environment, **_sanitizer_environment(values["variant"], log, workshop)}
    settings = Settings(
        duration_seconds=values["seconds"], rounds=1, budget_seconds=None, check=values["check"], latency=False,
        quick=False, workload_seed=_SEED + number, order_seed=0, sample_limit_seconds=values["time_limit"],
    )
    if needs_calibration(cell):
        cell = with_operations(cell, _DEFAULT_OPERATIONS)
    laboratory = Laboratory(workshop.out / values["variant"], environment, workshop.interrupts)
    try:
        sample = laboratory.sample(Ticket(cell, allocator, 1, 0, False), settings)
    finally:
        laboratory.close()
    reports = sorted(workshop.scratch.glob(f"{log.name}.*"))
    said = [line for path in reports for line in _text_lines(path)]
    for path in reports:
        path.unlink()
    if said:
        return _summary(said), said[:_LOG_LINES]
    return (sample.failure.reason, _without_reason(sample.failure)) if sample.failure is not None else None


def _without_reason(failure: Failure) -> list[str]:
    return [line for line in failure.stderr if line not in failure.reason]


def _sanitizer_environment(variant: str, log: Path, workshop: Workshop) -> dict[str, str]:
    """Have the sanitizer write to files, one a process: standard error may be cut, and a report counts
    whatever the exit status is."""
    if variant not in _SANITIZERS:
        return {}
    name, _ = _SANITIZERS[variant]
    if '"' in str(log):
        raise NotJudged(f"the folder for temporary files, '{log.parent}', has a quotation mark in its name; "
                        "choose another with TMPDIR")
    ours = f'log_path="{log}":exitcode=66'
    return {name: ":".join(filter(None, [workshop.environment.get(name), ours]))}


def _text_lines(path: Path) -> list[str]:
    return [line.rstrip()[:400] for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]


def _summary(said: Iterable[str]) -> str:
    """Return the sanitizer's own summary, and how many reports there were."""
    found = [line[len("SUMMARY: "):] for line in said if line.startswith("SUMMARY: ")]
    if not found:
        return next(iter(said))
    return found[0] if len(found) == 1 else f"{found[0]}, and {len(found) - 1} more reports"


RUN = Kind(
    "run",
    {
        "workloads": Parameter(texts),
        "matrix": Parameter(texts, ()),
        "variant": Parameter(choice(*VARIANTS), "release"),
        "check": Parameter(flag, True),
        "repeat": Parameter(whole(1, 1000), 1),
        "seconds": Parameter(time_span, 1.0),
        "time_limit": Parameter(time_span, 300.0),
    },
    _check, _asked, _judge,
)
