"""One session as the comparison needs it: for each cell and allocator, its samples' numbers as arrays.

A recording is made of a run in memory (`recording_of`), or straight from a file by
`runner.verdict.fast_reader`. Warm-ups do not count; samples without a throughput count as failed.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy

from runner.verdict.comparison import WHOLE_RUN
from runner.records import Cell, Counters, ExactCount, Measurement, RunHeader, Sample
from runner.results_file import Run

Array = numpy.ndarray
Slot = tuple[str, str]  # phase (WHOLE_RUN for none) and metric

TOTALS = ("operations", "wall_seconds", "cpu_user_seconds", "cpu_system_seconds", "ops_per_second",
          "peak_rss_bytes", "minor_faults")
OF_PHASE = ("operations", "wall_seconds", "ops_per_second")
QUANTILES = ("malloc_p50", "malloc_p99", "malloc_p999", "free_p50", "free_p99", "free_p999")
WHOLE_NUMBERS = ("operations", "peak_rss_bytes", "minor_faults")
EVENTS = {"cycles": "cycles_per_op", "instructions": "instructions_per_op"}
NO_THROUGHPUT = "it reports no throughput above 0"
Column = tuple[str, str]  # phase (WHOLE_RUN for none) and field, quantile or event
Columns = tuple[Column, ...]


@dataclass
class Gathered:
    """The samples of one allocator in one cell while they are collected. Samples with the same columns
    are kept together: rounds, and a row of numbers each."""

    blocks: dict[Columns, tuple[list[int], list[Sequence[float]]]] = field(default_factory=dict)
    packed: list[tuple[Columns, Array, Array]] = field(default_factory=list)  # the same, as arrays
    failures: list[tuple[int, str]] = field(default_factory=list)  # round and reason

    def add(self, sample: Sample) -> None:
        """Take in a sample that was read whole."""
        if sample.failure is not None or sample.measured is None:
            reason = sample.failure.reason if sample.failure is not None else "it has no numbers"
            self.failures.append((sample.round, reason))
        elif not sample.warmup:
            numbers = numbers_of(sample.measured, sample.counters)
            rounds, rows = self.block(tuple(numbers))
            rounds.append(sample.round)
            rows.append(tuple(numbers.values()))

    def block(self, columns: Columns) -> tuple[list[int], list[Sequence[float]]]:
        """Return the rounds and rows of samples with these columns, to be appended to."""
        return self.blocks.setdefault(columns, ([], []))

    def pack(self) -> None:
        """Turn the lists into arrays. Nothing may be appended to blocks asked for before."""
        self.packed += [
            (columns, numpy.array(rounds, dtype=int), numpy.array(rows, dtype=float))
            for columns, (rounds, rows) in self.blocks.items()
        ]
        self.blocks = {}

    def join(self, later: Gathered) -> None:
        """Take in what was collected elsewhere."""
        self.pack()
        later.pack()
        self.packed += later.packed
        self.failures += later.failures


def numbers_of(measured: Measurement, counters: Optional[Counters]) -> dict[Column, float]:
    """Return the numbers of a sample that a comparison needs."""
    numbers = {(WHOLE_RUN, name): float(getattr(measured, name)) for name in TOTALS}
    for phase in measured.phases:
        for name in OF_PHASE:
            numbers[phase.name, name] = float(getattr(phase, name))
    for quantile in QUANTILES if measured.latency is not None else ():
        call, _, share = quantile.partition("_")
        value = getattr(getattr(measured.latency, call), share)
        if value is not None:
            numbers[WHOLE_RUN, quantile] = float(value)
    for event in EVENTS if counters is not None else ():
        if event in counters.events:
            numbers[WHOLE_RUN, event] = float(counters.events[event])
    return numbers


@dataclass
class Series:
    """The good samples of one allocator in one cell, in the order of their rounds: `values` holds one
    number a sample, NaN where that sample has none; `phase_seconds` the median length of phases."""

    rounds: Array
    values: dict[Slot, Array]
    phase_seconds: dict[str, float]
    failures: list[tuple[int, str]]
    repeated: int = 0  # samples left out since their round had one already


@dataclass
class Recording:
    """One session."""

    path: Path
    header: RunHeader
    series: dict[tuple[str, str], Series]  # by cell and allocator
    exact: list[ExactCount]
    complete: bool
    cut_sentence: Optional[str]
    samples: int

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells by their ids."""
        return {cell.id: cell for cell in self.header.cells}

    @property
    def allocators(self) -> list[str]:
        """The names of all allocators."""
        return [entry.name for entry in self.header.allocators]


