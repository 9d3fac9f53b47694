"""How long single calls take, and whether the subject's slowest are slower than those of others.

A sample times one call in thousands, so that a p99.9 of its own would be little more than its slowest
one. Its histogram is kept for that reason: the percentiles here are of the calls of all rounds together,
as if they were one run. Their intervals come from drawing whole rounds again (percentile bootstrap, as
of all ratios), since calls of one run share its disturbances; a ratio draws the same rounds for both.
A percentile says little while fewer than LEAST_BEYOND calls lie beyond it: it is marked then, and no
ratio is made of it.
"""
from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from runner.allocators import RODS
from runner.estimate import FEW_SAMPLES, Analysis, Ratio, interval_of
from runner.records import Cell
from runner.remembered import of_last_analysis
from runner.rounds import draw_rounds

CALLS = ("malloc", "free")
QUANTILES = (0.5, 0.99, 0.999)
TAIL = QUANTILES[-1]
LEAST_BEYOND = 10

Histogram = Sequence[tuple[float, int]]  # nanoseconds, ascending, and calls that took so long


@dataclass(frozen=True)
class CallTimes:
    """Times of one kind of call of an allocator in a cell, over all rounds: how many were timed, and the
    times in nanoseconds that the shares QUANTILES of them do not exceed."""

    calls: int
    quantiles: tuple[float, ...]

    @property
    def is_vague(self) -> bool:
        """True if too few calls lie beyond the last percentile."""
        return self.calls - _rank(self.calls, TAIL) < LEAST_BEYOND


@dataclass(frozen=True)
class TailCell:
    """One cell and kind of call: the times of those allocators that have some. `ratio` is of the subject's
    p99.9 to that of the baseline with the lowest; None where one is missing or vague."""

    cell: Cell
    call: str
    times: dict[str, CallTimes]
    ratio: Optional[Ratio]


@of_last_analysis
def tail_cells(analysis: Analysis) -> list[TailCell]:
    """Return the times of calls in all cells that have some, malloc before free."""
    found = [_tail_cell(analysis, cell, call) for cell in analysis.header.cells for call in CALLS]
    return [each for each in found if each.times]


def _tail_cell(analysis: Analysis, cell: Cell, call: str) -> TailCell:
    rounds = {name: call_histograms(analysis, cell, name, call) for name in analysis.allocators}
    times = {name: _times(list(found.values())) for name, found in rounds.items() if found}
    clear = [name for name in analysis.baselines if name in times and not times[name].is_vague]
    ours = times.get(analysis.subject)
    ratio = None
    if clear and ours is not None and not ours.is_vague:
        best = min(clear, key=lambda name: times[name].quantiles[-1])
        ratio = _ratio(f"{cell.id}:{call}", best, rounds[analysis.subject], rounds[best])
    return TailCell(cell, call, times, ratio)


def call_histograms(analysis: Analysis, cell: Cell, name: str, call: str) -> dict[int, Histogram]:
    """Return the histograms by round of an allocator, nothing if one of its samples failed."""
    if analysis.results[cell.id, name].throughput is None:
        return {}
    found: dict[int, Histogram] = {}
    for number, latency in analysis.latencies.get((cell.id, name), {}).items():
        histogram = getattr(latency, call).histogram
        if sum(calls for _, calls in histogram) > 0:
            found[number] = histogram
    return found


def _rank(calls: int, share: float) -> int:
    """Which of so many calls, from the fastest, a percentile is the time of."""
    return max(1, math.ceil(share * calls - 1e-9))


def _times(histograms: Sequence[Histogram]) -> CallTimes:
    pool = CallPool(histograms)
    once = [1] * len(histograms)
    return CallTimes(pool.calls(once), tuple(pool.percentile(share, once) for share in QUANTILES))


