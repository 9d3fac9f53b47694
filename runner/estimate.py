"""All statistics of a run: medians, quartiles, confidence intervals, ratios, geometric means.

The table, the summary and the plots all show what `analyse` returns. Intervals are percentile
bootstrap intervals (95%) with a fixed seed, so that the same file always gives the same numbers.
Ratios compare samples of the same round, which were measured close to each other in time; noise
that a neighbour makes for a while then hits both.

A real program does the same work in every sample, and its speed is that work over the processor
time it took: what else the machine does meanwhile, and waiting for whoever talks to it, count little
in it.
"""
from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from runner.allocators import FLOOR, NONE, RODS, SUBJECT
from runner.matrix import WORKLOADS
from runner.records import Cell, Latency, Measurement, RunHeader, Sample

CONFIDENCE = 0.95
RESAMPLES = 1000
FEW_SAMPLES = 5
NOISY_SPREAD = 0.10
UNSETTLED_RISE = 1.10
_SEED = 20201


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a set of samples says about one number. `spread` is the distance of the quartiles
    relative to the median."""

    median: float
    lower_quartile: float
    upper_quartile: float
    lowest: float
    highest: float
    interval: Interval
    samples: int
    spread: float


@dataclass(frozen=True)
class Result:
    """One allocator in one cell; without numbers if any of its samples failed, or none is there.
    Throughput is in operations a second (of a program: units of work a second of processor time),
    its least disturbed sample is `throughput.highest`; peak memory is in bytes; processor time is in
    seconds, and None for a driver, whose samples differ in work; the figures are medians of what only this
    driver measures, by name. The rise is the median, over samples, of the greatest resident memory in a
    run's second half over that in its first; None where no sample says."""

    throughput: Optional[Estimate]
    peak_rss: Optional[Estimate]
    attempts: int
    failures: list[str]
    cpu_seconds: Optional[Estimate] = None
    figures: dict[str, float] = field(default_factory=dict)
    rise: Optional[float] = None


@dataclass(frozen=True)
class Ratio:
    """The subject's throughput, or peak memory, over a baseline's, by rounds that have both."""

    baseline: str
    median: float
    interval: Interval
    rounds: int
    replicates: tuple[float, ...]

    def inverse(self) -> Ratio:
        """Return the ratio of what each needs for the same work."""
        return Ratio(
            self.baseline, 1 / self.median, Interval(1 / self.interval.high, 1 / self.interval.low),
            self.rounds, tuple(1 / value for value in self.replicates),
        )


@dataclass(frozen=True)
class Mean:
    """A geometric mean of ratios over cells."""

    value: float
    interval: Optional[Interval]
    cells: int


@dataclass(frozen=True)
class Analysis:
    """Everything that is shown of a run. Ratios and means are of `subject` against others."""

    header: RunHeader
    subject: str
    baselines: list[str]
    results: dict[tuple[str, str], Result]  # by cell and allocator
    ratios: dict[tuple[str, str], Ratio]  # by cell and baseline
    best: dict[str, str]  # cell: the fastest baseline
    memory_ratios: dict[str, tuple[str, float]]  # cell: leanest baseline, the subject's memory to its
    speed_means: dict[tuple[str, str], Mean]  # by workload ("" for all) and baseline ("" for the best)
    undisturbed_means: dict[str, Mean]  # by workload ("" for all): best sample to best sample
    memory_means: dict[str, Mean]  # by workload ("" for all), to the leanest baseline
    memory_by_baseline: dict[tuple[str, str], Ratio]  # by cell and baseline: peak memory
    # Where the floor or none was measured: by cell and allocator, and by round, seconds an
    # operation in the steady phase, where the workload has one.
    seconds_by_round: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    # Of runs with --latency: by cell and allocator, and by round.
    latencies: dict[tuple[str, str], dict[int, Latency]] = field(default_factory=dict)

    def cells_of(self, workload: str) -> list[Cell]:
        """Return the cells of one workload, in the order of the matrix."""
        return [cell for cell in self.header.cells if cell.workload == workload]

    @property
    def program_cells(self) -> list[Cell]:
        """The cells of real programs."""
        return [cell for cell in self.header.cells if cell.is_program]

    @property
    def allocators(self) -> list[str]:
        """The names of all allocators, in the order that was given."""
        return [entry.name for entry in self.header.allocators]

    def oversubscribed(self, cell: Cell) -> bool:
        """True if the cell runs more threads than there are cores for."""
        return cell.concurrency > self.header.machine.cores_available


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers, interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    return low + (high - low) * (place - below)


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return quantile(sorted(values), 0.5)


