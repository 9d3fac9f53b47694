"""Hands pairs of samples to the verdicts of compare.py, as a file of run.py --rev would."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.calibrating.records import Outcome
from runner.verdict.runs import CompareOptions, compare_runs
from runner.verdict.comparison import FASTER, SLOWER, UNDECIDED, WHOLE_RUN, Answer, Comparison
from runner.records import RunHeader, Sample
from runner.results_file import Run

THROUGHPUT = "ops_per_second"
ROLES = ("base", "new")


@dataclass(frozen=True)
class Pair:
    """Samples of the base and of the new build, of one round."""

    base: Sample
    new: Sample

    @property
    def seconds(self) -> float:
        """What measuring both took."""
        return self.base.elapsed_seconds + self.new.elapsed_seconds


@dataclass(frozen=True)
class Judge:
    """What every comparison asks for."""

    effect: float
    false_discovery_rate: float

    def compare(self, header: RunHeader, pairs: Sequence[Pair]) -> Comparison:
        """Return the comparison of the pairs, in their order. Raises UsageError where it can't be made."""
        return self.compare_run(run_of(header, pairs))

    def compare_run(self, run: Run) -> Comparison:
        """Return the comparison of a run of two builds. Raises UsageError."""
        return compare_runs([run], [run], CompareOptions(
            effect=self.effect, false_discovery_rate=self.false_discovery_rate,
        ))


def run_of(header: RunHeader, pairs: Sequence[Pair]) -> Run:
    """Return the pairs as the run that measured them, and nothing else."""
    samples = [
        sample for number, pair in enumerate(pairs, start=1) for sample in role_samples(pair, number)
    ]
    return Run(Path("calibration"), header_of_two(header), samples, [], [], 0, 0, False)


def role_samples(pair: Pair, number: int) -> list[Sample]:
    """Return both samples of a pair as those of base and new in a round, in the order of time."""
    base_first = pair.base.position < pair.new.position
    places = (2 * number - 2, 2 * number - 1) if base_first else (2 * number - 1, 2 * number - 2)
    named = [
        _renamed(sample, round=number, position=place, allocator=role)
        for sample, place, role in zip((pair.base, pair.new), places, ROLES)
    ]
    return named if base_first else named[::-1]


def _renamed(sample: Sample, **changes: object) -> Sample:
    """dataclasses.replace for a million samples: thirty times as fast."""
    found = object.__new__(Sample)
    found.__dict__.update(sample.__dict__, **changes)
    return found


def header_of_two(header: RunHeader) -> RunHeader:
    """Return the header of a recording as if it had two builds alone."""
    return replace(
        header,
        allocators=[a for a in header.allocators if a.name in ROLES],
        builds=[b for b in header.builds if b.allocator in ROLES],
    )


def throughput_of(comparison: Comparison) -> Answer:
    """Return the answer on the throughput of the whole run; the comparison has it, or is none."""
    return next(
        answer for answer in comparison.answers
        if answer.question.metric == THROUGHPUT and answer.question.phase == WHOLE_RUN
    )


def named(answers: Sequence[Answer]) -> list[str]:
    """Return what was asked, for people: the metric's name, and the phase's."""
    return [
        f"{a.question.metric}{':' + a.question.phase if a.question.phase else ''}" for a in answers
    ]


def outcome_of(
    comparison: Comparison, kind: str, number: int, cell: str, slow_down: float, budget: float, seconds: float,
    at: float,
) -> Outcome:
    """Return a comparison's verdicts in short."""
    answer = throughput_of(comparison)
    worse = sorted((1 - answer.low, 1 - answer.high))
    return Outcome(
        kind, number, cell, slow_down, budget, round(seconds, 3), answer.pairs, answer.verdict,
        answer.change_to_worse, worse[0], worse[1], len(comparison.answers),
        named(comparison.with_verdict(SLOWER)), named(comparison.with_verdict(FASTER)),
        len(comparison.with_verdict(UNDECIDED)), round(at, 3),
    )
