"""Finds the questions of a comparison and the samples that answer them: pairs within sessions."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Optional

import numpy

from runner.verdict.comparison import METRICS, WHOLE_RUN, Question
from runner.verdict.recording import Array, Recording, Series, Slot
from runner.records import Cell, ExactCount
from runner.verdict.verdicts import Evidence, exact_evidence, paired_evidence

SHORTEST_PHASE_SECONDS = 0.001
EXACT = "exact_instructions_per_op"
BASE, NEW = 0, 1


@dataclass
class Tally:
    """What became of a cell's samples: numbers that the remarks are made of. `trend` holds the base's
    speed in the order of time, `logs` the log ratios of what counts in this cell."""

    cell: str
    pairs: int = 0
    good: tuple[int, int] = (0, 0)  # samples of base and new
    failures: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    lost_to_failures: int = 0
    unmatched: int = 0  # samples whose pair is missing though it did not fail
    repeated: int = 0
    short_phases: list[str] = field(default_factory=list)
    trends: list[Array] = field(default_factory=list)
    logs: list[Array] = field(default_factory=list)


@dataclass
class Matched:
    """All questions: those with evidence, those that can't be answered, each with the reason, and those
    of `broken` cells, in which only the new side fails. `ways` says in words how answers were found."""

    evidence: list[Evidence] = field(default_factory=list)
    unanswered: list[tuple[Question, str]] = field(default_factory=list)
    broken: list[tuple[Question, str]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)


def question_of(cell: Cell, slot: Slot) -> Question:
    """Return the question about a metric of a cell."""
    phase, metric = slot
    return Question(cell.id, cell.workload, dict(cell.parameters), cell.concurrency, phase, metric)


def main_slot(cell: Cell) -> Slot:
    """Return what a cell is measured for: throughput, of a program its processor time."""
    return (WHOLE_RUN, "cpu_ns_per_op" if cell.is_program else "ops_per_second")


def cells_of(recordings: Iterable[Recording]) -> dict[str, Cell]:
    """Return the cells of all sessions by their ids, in the order in which they come."""
    found: dict[str, Cell] = {}
    for recording in recordings:
        for name, cell in recording.cells.items():
            found.setdefault(name, cell)
    return found


def slots_of(series: Sequence[Series]) -> tuple[list[Slot], list[str]]:
    """Return what can be asked of a cell: the metrics of the whole run, and the throughput of phases
    where it has more than one; and the phases that are too short to be judged."""
    known = list(dict.fromkeys(slot for each in series for slot in each.values))
    whole = [(WHOLE_RUN, name) for name in METRICS if (WHOLE_RUN, name) in known]
    phases = [slot for slot in known if slot[0] != WHOLE_RUN]
    if len(phases) < 2:
        return whole, []
    seconds = {
        phase: min(each.phase_seconds.get(phase, math.inf) for each in series) for phase, _ in phases
    }
    short = [phase for phase, _ in phases if seconds[phase] < SHORTEST_PHASE_SECONDS]
    return whole + [slot for slot in phases if slot[0] not in short], short


def match_pairs(sessions: Sequence[Recording], base: str, new: str) -> Matched:
    """Return all questions of two allocators that were measured side by side."""
    found = Matched()
    for name, cell in cells_of(sessions).items():
        sides = [
            (recording.series.get((name, base)), recording.series.get((name, new)))
            for recording in sessions if name in recording.cells
        ]
        _match_cell(cell, sides, found)
    add_exact_counts(found, cells_of(sessions), sessions, base, sessions, new)
    return found


def _match_cell(
    cell: Cell, sides: Sequence[tuple[Optional[Series], Optional[Series]]], found: Matched
) -> None:
    tally = Tally(cell.id)
    pairs: list[tuple[Series, Array, Series, Array]] = []
    for base, new in sides:
        count_failures(tally, base, new)
        if base is not None and new is not None:
            _, ours, theirs = numpy.intersect1d(
                base.rounds, new.rounds, assume_unique=True, return_indices=True
            )
            pairs.append((base, ours, new, theirs))
            tally.pairs += len(ours)
            tally.repeated += base.repeated + new.repeated
            _count_lost(tally, base, new)
    found.tallies.append(tally)
    if not tally.pairs:
        found_nothing(cell, tally, found)
        return
    slots, tally.short_phases = slots_of([each for base, _, new, _ in pairs for each in (base, new)])
    for slot in slots:
        values = [
            _both_known(base.values[slot][ours], new.values[slot][theirs])
            for base, ours, new, theirs in pairs if slot in base.values and slot in new.values
        ]
        question = question_of(cell, slot)
        if sum(len(each) for each, _ in values) == 0:
            found.unanswered.append((question, "no pair of samples has it on both sides"))
            continue
        if slot == main_slot(cell):
            tally.logs = [numpy.log(after / before) for before, after in values if len(before)]
            tally.trends = [before for before, _ in values if len(before)]
        found.evidence.append(paired_evidence(question, values))


def _both_known(base: Array, new: Array) -> tuple[Array, Array]:
    known = ~(numpy.isnan(base) | numpy.isnan(new))
    return base[known], new[known]


def count_failures(tally: Tally, base: Optional[Series], new: Optional[Series]) -> None:
    """Add a session's samples and failures to a tally."""
    counts = list(tally.good)
    for side, each in ((BASE, base), (NEW, new)):
        if each is not None:
            counts[side] += len(each.rounds)
            tally.failures[side].extend(reason for _, reason in each.failures)
    tally.good = (counts[BASE], counts[NEW])


