"""How long single calls take, and whether the subject's slowest are slower than those of others.

A sample times one call in thousands, so that a p99.9 of its own would be little more than its slowest
one. Its histogram is kept for that reason: the percentiles here are of the calls of all rounds together,
as if they were one run. Their intervals come from drawing whole rounds again (percentile bootstrap, as
of all ratios), since calls of one run share its disturbances; a ratio draws the same rounds for both.
A percentile says little while fewer than LEAST_BEYOND calls lie beyond it: it is marked then, and no
ratio is made of it.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from runner.allocators import RODS
from runner.estimate import FEW_SAMPLES, Analysis, Ratio, interval_of, mean_of
from runner.floor_distance import draw_rounds
from runner.records import Cell

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
        return _beyond(self.calls, TAIL) < LEAST_BEYOND


@dataclass(frozen=True)
class TailCell:
    """One cell and kind of call: the times of those allocators that have some. `ratio` is of the subject's
    p99.9 to that of the baseline with the lowest; None where one is missing or vague."""

    cell: Cell
    call: str
    times: dict[str, CallTimes]
    ratio: Optional[Ratio]


def tail_cells(analysis: Analysis) -> list[TailCell]:
    """Return the times of calls in all cells that have some, malloc before free."""
    if not _known or _known[0][0] is not analysis:  # several tables of one run ask for them
        found = [_tail_cell(analysis, cell, call) for cell in analysis.header.cells for call in CALLS]
        _known[:] = [(analysis, [each for each in found if each.times])]
    return _known[0][1]


_known: list[tuple[Analysis, list[TailCell]]] = []


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


def _beyond(calls: int, share: float) -> int:
    """How many of so many calls lie beyond a percentile."""
    return calls - max(1, math.ceil(share * calls - 1e-9))


def _times(histograms: Sequence[Histogram]) -> CallTimes:
    pool = _pool(histograms)
    calls = sum(sum(counts) for _, counts in pool)
    weights = [1] * len(histograms)
    return CallTimes(calls, tuple(_percentile(pool, weights, calls, share) for share in QUANTILES))


Pool = list[tuple[float, list[int]]]  # the slowest first: nanoseconds, and calls in each round


def _pool(histograms: Sequence[Histogram]) -> Pool:
    rows: dict[float, list[int]] = {}
    for number, histogram in enumerate(histograms):
        for nanoseconds, calls in histogram:
            rows.setdefault(nanoseconds, [0] * len(histograms))[number] += calls
    return sorted(rows.items(), reverse=True)


def _percentile(pool: Pool, weights: Sequence[int], calls: int, share: float) -> float:
    """The time that a share of the calls does not exceed, each round counted `weights` times. From the
    slowest call down, since it is mostly the tail that is asked for."""
    left = _beyond(calls, share)
    for nanoseconds, counts in pool:
        left -= sum(map(int.__mul__, counts, weights))
        if left < 0:
            break
    return nanoseconds


def _ratio(
    name: str, baseline: str, ours: Mapping[int, Histogram], theirs: Mapping[int, Histogram]
) -> Optional[Ratio]:
    rounds = sorted(set(ours) & set(theirs))
    if not rounds:
        return None
    drawings = [list(range(len(rounds))), *draw_rounds(name, len(rounds))]
    above, below = (_redrawn_tails([side[number] for number in rounds], drawings) for side in (ours, theirs))
    if min(below) <= 0:
        return None  # a clock too coarse to time calls
    first, *others = (a / b for a, b in zip(above, below))
    return Ratio(baseline, first, interval_of(others), len(rounds), tuple(others))


def _redrawn_tails(histograms: Sequence[Histogram], drawings: Sequence[Sequence[int]]) -> list[float]:
    """The p99.9 of each drawing: of the rounds it names together, each as often as it is named."""
    pool = _pool(histograms)
    calls = [sum(count for _, count in histogram) for histogram in histograms]
    found: list[float] = []
    for drawing in drawings:
        times = Counter(drawing)
        weights = [times[number] for number in range(len(histograms))]
        found.append(_percentile(pool, weights, sum(map(int.__mul__, calls, weights)), TAIL))
    return found


def longer_tails(analysis: Analysis) -> list[TailCell]:
    """Return the cells and calls in which the subject's p99.9 is surely above the best baseline's, the worst
    first. Sure is what at least five rounds say with the whole interval."""
    found = [(ratio.median, each) for each, ratio in _sure(analysis) if ratio.interval.low > 1]
    return [each for _, each in sorted(found, key=lambda pair: -pair[0])]


def _sure(analysis: Analysis) -> list[tuple[TailCell, Ratio]]:
    return [
        (each, each.ratio) for each in tail_cells(analysis)
        if each.ratio is not None and each.ratio.rounds >= FEW_SAMPLES
    ]


def compared_tails(analysis: Analysis) -> list[Ratio]:
    """Return the ratios of p99.9s of all cells and calls that have one."""
    return [each.ratio for each in tail_cells(analysis) if each.ratio is not None]


def tail_sentence(analysis: Analysis) -> str:
    """Return where the subject stands, with a space before it; nothing where no p99.9 was compared."""
    ratios = compared_tails(analysis)
    mean = mean_of(ratios)
    if mean is None or mean.interval is None:
        return ""
    lower = sum(ratio.interval.high < 1 for _, ratio in _sure(analysis))
    higher = len(longer_tails(analysis))
    return (
        f" The p99.9 of its malloc and free is below the best baseline's in {lower}, above it in {higher} and "
        f"not clearly either in {len(ratios) - lower - higher} of {len(ratios)}; geometric mean "
        f"{mean.value:.2f} ({mean.interval.low:.2f}-{mean.interval.high:.2f})."
    )


def tail_remarks(analysis: Analysis, most: int = 8) -> list[str]:
    """Return what a reader of the times must know; nothing for a run without --latency."""
    if not analysis.header.settings.latency:
        return []
    cells = tail_cells(analysis)
    if not cells:
        return ["There is no table of the times of single calls: no sample has a histogram of them."]
    clock = next(each.clock_ns for by_round in analysis.latencies.values() for each in by_round.values())
    lines = [f"Each time of a call contains reading the clock, about {clock:.0f} ns."]
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
