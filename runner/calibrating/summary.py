"""What a calibration found: rates of false alarms and of detection, true slow-downs, and the checks."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Optional

from runner.calibrating.rates import LEAST_REAL, Rate
from runner.calibrating.records import (
    COMMAND, Check, ExactOutcome, Outcome, Records, Resampled,
)
from runner.calibrating.truth import Truth, truths_of
from runner.records import Cell
from runner.schedule import in_words

MOST_FALSE_ALARMS = 0.01
LEAST_DETECTED = 0.95
EXACT_CHANGE = 0.005
_NO_RATE = Rate(0, 0)


@dataclass(frozen=True)
class Point:
    """A rate of resampled comparisons of one cell: false alarms where `slow_down` is 0."""

    cell: str
    slow_down: float
    budget: float
    rate: Rate
    pairs: float
    recorded_pairs: int
    shifted: bool


@dataclass(frozen=True)
class Summary:
    """Everything that is shown."""

    records: Records
    truths: list[Truth]
    points: list[Point]

    @property
    def outcomes(self) -> list[Outcome]:
        """All real comparisons."""
        return self.records.of(Outcome)

    def real(self, cell: str, slow_down: float) -> Rate:
        """The rate of real comparisons of a cell: of false alarms where `slow_down` is 0, else of
        detections."""
        return _rate_of(o for o in self.outcomes if (o.cell, o.slow_down) == (cell, slow_down))

    def point(self, cell: str, slow_down: float, budget: float) -> Optional[Point]:
        """Return one point, None if there is none."""
        wanted = (cell, slow_down, budget)
        return next((p for p in self.points if (p.cell, p.slow_down, p.budget) == wanted), None)


def summarise(records: Records) -> Summary:
    """Return the summary of all records."""
    return Summary(records, truths_of(records), _points(records))


def _rate_of(outcomes: Iterable[Outcome]) -> Rate:
    found = [o.detects if o.slow_down else o.errs for o in outcomes]
    return Rate(sum(found), len(found))


def _points(records: Records) -> list[Point]:
    """Add up the batches. What was measured stands for itself, what was put in by arithmetic does where
    nothing was measured."""
    groups: dict[tuple[str, float, float, bool], list[Resampled]] = {}
    for batch in records.of(Resampled):
        groups.setdefault((batch.cell, batch.slow_down, batch.budget, batch.shifted), []).append(batch)
    points: list[Point] = []
    for (cell, slow_down, budget, shifted), batches in sorted(groups.items()):
        trials = sum(batch.comparisons for batch in batches)
        count = sum(batch.detected if slow_down else batch.erring for batch in batches)
        pairs = sum(batch.pairs * batch.comparisons for batch in batches) / trials
        points.append(Point(cell, slow_down, budget, Rate(count, trials), pairs,
                            batches[0].recorded_pairs, shifted))
    return points


def checks_of(summary: Summary) -> list[Check]:
    """Return each figure that the verdicts are to reach, with what was found."""
    cells = summary.records.plan.cells
    alone = [cell for cell in cells if cell.concurrency == 1]
    together = [cell for cell in cells if cell.concurrency == 2]
    checks = [_enough(summary), _false_alarms(summary, real=True), _false_alarms(summary, real=False)]
    checks += _detection(summary, alone, 0.02, 300.0, "one thread")
    checks += _detection(summary, alone, 0.05, 60.0, "one thread")
    checks += _detection(summary, together, 0.05, 300.0, "two threads")
    checks.append(_exact(summary))
    return checks


def _enough(summary: Summary) -> Check:
    same = sum(o.slow_down == 0 for o in summary.outcomes)
    slowed = sum(o.slow_down > 0 for o in summary.outcomes)
    whole = sum(o.kind == COMMAND for o in summary.outcomes)
    return Check(
        "real comparisons", f"at least {LEAST_REAL} of a build with itself, and {LEAST_REAL} with slower ones",
        f"{same} and {slowed}, {whole} of them by the commands as a user gives them",
        min(same, slowed) >= LEAST_REAL,
    )


def _false_alarms(summary: Summary, real: bool) -> Check:
    if real:
        rate = _rate_of(o for o in summary.outcomes if not o.slow_down)
    else:
        rate = sum((p.rate for p in summary.points if not p.slow_down), _NO_RATE)
    return Check(
        f"false alarms, {'real' if real else 'resampled'}",
        f"at most {MOST_FALSE_ALARMS:.0%} of builds compared with themselves called slower or faster in anything",
        _found(rate), _verdict(rate, lambda share: share <= MOST_FALSE_ALARMS),
    )


def _detection(
    summary: Summary, cells: list[Cell], slow_down: float, budget: float, whose: str
) -> list[Check]:
    checks: list[Check] = []
    for cell in cells:
        point = summary.point(cell.id, slow_down, budget)
        if point is None:
            continue
        checks.append(Check(
            f"detection, {cell.id}",
            f"{slow_down:.0%} less throughput, {whose}: slower in at least {LEAST_DETECTED:.0%} within "
            f"{in_words(budget)}",
            _found(point.rate), _verdict(point.rate, lambda share: share >= LEAST_DETECTED),
        ))
    return checks


def _exact(summary: Summary) -> Check:
    found: list[ExactOutcome] = [
        o for o in summary.records.of(ExactOutcome) if o.expected_change
    ]
    rate = Rate(sum(o.verdict == "slower" for o in found), len(found))
    return Check(
        "exact instructions", f"{EXACT_CHANGE:.1%} more instructions per operation are always found",
        f"{rate.count} of {rate.trials}", None if not found else rate.count == rate.trials,
    )


def _found(rate: Rate) -> str:
    return f"{rate.count} of {rate.trials}: {rate.text}" if rate.trials else "nothing was compared"


def _verdict(rate: Rate, reached: Callable[[float], bool]) -> Optional[bool]:
    """True if the share of enough trials reaches what was asked for; False if even the better end of its
    interval does not; None between them: so few comparisons can't tell."""
    if rate.trials >= LEAST_REAL and reached(rate.share):
        return True
    return None if any(reached(end) for end in rate.interval) else False
