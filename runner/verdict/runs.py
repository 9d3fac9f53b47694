"""Compares two sides, given as runs or as files, and returns all answers: the heart of compare.py.

Where both sides were measured in the same sessions their samples form pairs; else see runner.verdict.unpaired.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.allocators import NONE, RODS, SUBJECT
from runner.verdict.remarks import Context, fails_more_often, remarks_of
from runner.verdict.comparison import (
    DEFAULT_EFFECT, DEFAULT_FALSE_DISCOVERY_RATE, METRICS, Comparison, Side,
)
from runner.errors import UsageError, explain_os_error, nearest
from runner.verdict.fast_reader import read_recording
from runner.verdict.pairing import (
    BASE, NEW, Matched, cells_of, commonest, main_slot, match_pairs, question_of,
)
from runner.verdict import robust
from runner.verdict.recording import Recording, recording_of
from runner.records import BuildEntry, Machine, RunHeader
from runner.results_file import Run
from runner.verdict.unpaired import match_sessions
from runner.verdict.verdicts import judge

DEFAULT_CONFIDENCE = 0.99  # at a change as large as the effect, 0.5% of such intervals lie inside by chance
ACROSS_MACHINES = "measured on different machines"
_MEMORY_TOLERANCE = 0.03  # kernels differ in what they keep for themselves


@dataclass(frozen=True)
class CompareOptions:
    """How is compared. `effect` None takes what the files were measured for, or DEFAULT_EFFECT; names of
    allocators None take the builds, or hakmem."""

    effect: Optional[float] = None
    false_discovery_rate: float = DEFAULT_FALSE_DISCOVERY_RATE
    confidence: float = DEFAULT_CONFIDENCE
    base_allocator: Optional[str] = None
    new_allocator: Optional[str] = None
    across_machines: bool = False


def compare_files(
    base: Path, new: Optional[Path] = None, options: CompareOptions = CompareOptions()
) -> Comparison:
    """Compare results files, or folders of them, each file a session. Without `new`, two builds (or two
    allocators) that were measured in the same sessions. Raises UsageError."""
    base_files = session_files(base)
    if new is None:
        return _compare([read_recording(path) for path in base_files], None, options)
    new_files = session_files(new)
    shared = [path for path in base_files if any(os.path.samefile(path, other) for other in new_files)]
    recordings = {path: read_recording(path) for path in dict.fromkeys([*base_files, *new_files])}
    ours = [recordings[path] for path in base_files]
    if shared:
        named = {options.base_allocator, options.new_allocator}
        if len(shared) == len(base_files) == len(new_files) and len(named - {None}) == 2:
            return _compare(ours, None, options)
        raise UsageError(
            f"'{shared[0]}' is given as BASE and as NEW; to compare two builds or allocators of one file "
            "give it once, with --base-allocator and --new-allocator where it has no builds."
        )
    theirs = [recordings[path] for path in new_files]
    _refuse_copies(ours, theirs)
    return _compare(ours, theirs, options)


def compare_runs(
    base: Sequence[Run], new: Sequence[Run], options: CompareOptions = CompareOptions()
) -> Comparison:
    """Compare runs in memory, each a session. Where `new` holds the same runs as `base`, two builds (or
    two allocators) of them are compared in pairs. Raises UsageError."""
    if not base or not new:
        raise UsageError("there is no run to compare.")
    ours = [recording_of(run) for run in base]
    if len(base) == len(new) and all(one is other for one, other in zip(base, new)):
        return _compare(ours, None, options)
    return _compare(ours, [recording_of(run) for run in new], options)


def session_files(path: Path) -> list[Path]:
    """Return the results files that a path names: itself, or those in a folder."""
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        found = sorted(each for each in path.iterdir() if each.suffix == ".jsonl" and each.is_file())
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    if not found:
        raise UsageError(f"the folder '{path}' holds no results file (*.jsonl).")
    return found


def _refuse_mixtures(sessions: Sequence[Recording], name: str) -> None:
    """Sessions that are put together must be of the same build."""
    builds: dict[tuple[Optional[str], bool], Recording] = {}
    for recording in sessions:
        entry = _build_of(recording.header, name)
        if entry is not None and entry.commit is not None:
            builds.setdefault((entry.commit, entry.dirty), recording)
    if len(builds) > 1:
        (ours, first), (theirs, second) = list(builds.items())[:2]
        raise UsageError(
            f"'{first.path}' and '{second.path}' are sessions of different builds: {name} is "
            f"{(ours[0] or '')[:9]} in one and {(theirs[0] or '')[:9]} in the other; compare each by itself."
        )


def _refuse_repeats(recordings: Sequence[Recording]) -> None:
    known: dict[str, Recording] = {}
    for recording in recordings:
        other = known.setdefault(recording.header.id, recording)
        if other is not recording:
            raise UsageError(
                f"'{other.path}' and '{recording.path}' are copies of the same run ({recording.header.id}); "
                "remove one, or its samples would count twice."
            )


def _refuse_copies(base: Sequence[Recording], new: Sequence[Recording]) -> None:
    known = {recording.header.id: recording.path for recording in base}
    for recording in new:
        other = known.get(recording.header.id)
        if other is not None:
            raise UsageError(
                f"'{other}' and '{recording.path}' are copies of the same run ({recording.header.id}); "
                "compare two runs, or two allocators of one."
            )


def _compare(
    base: Sequence[Recording], new: Optional[Sequence[Recording]], options: CompareOptions
) -> Comparison:
    everything = [*base, *(new or ())]
    machines_differ = _check_machines(everything, options)
    if new is None:
        base_name, new_name = _names_in(base, options)
        sessions = [r for r in base if {base_name, new_name} <= set(r.allocators)]
        left_out = [r for r in base if r not in sessions]
        _refuse_repeats(sessions)
        for name in (base_name, new_name):
            _refuse_mixtures(sessions, name)
        matched, base_side, new_side = match_pairs(sessions, base_name, new_name), sessions, sessions
    else:
        base_name = _subject(base, options.base_allocator, "BASE", "--base-allocator")
        new_name = _subject(new, options.new_allocator, "NEW", "--new-allocator")
        left_out = []
        _refuse_repeats(base)
        _refuse_repeats(new)
        _check_common(base, new)
        matched, base_side, new_side = match_sessions(base, base_name, new, new_name), base, new
    _check_samples(matched, base_name, new_name, everything)
    _add_fragile(matched, everything, options.false_discovery_rate)
    effect = options.effect or next(
        (r.header.settings.effect for r in everything if r.header.settings.effect), DEFAULT_EFFECT
    )
    answers = judge(matched.evidence, effect, options.false_discovery_rate, options.confidence)
    if machines_differ:
        for answer in answers:
            if METRICS[answer.question.metric].noise != "exact":
                answer.notes.append(ACROSS_MACHINES)
    sides = (_side("base", base_name, base_side), _side("new", new_name, new_side))
    context = Context(
        base_side, new_side, base_name, new_name, new is None, effect, options.false_discovery_rate,
        machines_differ, left_out,
    )
    return Comparison(
        base=sides[0], new=sides[1], machine=everything[-1].header.machine, paired=new is None,
        effect=effect, false_discovery_rate=options.false_discovery_rate, confidence=options.confidence,
        answers=answers, remarks=remarks_of(matched, answers, context), unanswered=matched.unanswered,
        commands=[list(c) for c in dict.fromkeys(tuple(r.header.command) for r in everything)],
        broken=matched.broken,
    )


def _names_in(sessions: Sequence[Recording], options: CompareOptions) -> tuple[str, str]:
    """Return the names of the two that are compared within sessions."""
    builds = next((r.header.builds for r in sessions if r.header.builds), [])
    base = options.base_allocator or (builds[0].allocator if builds else None)
    new = options.new_allocator or (builds[1].allocator if len(builds) > 1 else None)
    known = list(dict.fromkeys(name for r in sessions for name in r.allocators))
    if base is None or new is None:
        raise UsageError(
            f"'{sessions[0].path}' is no comparison of two builds; give BASE and NEW, two results files or "
            "folders of them, or name two of its allocators with --base-allocator and --new-allocator "
            f"({', '.join(known)})."
        )
    for name, option in ((base, "--base-allocator"), (new, "--new-allocator")):
        _check_name(name, known, option, sessions)
    if base == new:
        raise UsageError(f"--base-allocator and --new-allocator are both '{base}'; name two different ones.")
    if not any({base, new} <= set(r.allocators) for r in sessions):
        raise UsageError(f"no file holds both '{base}' and '{new}'; give BASE and NEW.")
    return base, new


def _check_name(
    name: str, known: Sequence[str], option: str, sessions: Sequence[Recording]
) -> None:
    if name not in known:
        raise UsageError(
            f"{option}: no allocator '{name}' in '{sessions[0].path}'{nearest(name, known)}; it holds "
            f"{', '.join(known)}."
        )


def _subject(sessions: Sequence[Recording], given: Optional[str], role: str, option: str) -> str:
    """Return whose samples count on one of two sides: who was named; else the new build of files with
    builds; else hakmem, a library that the user brought, or the first."""
    known = [name for name in sessions[0].allocators if all(name in r.allocators for r in sessions)]
    if given is not None:
        for recording in sessions:
            _check_name(given, recording.allocators, option, [recording])
        return given
    header = sessions[0].header
    if len(header.builds) > 1 and header.builds[1].allocator in known:
        return header.builds[1].allocator
    brought = [e.name for e in header.allocators if e.kind == "preloaded" and e.name in known]
    wanted = [name for name in known if name == SUBJECT] + brought
    wanted += [name for name in known if name not in RODS] + [name for name in known if name != NONE]
    if not wanted:
        raise UsageError(
            f"the files of {role} have no allocator in common; name one with {option}, and leave out "
            "files that do not hold it."
        )
    return wanted[0]


def _check_machines(recordings: Sequence[Recording], options: CompareOptions) -> bool:
    """Return whether machines differ; refuse that if it was not asked for."""
    first = recordings[0]
    for other in recordings[1:]:
        difference = _difference(first.header.machine, other.header.machine)
        if difference is not None:
            if options.across_machines:
                return True
            raise UsageError(
                f"'{first.path}' and '{other.path}' were measured on different machines ({difference}); "
                "measure both on one, or give --across-machines to compare all the same."
            )
    return False


def _difference(ours: Machine, theirs: Machine) -> Optional[str]:
    """Return in what two machines differ, None if they may be the same one."""
    for field, title in (("cpu_model", "processor"), ("architecture", "architecture"),
                         ("cores_total", "cores"), ("cores_available", "usable cores"),
                         ("cpu_quota_cores", "limit of processor time"), ("page_bytes", "page size")):
        values = (getattr(ours, field), getattr(theirs, field))
        if values[0] != values[1]:
            return f"{title}: {values[0]} and {values[1]}"
    sizes = (ours.memory_bytes or 0, theirs.memory_bytes or 0)
    if min(sizes) and max(sizes) > (1 + _MEMORY_TOLERANCE) * min(sizes):
        return f"memory: {sizes[0] / 2 ** 30:.1f} and {sizes[1] / 2 ** 30:.1f} GiB"
    return None


def _check_common(base: Sequence[Recording], new: Sequence[Recording]) -> None:
    ours, theirs = cells_of(base), cells_of(new)
    if not set(ours) & set(theirs):
        raise UsageError(
            f"'{base[0].path}' and '{new[0].path}' have nothing in common: one measured "
            f"{_few(list(ours))}, the other {_few(list(theirs))}."
        )


def _few(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_samples(
    matched: Matched, base: str, new: str, recordings: Sequence[Recording]
) -> None:
    """Refuse files in which nothing was measured yet."""
    tried = any(any(tally.good) or any(tally.failures) for tally in matched.tallies)
    if not tried and not matched.evidence:
        raise UsageError(
            f"'{recordings[0].path}' holds no samples of '{base}' or '{new}'; measure first."
        )


def _add_fragile(matched: Matched, recordings: Sequence[Recording], rate: float) -> None:
    """A cell in which the new side fails more often than the base, by more than chance, is broken too."""
    cells = cells_of(recordings)
    tried = [tally for tally in matched.tallies if tally.failures[NEW] and tally.good[NEW]]
    chances = robust.adjusted_p_values([fails_more_often(tally) for tally in tried]) if tried else ()
    for tally, chance in zip(tried, chances):
        base, new = map(len, tally.failures)
        if chance <= rate:
            reason = (
                f"{new} of {new + tally.good[NEW]} samples of the new side failed, {base} of "
                f"{base + tally.good[BASE]} of the base: {commonest(tally.failures[NEW])}"
            )
            cell = cells[tally.cell]
            matched.broken.append((question_of(cell, main_slot(cell)), reason))


def _side(role: str, name: str, sessions: Sequence[Recording]) -> Side:
    header = sessions[-1].header
    entry = next(each for each in header.allocators if each.name == name)
    build = _build_of(header, name)
    commit, dirty = None, False
    if build is not None:
        commit, dirty = build.commit, build.dirty
    elif name == SUBJECT and header.git is not None:
        commit, dirty = header.git.commit, header.git.dirty
    return Side(role, name, [str(r.path) for r in sessions], entry.version, commit, dirty, build)


def _build_of(header: RunHeader, name: str) -> Optional[BuildEntry]:
    return next((build for build in header.builds if build.allocator == name), None)
