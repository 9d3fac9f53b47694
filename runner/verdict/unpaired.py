"""Finds what two sides say that were measured in different sessions, where samples form no pairs.

Between sessions a machine changes by more than samples of one session show. Three ways deal with that:
the spread between several sessions of each side; else the allocators that both sessions measured beside
the subject and that did not change, which show how the machine did; else, for what nearly repeats, a
small allowance. Without any of them times stay undecided. docs/verdicts.md has the details.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy

from runner.verdict import robust
from runner.allocators import NONE
from runner.verdict.comparison import METRICS, Metric
from runner.verdict.pairing import (
    BASE, NEW, Matched, Tally, add_exact_counts, cells_of, count_failures, found_nothing, main_slot,
    question_of, slots_of,
)
from runner.verdict.recording import Array, Recording, Series, Slot
from runner.records import Cell
from runner.verdict.student import student_p_value, student_quantile
from runner.verdict.verdicts import LEAST_PAIRS, LEAST_SESSIONS, Evidence, exact_evidence, nothing, too_few

LEAST_CONTROLS = 2
NO_YARDSTICK = (
    "measured in different sessions without a yardstick; measure both in one session with run.py --rev, "
    f"or bring at least {LEAST_SESSIONS} sessions a side"
)
_HALVINGS = 14  # of the range of p-values: to half a percent of each
RELATIVE = "relative to the others"
# What counts change by from session to session though nothing changed: a standard deviation.
_ALLOWANCE = {"instructions_per_op": 0.0003}
_OTHER_ALLOWANCE = 0.002


@dataclass(frozen=True)
class _Found:
    """An estimate of a log ratio with its interval and p-value, or why there is none."""

    estimate: float
    half_width: Callable[[float], float]
    p_value: Optional[float]
    blocked: Optional[str] = None
    note: Optional[str] = None


@dataclass(frozen=True)
class _Sessions:
    """One side: its sessions, and the name that its subject has in them."""

    recordings: Sequence[Recording]
    subject: str

    def of(self, cell: str, allocator: Optional[str] = None) -> list[Series]:
        """Return the good series of an allocator (of the subject, if none is named) in a cell."""
        found = [r.series.get((cell, allocator or self.subject)) for r in self.recordings]
        return [each for each in found if each is not None and len(each.rounds)]


def controls_of(
    base: Sequence[Recording], new: Sequence[Recording], base_name: str, new_name: str
) -> tuple[list[str], list[str]]:
    """Return the allocators that both sides measured besides the subject: those that are the same, and
    those whose library is another one now, which tell nothing."""
    def libraries(recordings: Sequence[Recording]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for recording in recordings:
            for entry in recording.header.allocators:
                if entry.name not in (base_name, new_name, NONE) and entry.kind != NONE:
                    known = entry.library.sha256 if entry.library is not None else ""
                    found.setdefault(entry.name, set()).add(known)
        return found

    ours, theirs = libraries(base), libraries(new)
    both = [name for name in ours if name in theirs]
    same = [name for name in both if ours[name] == theirs[name] and len(ours[name]) == 1]
    return same, [name for name in both if name not in same]


def match_sessions(
    base: Sequence[Recording], base_name: str, new: Sequence[Recording], new_name: str
) -> Matched:
    """Return all questions of two sides that were measured in different sessions."""
    found = Matched()
    sides = (_Sessions(base, base_name), _Sessions(new, new_name))
    controls, changed = controls_of(base, new, base_name, new_name)
    _say_ways(found, sides, controls, changed)
    cells = (cells_of(base), cells_of(new))
    for name in dict.fromkeys([*cells[BASE], *cells[NEW]]):
        both = [each[name] for each in cells if name in each]
        tally = Tally(name)
        for recordings, allocator, side in ((base, base_name, BASE), (new, new_name, NEW)):
            for recording in recordings:
                series = recording.series.get((name, allocator))
                count_failures(tally, *((series, None) if side == BASE else (None, series)))
        found.tallies.append(tally)
        other = _different(both)
        if other is not None:
            found.unanswered.append((question_of(both[0], main_slot(both[0])), other))
        elif not tally.good[BASE] or not tally.good[NEW]:
            found_nothing(both[0], tally, found)
        else:
            _match_cell(both[0], sides, controls, tally, found)
    everything = {**cells[NEW], **cells[BASE]}
    add_exact_counts(found, everything, base, base_name, new, new_name)
    return found


def _say_ways(
    found: Matched, sides: tuple[_Sessions, _Sessions], controls: Sequence[str], changed: Sequence[str]
) -> None:
    counts = [len(side.recordings) for side in sides]
    measured = f"Base and new were measured in different sessions ({counts[BASE]} and {counts[NEW]})"
    if min(counts) >= LEAST_SESSIONS:
        found.ways.append(f"{measured}: what counts is how the sessions' means differ (Welch's t).")
    elif len(controls) >= LEAST_CONTROLS:
        found.ways.append(
            f"{measured}: times are taken relative to the allocators that both measured "
            f"({', '.join(controls)}), whose own changes say how far sessions differ."
        )
    else:
        few = "none" if not controls else f"only {controls[0]}"
        found.ways.append(
            f"{measured}, which differ by more than the spread within them, and there are too few other "
            f"allocators that both measured to take that out ({few}; {LEAST_CONTROLS} are needed): times "
            "stay undecided, only memory, page faults and instructions are judged. Measure both in one "
            f"session with run.py --rev, or bring at least {LEAST_SESSIONS} sessions a side."
        )
    if changed:
        found.ways.append(f"Not taken as a yardstick, since its library changed: {', '.join(changed)}.")


def _different(cells: Sequence[Cell]) -> Optional[str]:
    """Return why two cells of the same name can't be compared, None if they can."""
    if len(cells) < 2:
        return None
    ours, theirs = cells
    if ours.calibrated and theirs.calibrated:  # the same work to within what the trial run found
        skipped = {"operations"}
    else:
        skipped = set()
    for name in dict.fromkeys([*ours.parameters, *theirs.parameters]):
        values = (ours.parameters.get(name), theirs.parameters.get(name))
        if values[0] != values[1] and name not in skipped:
            return f"measured with different parameters: {name} is {values[0]} and {values[1]}"
    if ours.measure != theirs.measure or ours.input_sha256 != theirs.input_sha256:
        return "the program's input is a different one"
    if ours.units != theirs.units:
        return f"the program's work is {ours.units} and {theirs.units} units"
    return None