def bootstrap(values: Sequence[float], name: str) -> list[float]:
    """Return the medians of RESAMPLES random resamples of values; `name` seeds the choice. With numpy
    it is much faster, and gives the same numbers to the last digit."""
    generator = random.Random(f"{_SEED}:{name}")
    numpy = _numpy()
    if numpy is not None:
        return _bootstrap_with(numpy, values, generator)
    count = len(values)
    chosen = generator.choices(values, k=count * RESAMPLES)
    return [
        quantile(sorted(chosen[start:start + count]), 0.5)
        for start in range(0, count * RESAMPLES, count)
    ]


@functools.lru_cache(maxsize=None)
def _numpy() -> Any:
    """Return the module numpy, None where it is missing."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


@functools.lru_cache(maxsize=None)
def _twister() -> Any:
    """A generator of numpy, whose state is set before each use: making one takes longer than using it."""
    return _numpy().random.RandomState(0)


def _bootstrap_with(numpy: Any, values: Sequence[float], generator: random.Random) -> list[float]:
    """The same resamples: both generators are the Mersenne Twister, and make the same doubles of it."""
    count = len(values)
    state = generator.getstate()[1]
    twister = _twister()
    twister.set_state(("MT19937", state[:-1], state[-1]))
    places = (twister.random_sample(count * RESAMPLES) * count).astype(numpy.intp)
    chosen = numpy.sort(numpy.asarray(values, dtype=float)[places].reshape(RESAMPLES, count), axis=1)
    place = 0.5 * (count - 1)
    below = math.floor(place)
    low, high = chosen[:, below], chosen[:, min(below + 1, count - 1)]
    found: list[float] = (low + (high - low) * (place - below)).tolist()
    return found


def interval_of(replicates: Sequence[float]) -> Interval:
    """Return the percentile interval of bootstrap replicates."""
    ordered = sorted(replicates)
    tail = (1 - CONFIDENCE) / 2
    return Interval(quantile(ordered, tail), quantile(ordered, 1 - tail))


def estimate(values: Sequence[float], name: str) -> Estimate:
    """Return the estimate of one number from its samples (at least one)."""
    ordered = sorted(values)
    middle = quantile(ordered, 0.5)
    low, high = quantile(ordered, 0.25), quantile(ordered, 0.75)
    return Estimate(
        median=middle,
        lower_quartile=low,
        upper_quartile=high,
        lowest=ordered[0],
        highest=ordered[-1],
        interval=interval_of(bootstrap(ordered, name)),
        samples=len(ordered),
        spread=(high - low) / middle if middle else 0.0,
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers (at least one)."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def analyse(header: RunHeader, samples: Sequence[Sample]) -> Analysis:
    """Return the analysis of a run's samples; warm-ups do not count."""
    names = [entry.name for entry in header.allocators]
    subject = _subject(header)
    baselines = [name for name in names if name != subject and name not in RODS]
    grouped: dict[tuple[str, str], list[Sample]] = {
        (cell.id, name): [] for cell in header.cells for name in names
    }
    for sample in samples:
        group = grouped.get((sample.cell, sample.allocator))
        if group is not None and not (sample.warmup and sample.ok):
            group.append(sample)
    cells = {cell.id: cell for cell in header.cells}
    results = {
        key: _result(group, ":".join(key), cells[key[0]].is_program)
        for key, group in grouped.items()
    }
    ratios: dict[tuple[str, str], Ratio] = {}
    footprints: dict[tuple[str, str], Ratio] = {}
    best: dict[str, str] = {}
    memory: dict[str, tuple[str, float]] = {}
    for cell in header.cells:
        _compare(cell, subject, baselines, grouped, results, ratios, best, memory, footprints)
    speed_means, memory_means = _means(header, baselines, ratios, best, memory)
    undisturbed = _undisturbed_means(header, subject, baselines, results)
    return Analysis(
        header, subject, baselines, results, ratios, best, memory, speed_means, undisturbed,
        memory_means, footprints,
        _seconds_by_round(grouped, cells) if FLOOR in names or NONE in names else {},
        _latencies(grouped),
    )


def _latencies(grouped: dict[tuple[str, str], list[Sample]]) -> dict[tuple[str, str], dict[int, Latency]]:
    found = {
        key: {s.round: s.measured.latency for s in group if s.measured is not None and s.measured.latency is not None}
        for key, group in grouped.items()
    }
    return {key: by_round for key, by_round in found.items() if by_round}


def _seconds_by_round(
    grouped: dict[tuple[str, str], list[Sample]], cells: dict[str, Cell]
) -> dict[tuple[str, str], dict[int, float]]:
    return {
        key: {
            s.round: 1 / speed for s in group if s.measured is not None
            for speed in [_steady_speed(s.measured, cells[key[0]])] if speed > 0
        }
        for key, group in grouped.items()
    }


