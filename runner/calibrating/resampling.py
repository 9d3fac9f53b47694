"""Thousands of comparisons out of the pairs that were recorded, drawn again in blocks of neighbours.

Neighbours share their noise: a block keeps that. Which of two copies of the same build is the base is
drawn for each block, so that no accident of the recording counts as a change. A slow-down that was
measured is drawn from the pairs of that build; another is put in by arithmetic, into the copies' pairs.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from runner.calibrating.judge import Judge, Pair, throughput_of
from runner.calibrating.records import Plan, Resampled
from runner.verdict.comparison import FASTER, SLOWER, UNDECIDED
from runner.records import Measurement, RunHeader, Sample

BLOCK_SECONDS = 5.0  # of neighbouring pairs that are drawn together
FEWEST_BLOCKS = 10  # that there are to draw from; the blocks are shorter in a short recording
BATCH = 20  # comparisons of a record
Round = Sequence[Sample]  # one sample of each build, in the order of the builds


@dataclass(frozen=True)
class Task:
    """One batch of resampled comparisons."""

    cell: str
    slow_down: float
    budget: float
    batch: int


class Pool:
    """The rounds of one cell, to draw from. The first two builds are the same; `slow_downs` are of those
    that follow."""

    def __init__(self, header: RunHeader, rounds: Sequence[Round], slow_downs: Sequence[float]) -> None:
        self.header = header
        self._rounds = list(rounds)
        self._slow_downs = list(slow_downs)
        seconds = sum(s.elapsed_seconds for r in self._rounds for s in r[:2]) / max(1, len(self._rounds))
        wanted = round(BLOCK_SECONDS / max(seconds, 1e-3))
        self._block = max(1, min(wanted, len(self._rounds) // FEWEST_BLOCKS))

    def __len__(self) -> int:
        return len(self._rounds)

    def is_measured(self, slow_down: float) -> bool:
        """True if there was a build that is so much slower."""
        return slow_down in self._slow_downs

    def draw(self, slow_down: float, generator: random.Random) -> Iterator[Pair]:
        """Draw pairs without end."""
        while True:
            start = generator.randrange(len(self._rounds))
            swapped = generator.random() < 0.5
            for place in range(start, start + self._block):
                yield self._pair(self._rounds[place % len(self._rounds)], slow_down, swapped)

    def _pair(self, samples: Round, slow_down: float, swapped: bool) -> Pair:
        first, second = (samples[1], samples[0]) if swapped else (samples[0], samples[1])
        if slow_down in self._slow_downs:
            return Pair(first, samples[2 + self._slow_downs.index(slow_down)])
        return Pair(first, slowed(second, slow_down) if slow_down else second)


def slowed(sample: Sample, slow_down: float) -> Sample:
    """Return a sample as if it had come through fewer operations in the same time."""
    measured = sample.measured
    if measured is None:
        return sample
    left = 1 - slow_down
    changed: Measurement = replace(
        measured, operations=max(1, round(measured.operations * left)),
        ops_per_second=measured.ops_per_second * left,
        phases=[
            replace(phase, operations=max(1, round(phase.operations * left)),
                    ops_per_second=phase.ops_per_second * left)
            for phase in measured.phases
        ],
    )
    return replace(sample, measured=changed)


def resample(
    pool: Pool, plan: Plan, judge: Judge, task: Task, take: Callable[[Iterator[Pair], float], list[Pair]]
) -> Resampled:
    """Make one batch; the same for the same plan and task. `take` takes as many pairs as a comparison of
    a budget would measure."""
    generator = random.Random(f"{plan.order_seed}:{task.cell}:{task.slow_down}:{task.budget}:{task.batch}")
    detected = erring = undecided = pairs = 0
    for _ in range(BATCH):
        drawn = take(pool.draw(task.slow_down, generator), task.budget)
        comparison = judge.compare(pool.header, drawn)
        verdict = throughput_of(comparison).verdict
        detected += verdict == SLOWER
        undecided += verdict == UNDECIDED
        wrong = comparison.with_verdict(FASTER) or (not task.slow_down and comparison.with_verdict(SLOWER))
        erring += bool(wrong)
        pairs += len(drawn)
    return Resampled(
        task.cell, task.slow_down, not pool.is_measured(task.slow_down), task.budget, task.batch, BATCH,
        detected, erring, undecided, pairs / BATCH, len(pool),
    )


def tasks_of(plan: Plan, done: Sequence[Resampled]) -> list[Task]:
    """Return the batches to make, so that every cell, slow-down and budget gets equally many even if the
    time ends; the long ones, which cost most, last of each turn."""
    finished = {(r.cell, r.slow_down, r.budget, r.batch) for r in done}
    turns = -(-plan.resamples // BATCH)
    return [
        Task(cell.id, slow_down, budget, batch)
        for batch in range(turns)
        for budget in plan.resampled_budgets
        for slow_down in plan.resampled_slow_downs
        for cell in plan.cells
        if (cell.id, slow_down, budget, batch) not in finished
    ]


def rounds_of_samples(samples: Sequence[Sample], builds: Sequence[str]) -> list[list[Sample]]:
    """Return the rounds in which every build has a good sample, in the order of time."""
    rounds: dict[int, dict[str, Sample]] = {}
    for sample in samples:
        if sample.ok and not sample.warmup:
            rounds.setdefault(sample.round, {})[sample.allocator] = sample
    return [
        [found[name] for name in builds]
        for _, found in sorted(rounds.items()) if all(name in found for name in builds)
    ]