def _match_cell(
    cell: Cell, sides: tuple[_Sessions, _Sessions], controls: Sequence[str], tally: Tally, found: Matched
) -> None:
    series = [side.of(cell.id) for side in sides]
    slots, tally.short_phases = slots_of([*series[BASE], *series[NEW]])
    tally.pairs = min(tally.good)
    for slot in slots:
        question = question_of(cell, slot)
        values = [[_known(each, slot) for each in side if slot in each.values] for side in series]
        values = [[each for each in side if len(each)] for side in values]
        if not values[BASE] or not values[NEW]:
            who = "base" if not values[BASE] else "new side"
            found.unanswered.append((question, f"the {who} has no samples with it"))
            continue
        if slot == main_slot(cell):
            tally.trends = values[BASE]
        whole = [numpy.concatenate(side) for side in values]
        metric = METRICS[slot[1]]
        if metric.noise != "time" and all(
            (w == w[0]).all() and len(w) >= LEAST_PAIRS for w in whole
        ):
            found.evidence.append(exact_evidence(
                question, float(whole[BASE][0]), float(whole[NEW][0]), min(map(len, whole))
            ))
            continue
        way = _estimate(metric, cell.id, slot, sides, values, controls)
        found.evidence.append(Evidence(
            question, robust.median(whole[BASE]), robust.median(whole[NEW]),
            min(map(len, whole)), way.estimate, way.half_width, way.p_value,
            (way.note,) if way.note else (), way.blocked,
        ))


def _known(series: Series, slot: Slot) -> Array:
    values = series.values[slot]
    return values[~numpy.isnan(values)]


def _estimate(
    metric: Metric, cell: str, slot: Slot, sides: tuple[_Sessions, _Sessions],
    values: Sequence[Sequence[Array]], controls: Sequence[str],
) -> _Found:
    """Choose the way, and go it."""
    logs = [[_logs(each) for each in side] for side in values]
    if min(map(len, logs)) >= LEAST_SESSIONS:
        return _between_sessions(logs[BASE], logs[NEW])
    base, new = (numpy.concatenate(side) for side in logs)
    if min(len(base), len(new)) < LEAST_PAIRS:
        few = min(len(base), len(new))
        estimate = robust.trimmed_mean(new) - robust.trimmed_mean(base)
        return _Found(estimate, nothing if few < 2 else _samples_alone(base, new), None,
                      too_few(few, "sample"))
    if metric.noise == "time":
        if len(controls) >= LEAST_CONTROLS:
            return _by_controls(cell, slot, sides, base, new, controls)
        estimate = robust.trimmed_mean(new) - robust.trimmed_mean(base)
        return _Found(estimate, _samples_alone(base, new), None, NO_YARDSTICK)
    return _with_allowance(base, new, _ALLOWANCE.get(metric.name, _OTHER_ALLOWANCE))