def _steady_speed(measured: Measurement, cell: Cell) -> float:
    """The speed of the phase that the workload's length is meant for: the page faults of filling a table
    of millions of slots say nothing of the loop."""
    phase = WORKLOADS[cell.workload].steady if cell.workload in WORKLOADS else ""
    for each in measured.phases if phase else ():
        if each.name == phase:
            return each.ops_per_second
    return _speed(measured, cell.is_program)


def _subject(header: RunHeader) -> str:
    """Who is compared with the others: hakmem; else a library that the user brought; else the
    allocator that was named first; the floor only where nothing else was measured."""
    names = [entry.name for entry in header.allocators]
    brought = [entry.name for entry in header.allocators if entry.kind == "preloaded"]
    wanted = [name for name in names if name == SUBJECT] + brought
    wanted += [name for name in names if name not in RODS] + [name for name in names if name != NONE]
    return next(iter(wanted), names[0])


def _speed(measured: Measurement, is_program: bool) -> float:
    if is_program:
        return measured.operations / measured.cpu_seconds if measured.cpu_seconds > 0 else 0.0
    return measured.ops_per_second


def _result(group: Sequence[Sample], name: str, is_program: bool) -> Result:
    failures = [sample.failure.reason for sample in group if sample.failure is not None]
    good = [sample.measured for sample in group if sample.measured is not None]
    unusable = [m for m in good if _speed(m, is_program) <= 0 or m.peak_rss_bytes <= 0]
    failures += ["its throughput or memory is not above 0"] * len(unusable)
    if failures or not good:
        return Result(None, None, len(group), failures)
    return Result(
        throughput=estimate([_speed(m, is_program) for m in good], name),
        peak_rss=estimate([float(m.peak_rss_bytes) for m in good], name),
        attempts=len(group),
        failures=[],
        cpu_seconds=estimate([m.cpu_seconds for m in good], name) if is_program else None,
        figures={
            figure: median(m.figures[figure] for m in good if figure in m.figures)
            for figure in dict.fromkeys(figure for m in good for figure in m.figures)
        },
        rise=_rise(good),
    )


def _rise(good: Sequence[Measurement]) -> Optional[float]:
    halves = [m.rss_halves_bytes for m in good if len(m.rss_halves_bytes) == 2 and min(m.rss_halves_bytes) > 0]
    return median(second / first for first, second in halves) if halves else None


def _compare(
    cell: Cell,
    subject: str,
    baselines: Sequence[str],
    grouped: dict[tuple[str, str], list[Sample]],
    results: dict[tuple[str, str], Result],
    ratios: dict[tuple[str, str], Ratio],
    best: dict[str, str],
    memory: dict[str, tuple[str, float]],
    footprints: dict[tuple[str, str], Ratio],
) -> None:
    """Fill in what compares the subject with the baselines in one cell."""
    ours = results[cell.id, subject]
    speeds: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for name in baselines:
        theirs = results[cell.id, name]
        if theirs.throughput is None or theirs.peak_rss is None:
            continue
        speeds[name], peaks[name] = theirs.throughput.median, theirs.peak_rss.median
        if ours.throughput is not None:
            pair = (grouped[cell.id, subject], grouped[cell.id, name])
            ratio = _ratio(*pair, f"ratio:{cell.id}", name, lambda m: _speed(m, cell.is_program))
            footprint = _ratio(*pair, f"memory:{cell.id}", name, lambda m: float(m.peak_rss_bytes))
            if ratio is not None and footprint is not None:
                ratios[cell.id, name] = ratio
                footprints[cell.id, name] = footprint
    if speeds:
        best[cell.id] = max(speeds, key=lambda name: speeds[name])
    if peaks and ours.peak_rss is not None:
        leanest = min(peaks, key=lambda name: peaks[name])
        memory[cell.id] = (leanest, ours.peak_rss.median / peaks[leanest])


def _ratio(
    ours: Sequence[Sample], theirs: Sequence[Sample], name: str, baseline: str,
    value: Callable[[Measurement], float],
) -> Optional[Ratio]:
    by_round = {s.round: value(s.measured) for s in theirs if s.measured is not None}
    paired = sorted(
        value(s.measured) / by_round[s.round]
        for s in ours
        if s.measured is not None and s.round in by_round
    )
    if not paired:
        return None
    replicates = bootstrap(paired, f"{name}:{baseline}")
    return Ratio(
        baseline, quantile(paired, 0.5), interval_of(replicates), len(paired), tuple(replicates)
    )