def recording_of(run: Run) -> Recording:
    """Return the recording of a run in memory."""
    gathered: dict[tuple[str, str], Gathered] = {}
    for sample in run.samples:
        key = (sample.cell, sample.allocator)
        if key not in gathered:
            gathered[key] = Gathered()
        gathered[key].add(sample)
    return Recording(run.path, run.header, series_of(gathered, run.header.cells), run.exact_counts,
                     run.complete, run.cut_sentence(), len(run.samples))


def series_of(
    gathered: dict[tuple[str, str], Gathered], cells: Iterable[Cell]
) -> dict[tuple[str, str], Series]:
    """Turn what was collected into arrays; samples of cells that the header does not know are left out.
    Raises ValueError where a count is no whole number."""
    known = {cell.id: cell for cell in cells}
    return {
        key: _series(rows, known[key[0]].is_program) for key, rows in gathered.items() if key[0] in known
    }


def _series(gathered: Gathered, is_program: bool) -> Series:
    rounds, column = _columns(gathered)
    nothing = numpy.full(len(rounds), math.nan)
    total = {name: column.get((WHOLE_RUN, name), nothing) for name in TOTALS}
    for (_, name), numbers in column.items():
        if name in WHOLE_NUMBERS and (numbers % 1 > 0).any():
            raise ValueError(f"{name} is not a whole number")
    operations, rate = total["operations"], total["ops_per_second"]
    cpu = total["cpu_user_seconds"] + total["cpu_system_seconds"]
    values: dict[Slot, Array] = {
        (WHOLE_RUN, name): total[name] for name in ("peak_rss_bytes", "minor_faults")
    }
    values[WHOLE_RUN, "cpu_ns_per_op"] = _positive(_share(1e9 * cpu, operations))
    for name in QUANTILES:
        if (WHOLE_RUN, name) in column:
            values[WHOLE_RUN, name] = _positive(column[WHOLE_RUN, name])
    for event, metric in EVENTS.items():
        if (WHOLE_RUN, event) in column:
            values[WHOLE_RUN, metric] = _share(_positive(column[WHOLE_RUN, event]), operations)
    seconds: dict[str, float] = {}
    good = (operations > 0) & (total["wall_seconds"] > 0) & (rate > 0)
    if is_program:
        good &= cpu > 0
    else:  # a program does the same work each time, and its processor time counts
        values[WHOLE_RUN, "ops_per_second"] = rate
        seconds = _phases(column, values)
    failures = gathered.failures + [(int(number), NO_THROUGHPUT) for number in rounds[~good]]
    kept, repeated = _one_a_round(rounds, numpy.flatnonzero(good))
    return Series(rounds[kept], {slot: each[kept] for slot, each in values.items()}, seconds,
                  sorted(failures), repeated)


def _columns(gathered: Gathered) -> tuple[Array, dict[Column, Array]]:
    """Return rounds and columns of all samples; NaN where a sample lacks a number."""
    gathered.pack()
    count = sum(len(rounds) for _, rounds, _ in gathered.packed)
    all_rounds = numpy.zeros(count, dtype=int)
    column: dict[Column, Array] = {}
    place = 0
    for columns, rounds, table in gathered.packed:
        here = slice(place, place + len(rounds))
        place += len(rounds)
        all_rounds[here] = rounds
        for number, name in enumerate(columns):
            if name not in column:
                column[name] = numpy.full(count, math.nan)
            column[name][here] = table[:, number]
    return all_rounds, column


def _one_a_round(rounds: Array, good: Array) -> tuple[Array, int]:
    """Return the places of the good samples in the order of rounds, the first of each round alone, and
    how many are left out for that."""
    ordered = good[numpy.argsort(rounds[good], kind="stable")]
    first = numpy.ones(len(ordered), dtype=bool)
    first[1:] = rounds[ordered][1:] != rounds[ordered][:-1]
    return ordered[first], int(len(ordered) - first.sum())


def _share(above: Array, below: Array) -> Array:
    return numpy.divide(above, below, out=numpy.full(len(above), math.nan), where=below > 0)


def _positive(values: Array) -> Array:
    return numpy.where(values > 0, values, math.nan)


def _phases(column: dict[Column, Array], values: dict[Slot, Array]) -> dict[str, float]:
    """Fill in the throughput of each phase that has operations; return the median length of each."""
    seconds: dict[str, float] = {}
    for phase in dict.fromkeys(phase for phase, _ in column if phase != WHOLE_RUN):
        operations, wall, rate = (column[phase, name] for name in OF_PHASE)
        working = (operations > 0) & (wall > 0) & (rate > 0)
        if working.any():
            values[phase, "ops_per_second"] = numpy.where(working, rate, math.nan)
            seconds[phase] = float(numpy.median(wall[working]))
    return seconds