def _logs(values: Array) -> Array:
    found: Array = numpy.log(numpy.maximum(values, 0.5))
    return found


def _yuen(base: Array, new: Array) -> tuple[float, float, float]:
    """Return the difference of the trimmed means, its standard error and its degrees of freedom."""
    parts = [(robust.standard_error(each) ** 2, robust.degrees_of_freedom(len(each))) for each in (base, new)]
    total = sum(variance for variance, _ in parts)
    freedom = total ** 2 / max(1e-300, sum(v * v / f for v, f in parts)) if total > 0 else 1.0
    return robust.trimmed_mean(new) - robust.trimmed_mean(base), math.sqrt(total), freedom


def _samples_alone(base: Array, new: Array) -> Callable[[float], float]:
    """The interval as if sessions did not differ: too narrow, for showing alone."""
    _, error, freedom = _yuen(base, new)
    return lambda level: error * student_quantile(level, freedom)


def _student(estimate: float, error: float, freedom: float) -> _Found:
    if error <= 0:
        return _Found(estimate, nothing, 1.0 if estimate == 0 else 0.0)
    return _Found(estimate, lambda level: error * student_quantile(level, freedom),
                  student_p_value(estimate / error, freedom))


def _between_sessions(base: Sequence[Array], new: Sequence[Array]) -> _Found:
    """Welch's t over the sessions' trimmed means (Biometrika 34, 1947)."""
    means = [numpy.array([robust.trimmed_mean(each) for each in side]) for side in (base, new)]
    parts = [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in means]
    total = sum(variance for variance, _ in parts)
    freedom = total ** 2 / max(1e-300, sum(v * v / f for v, f in parts)) if total > 0 else 1.0
    return _student(float(means[NEW].mean() - means[BASE].mean()), math.sqrt(total), freedom)


def _by_controls(
    cell: str, slot: Slot, sides: tuple[_Sessions, _Sessions], base: Array, new: Array,
    controls: Sequence[str],
) -> _Found:
    """Subtract how the controls changed on average; their spread is what sessions do to one allocator
    more than to another. Each of the two errors keeps its own Student's t: Satterthwaite's degrees of
    freedom would be too many whenever few controls agree by chance."""
    changes: list[float] = []
    for name in controls:
        both = [[_logs(_known(s, slot)) for s in side.of(cell, name) if slot in s.values] for side in sides]
        pooled = [numpy.concatenate(side) if side else numpy.empty(0) for side in both]
        if min(map(len, pooled)) >= LEAST_PAIRS:
            changes.append(robust.trimmed_mean(pooled[NEW]) - robust.trimmed_mean(pooled[BASE]))
    difference, error, freedom = _yuen(base, new)
    if len(changes) < LEAST_CONTROLS:
        return _Found(difference, _samples_alone(base, new), None,
                      "too few other allocators have samples in this cell to take out how the sessions differ")
    count = len(changes)
    between = math.sqrt(float(numpy.var(changes, ddof=1)) * (1 + 1 / count))
    relative = difference - float(numpy.mean(changes))

    def reach(level: float) -> float:
        return math.hypot(between * student_quantile(level, count - 1),
                          error * student_quantile(level, freedom))

    return _Found(relative, reach, _p_value(relative, reach), None, RELATIVE)


def _p_value(distance: float, reach: Callable[[float], float]) -> float:
    """Return the p-value whose interval just reaches a distance, by bisection of its logarithm."""
    if distance == 0:
        return 1.0
    low, high = math.log(1e-12), 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if reach(-math.expm1(middle)) > abs(distance):
            low = middle
        else:
            high = middle
    return math.exp(high)


def _with_allowance(base: Array, new: Array, allowance: float) -> _Found:
    """Yuen's t for trimmed means, with what sessions do to such a count added to the variance."""
    difference, error, freedom = _yuen(base, new)
    total = error * error + 2 * allowance * allowance
    freedom = total ** 2 / max(1e-300, error ** 4 / freedom)
    return _student(difference, math.sqrt(total), min(freedom, 1e6))