def _means(
    header: RunHeader,
    baselines: Sequence[str],
    ratios: dict[tuple[str, str], Ratio],
    best: dict[str, str],
    memory: dict[str, tuple[str, float]],
) -> tuple[dict[tuple[str, str], Mean], dict[str, Mean]]:
    """Return the means of throughput and of memory ratios, by workload and over all."""
    speed: dict[tuple[str, str], Mean] = {}
    lean: dict[str, Mean] = {}
    logarithms = {
        key: [math.log(value) for value in ratio.replicates] for key, ratio in ratios.items()
    }
    for workload in [*header.workloads, ""]:
        cells = [cell.id for cell in header.cells if workload in (cell.workload, "")]
        for baseline in [*baselines, ""]:
            chosen = [
                (cell, baseline or best[cell])
                for cell in cells
                if cell in best and (cell, baseline or best[cell]) in ratios
            ]
            if chosen:
                speed[workload, baseline] = _mean_of_ratios(
                    [ratios[key] for key in chosen], [logarithms[key] for key in chosen]
                )
        shares = [memory[cell][1] for cell in cells if cell in memory]
        if shares:
            lean[workload] = Mean(geometric_mean(shares), None, len(shares))
    return speed, lean


def _undisturbed_means(
    header: RunHeader,
    subject: str,
    baselines: Sequence[str],
    results: dict[tuple[str, str], Result],
) -> dict[str, Mean]:
    """Return by workload the mean of the subject's fastest sample over the baselines' fastest.

    Noise only ever slows a sample down, so the fastest one is the least disturbed.
    """
    means: dict[str, Mean] = {}
    for workload in [*header.workloads, ""]:
        shares: list[float] = []
        for cell in header.cells:
            ours = results[cell.id, subject].throughput
            theirs = [
                found.highest
                for found in (results[cell.id, name].throughput for name in baselines)
                if found is not None
            ]
            if workload in (cell.workload, "") and ours is not None and theirs:
                shares.append(ours.highest / max(theirs))
        if shares:
            means[workload] = Mean(geometric_mean(shares), None, len(shares))
    return means


def _mean_of_ratios(ratios: Sequence[Ratio], logarithms: Sequence[Sequence[float]]) -> Mean:
    """The interval takes one replicate of every cell at a time: cells vary independently.
    `logarithms` are those of the ratios' replicates."""
    replicates = [math.exp(sum(values) / len(values)) for values in zip(*logarithms)]
    return Mean(
        geometric_mean([ratio.median for ratio in ratios]), interval_of(replicates), len(ratios)
    )


def mean_of(ratios: Sequence[Ratio]) -> Optional[Mean]:
    """Return the geometric mean of ratios of different cells with its interval; None where there is none,
    or where one could as well be 0 or less, which has no logarithm."""
    if not ratios or any(ratio.median <= 0 or min(ratio.replicates) <= 0 for ratio in ratios):
        return None
    return _mean_of_ratios(ratios, [[math.log(value) for value in ratio.replicates] for ratio in ratios])


def remarks(analysis: Analysis) -> list[str]:
    """Return in plain words what a reader must know before believing the numbers."""
    header, lines = analysis.header, []
    cores = header.machine.cores_available
    if any(analysis.oversubscribed(cell) for cell in header.cells):
        lines.append(
            f"* oversubscribed: more threads than the {cores} cores, so the system's scheduler "
            "is measured too."
        )
    counts = [r.throughput.samples for r in analysis.results.values() if r.throughput]
    if counts and min(counts) < FEW_SAMPLES:
        lines.append(
            f"Too few samples: some cells have only {min(counts)}; intervals need at least "
            f"{FEW_SAMPLES} to mean something."
        )
    lines += _listed(
        analysis,
        lambda result: result.throughput is not None and result.throughput.spread > NOISY_SPREAD,
        f"Noisy, the middle half of the samples spans more than {NOISY_SPREAD:.0%} of the median",
    )
    lines += _listed(
        analysis,
        lambda result: result.rise is not None and result.rise > UNSETTLED_RISE,
        f"Not settled, resident memory is over {UNSETTLED_RISE - 1:.0%} higher in the second half of a run than in the "
        "first; a longer --duration measures what follows",
    )
    lines += _listed(analysis, lambda result: bool(result.failures), "Failed")
    lines += [f"Left out: {name}: {reason}" for name, reason in header.skipped.items()]
    if header.settings.check:
        lines.append("Measured with --check, which costs every allocator speed.")
    if header.settings.latency:
        lines.append("Measured with --latency, which samples single calls.")
    if header.counters.note is not None:
        lines.append(f"No hardware counters: {header.counters.note}.")
    return lines


def _listed(
    analysis: Analysis, chosen: Callable[[Result], bool], heading: str, most: int = 8
) -> list[str]:
    """Return one line that names the results that `chosen` accepts."""
    found: list[str] = []
    for (cell, name), result in analysis.results.items():
        if chosen(result):
            reason = f" ({len(result.failures)} of {result.attempts}: {result.failures[0]})" if (
                result.failures
            ) else ""
            found.append(f"{cell} {name}{reason}")
    if not found:
        return []
    more = f", and {len(found) - most} more" if len(found) > most else ""
    return [f"{heading}: {', '.join(found[:most])}{more}."]
