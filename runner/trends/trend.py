"""The trend of a metric: its value at each commit, and the commits at which it changed. Needs numpy.

Where baselines were measured in the same runs, the value is relative to theirs: the time that a sample
takes swings with what else the machine does, by far more than most changes, and samples of the same round
swing together.
"""
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from runner.verdict.comparison import FASTER, METRICS, Metric
from runner.errors import UsageError, nearest
from runner.trends.changes import MOST, Change, exact_changes, find_changes
from runner.trends.query import (
    Entry, History, Number, Numbers, common_baselines, finite, mean_number, pooled, read_history,
)


@dataclass(frozen=True)
class Wanted:
    """What a trend is asked of. `phase` None means every phase; `absolute` leaves the baselines alone; `last`
    counts commits; with `by_run` each run is a point, in the order in which they were measured."""

    metric: str = "ops_per_second"
    cells: Sequence[str] = ()
    workloads: Sequence[str] = ()
    phase: Optional[str] = ""
    allocator: str = "hakmem"
    machine: Optional[str] = None
    absolute: bool = False
    last: int = MOST
    by_run: bool = False


@dataclass(frozen=True)
class Point:
    """A commit (or a run) and what was measured of it."""

    entry: Entry
    number: Number
    runs: int

    @property
    def name(self) -> str:
        """The commit, or what stands for it."""
        return self.entry.name


@dataclass(frozen=True)
class NamedChange:
    """A change between two neighbouring points. `worse` is None where it can't be told; `meanwhile` says
    what else changed between them."""

    change: Change
    before: Point
    after: Point
    worse: bool
    meanwhile: list[str]


@dataclass(frozen=True)
class Trend:
    """One number of one cell over commits, relative to the geometric mean of `baselines` (empty: the
    number itself, in the metric's unit)."""

    machine: str
    allocator: str
    cell: str
    workload: str
    phase: str
    metric: Metric
    baselines: tuple[str, ...]
    points: list[Point]
    changes: list[NamedChange] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The cell, and the phase if it is of one."""
        return f"{self.cell}, {self.phase}" if self.phase else self.cell

    @property
    def unit(self) -> str:
        """The unit of the values, in words."""
        if not self.baselines:
            return self.metric.unit
        return "ratio to " + (self.baselines[0] if len(self.baselines) == 1 else "the baselines")


def check_metric(name: str) -> None:
    """Raise UsageError if there is no such metric."""
    if name not in METRICS:
        raise UsageError(
            f"--metric {name}: there is no such metric{nearest(name, METRICS)}; there are "
            f"{', '.join(METRICS)}."
        )


def find_trends(connection: sqlite3.Connection, wanted: Wanted) -> list[Trend]:
    """Return a trend for each cell and phase that was asked for. Raises UsageError."""
    check_metric(wanted.metric)
    history = read_history(
        connection, [wanted.metric], allocator=wanted.allocator, machine=wanted.machine,
        phase=wanted.phase, cells=wanted.cells, workloads=wanted.workloads,
    )
    trends = [_trend(history, numbers, wanted) for numbers in history.numbers]
    trends = [trend for trend in trends if trend.points]
    if not trends:
        raise UsageError(f"nothing of {METRICS[wanted.metric].title} is in the history on this machine.")
    values = [[point.number.median for point in trend.points] for trend in trends]
    if METRICS[wanted.metric].noise == "exact":
        least = METRICS[wanted.metric].most_effect or 0.0
        found = [exact_changes(series, least) for series in values]
    else:
        found = find_changes(values)
    return [replace(trend, changes=[_named(trend, change) for change in changes])
            for trend, changes in zip(trends, found)]


def _trend(history: History, numbers: Numbers, wanted: Wanted) -> Trend:
    remarks = list(history.remarks)
    entries = [entry for entry in history.entries if entry.number in numbers.plain]
    baselines: tuple[str, ...] = ()
    if not wanted.absolute and numbers.metric.noise != "exact":
        baselines = common_baselines(numbers.relative.get(entry.number, {}) for entry in entries)
    found: list[tuple[Entry, Number]] = []
    for entry in entries:
        number = _number(numbers, entry, baselines)
        if number is not None and finite(number.median):
            found.append((entry, number))
    if len(found) < len(entries):
        reason = ("was not measured beside " + ", ".join(baselines) + " (see it with --absolute)"
                  if baselines else "is zero")
        remarks.append(f"{len(entries) - len(found)} of {len(entries)} values are left out: what {reason}.")
    points = _points(found, wanted.by_run)
    if len(points) > wanted.last:
        remarks.append(f"The last {wanted.last} of {len(points)} are shown.")
    return Trend(
        history.machine, history.allocator, numbers.cell, numbers.workload, numbers.phase, numbers.metric,
        baselines, points[-wanted.last:], remarks=remarks,
    )


def _number(numbers: Numbers, entry: Entry, baselines: tuple[str, ...]) -> Optional[Number]:
    if not baselines:
        return numbers.plain[entry.number]
    beside = numbers.relative.get(entry.number, {})
    if not set(baselines) <= set(beside) or not all(
        finite(beside[name].lower_quartile) for name in baselines
    ):
        return None
    return mean_number([beside[name] for name in baselines])


def _points(found: Sequence[tuple[Entry, Number]], by_run: bool) -> list[Point]:
    if by_run:
        ordered = sorted(found, key=lambda pair: pair[0].started)
        return [Point(entry, number, 1) for entry, number in ordered]
    groups: dict[tuple[str, bool], list[tuple[Entry, Number]]] = {}
    for entry, number in found:
        groups.setdefault(entry.state, []).append((entry, number))
    points = [Point(group[-1][0], pooled([number for _, number in group]), len(group))
              for group in groups.values()]
    return sorted(points, key=lambda point: point.entry.order)


def _named(trend: Trend, change: Change) -> NamedChange:
    before, after = trend.points[change.place - 1], trend.points[change.place]
    old, new = before.entry.circumstances, after.entry.circumstances
    meanwhile = [f"{name} {old[name]} -> {new[name]}" for name in sorted(old.keys() & new.keys())
                 if old[name] != new[name]]
    meanwhile += [f"{name} {'set' if name in new else 'no longer set'}"
                  for name in sorted(old.keys() ^ new.keys()) if name.isupper()]
    return NamedChange(change, before, after, trend.metric.word(change.ratio) != FASTER, meanwhile)