def _count_lost(tally: Tally, base: Series, new: Series) -> None:
    """Count the samples whose pair failed, and those whose pair is missing."""
    for ours, theirs in ((base, new), (new, base)):
        failed = {number for number, _ in theirs.failures}
        alone = set(ours.rounds.tolist()) - set(theirs.rounds.tolist())
        tally.lost_to_failures += len(alone & failed)
        tally.unmatched += len(alone - failed)


def found_nothing(cell: Cell, tally: Tally, found: Matched) -> None:
    """A cell without any pair: say whose fault it is."""
    question = question_of(cell, main_slot(cell))
    base_failed, new_failed = (bool(f) and not good for f, good in zip(tally.failures, tally.good))
    if new_failed and tally.good[BASE]:
        reason = f"every sample of the new side failed: {commonest(tally.failures[NEW])}"
        found.broken.append((question, reason))
    elif base_failed and tally.good[NEW]:
        reason = f"every sample of the base failed: {commonest(tally.failures[BASE])}"
    elif base_failed and new_failed:
        reason = f"every sample failed on both sides: {commonest(tally.failures[NEW])}"
    elif tally.good[BASE] and tally.good[NEW]:
        reason = "no round has a good sample of both sides"
    else:
        missing = [name for name, good in zip(("the base", "the new side"), tally.good) if not good]
        reason = f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no samples of it"
    found.unanswered.append((question, reason))


def commonest(reasons: Sequence[str]) -> str:
    """Return the reason that occurs most often."""
    return max(dict.fromkeys(reasons), key=list(reasons).count)


def add_exact_counts(
    found: Matched, cells: dict[str, Cell], base_sessions: Sequence[Recording], base: str,
    new_sessions: Sequence[Recording], new: str,
) -> None:
    """Add the questions that exact counts answer."""
    sides = (_exact_counts(base_sessions, base), _exact_counts(new_sessions, new))
    for name in dict.fromkeys([*sides[BASE], *sides[NEW]]):
        either = (sides[BASE].get(name) or sides[NEW][name])[0]
        cell = cells.get(name) or Cell(name, either.workload, {}, 1)
        question = question_of(cell, (WHOLE_RUN, EXACT))
        good = [[c for c in side.get(name, []) if c.failure is None] for side in sides]
        if not good[BASE] or not good[NEW]:
            reason = _why_no_count(sides, good, name)
            found.unanswered.append((question, reason))
            failures = [c.failure for c in sides[NEW].get(name, []) if c.failure is not None]
            if good[BASE] and any(failure.kind != "timeout" for failure in failures):
                found.broken.append((question, reason))
            continue
        values = [[count.instructions_per_operation for count in side] for side in good]
        notes = ["repeated counts differ"] if any(min(v) != max(v) for v in values) else []
        if len({count.tool for side in good for count in side}) > 1:
            notes.append("counted by different versions of the tool")
        if len({(c.operations, tuple(c.arguments)) for side in good for c in side}) > 1:
            notes.append("the runs that were counted differ in their arguments")
        medians = [float(numpy.median(each)) for each in values]
        found.evidence.append(
            exact_evidence(question, medians[BASE], medians[NEW], min(map(len, values)), notes)
        )


def _exact_counts(sessions: Sequence[Recording], allocator: str) -> dict[str, list[ExactCount]]:
    found: dict[str, list[ExactCount]] = {}
    for recording in sessions:
        for count in recording.exact:
            if count.allocator == allocator:
                found.setdefault(count.cell, []).append(count)
    return found


def _why_no_count(
    sides: tuple[dict[str, list[ExactCount]], dict[str, list[ExactCount]]],
    good: Sequence[Sequence[ExactCount]], name: str,
) -> str:
    side = BASE if not good[BASE] else NEW
    who = ("the base", "the new side")[side]
    failures = [count.failure.reason for count in sides[side].get(name, []) if count.failure]
    if failures:
        return f"counting the instructions of {who} failed: {failures[0]}"
    return f"the instructions of {who} were not counted"