class CallPool:
    """The calls of several rounds together. `weights` say how often each round counts."""

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        rows: dict[float, list[int]] = {}
        for number, histogram in enumerate(histograms):
            for nanoseconds, calls in histogram:
                rows.setdefault(nanoseconds, [0] * len(histograms))[number] += calls
        self._times = sorted(rows)
        columns = [itertools.accumulate(column) for column in zip(*(rows[time] for time in self._times))]
        self._until = list(zip(*columns))  # calls of each round that took at most so long

    def calls(self, weights: Sequence[int]) -> int:
        """Return how many calls there are."""
        return self._up_to(-1, weights)

    def percentile(self, share: float, weights: Sequence[int]) -> float:
        """Return the time in nanoseconds that a share of the calls does not exceed."""
        wanted = _rank(self.calls(weights), share)
        low, high = 0, len(self._times) - 1
        while low < high:
            middle = (low + high) // 2
            if self._up_to(middle, weights) >= wanted:
                high = middle
            else:
                low = middle + 1
        return self._times[low]

    def _up_to(self, place: int, weights: Sequence[int]) -> int:
        return sum(map(operator.mul, self._until[place], weights))


def weights_of_drawings(name: str, rounds: int) -> list[list[int]]:
    """Return how often each drawing of whole rounds names each of them; `name` seeds the drawings."""
    counted = (Counter(drawing) for drawing in draw_rounds(name, rounds))
    return [[times[number] for number in range(rounds)] for times in counted]


def _ratio(
    name: str, baseline: str, ours: Mapping[int, Histogram], theirs: Mapping[int, Histogram]
) -> Optional[Ratio]:
    rounds = sorted(set(ours) & set(theirs))
    if not rounds:
        return None
    above, below = (CallPool([side[number] for number in rounds]) for side in (ours, theirs))
    drawings = [[1] * len(rounds), *weights_of_drawings(name, len(rounds))]
    divisors = [below.percentile(TAIL, weights) for weights in drawings]
    if min(divisors) <= 0:
        return None  # a clock too coarse to time calls
    first, *others = (above.percentile(TAIL, weights) / b for weights, b in zip(drawings, divisors))
    return Ratio(baseline, first, interval_of(others), len(rounds), tuple(others))


def longer_tails(analysis: Analysis) -> list[TailCell]:
    """Return the cells and calls in which the subject's p99.9 is surely above the best baseline's, the worst
    first. Sure is what at least five rounds say with the whole interval."""
    worst_first = sorted(_sure(analysis), key=lambda pair: -pair[1].median)
    return [each for each, ratio in worst_first if ratio.interval.low > 1]


def _sure(analysis: Analysis) -> list[tuple[TailCell, Ratio]]:
    return [
        (each, each.ratio) for each in tail_cells(analysis)
        if each.ratio is not None and each.ratio.rounds >= FEW_SAMPLES
    ]


def compared_tails(analysis: Analysis) -> list[Ratio]:
    """Return the ratios of p99.9s of all cells and calls that have one."""
    return [each.ratio for each in tail_cells(analysis) if each.ratio is not None]


def shorter_tails(analysis: Analysis) -> list[TailCell]:
    """Return the cells and calls in which it is surely below."""
    return [each for each, ratio in _sure(analysis) if ratio.interval.high < 1]


def clock_ns(analysis: Analysis) -> float:
    """Return what reading the clock costs, which is contained in each time of a run that has some."""
    return next(each.clock_ns for by_round in analysis.latencies.values() for each in by_round.values())


def tail_remarks(analysis: Analysis, most: int = 8) -> list[str]:
    """Return what a reader of the times must know; nothing for a run without --latency."""
    if not analysis.header.settings.latency:
        return []
    cells = tail_cells(analysis)
    if not cells:
        return ["There is no table of the times of single calls: no sample has a histogram of them."]
    lines = [f"Each time of a call contains reading the clock, about {clock_ns(analysis):.0f} ns."]
    vague = [
        (each, name) for each in cells for name, times in each.times.items()
        if times.is_vague and name not in RODS
    ]
    if vague:
        names = [f"{each.cell.id} {name} {each.call}" for each, name in vague]
        more = f", and {len(names) - most} more" if len(names) > most else ""
        fewest = min(each.times[name].calls for each, name in vague)
        needed = LEAST_BEYOND / (1 - TAIL)
        lines.append(
            f"† fewer than {LEAST_BEYOND} timed calls lie beyond that p99.9; {math.ceil(needed / fewest)} times the "
            f"--duration, or the rounds, would be enough: {', '.join(names[:most])}{more}."
        )
    return lines
