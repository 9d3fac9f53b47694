"""How slow the slowed builds truly are: from the line of the burnt rounds, and from all samples."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from runner.calibrating.records import Records, RoundMeasured, SlopeFound
from runner.estimate import Interval, bootstrap, interval_of, median

_BLOCK = 10  # neighbouring rounds whose noise may be the same
_FEWEST_GROUPS = 5  # of such rounds, for an interval to mean something


@dataclass(frozen=True)
class Truth:
    """A slow-down of throughput, as a share. `expected` is from the line of the burnt rounds, `measured`
    the median over all pairs of the recording; each with its 95% interval. For the build that is
    a copy, `slow_down` is 0 and nothing is burnt."""

    cell: str
    slow_down: float
    rounds: int
    expected: float
    expected_interval: Interval
    measured: Optional[float]
    measured_interval: Optional[Interval]
    pairs: int

    @property
    def agrees(self) -> Optional[bool]:
        """True if the two intervals overlap; None if too little was measured."""
        if self.measured_interval is None:
            return None
        return (self.expected_interval.low <= self.measured_interval.high
                and self.measured_interval.low <= self.expected_interval.high)


def truths_of(records: Records) -> list[Truth]:
    """Return the slow-down of every build but the first, by cell."""
    found: list[Truth] = []
    rounds: dict[str, list[RoundMeasured]] = {}
    for entry in records.of(RoundMeasured):
        rounds.setdefault(entry.cell, []).append(entry)
    for slope in records.of(SlopeFound):
        measured = rounds.get(slope.cell, [])
        found.append(_truth(slope, measured, -1, 0.0))
        found += [
            _truth(slope, measured, number, slow_down)
            for number, slow_down in enumerate(records.plan.slow_downs)
        ]
    return found


def _truth(slope: SlopeFound, rounds: list[RoundMeasured], number: int, slow_down: float) -> Truth:
    copy = number < 0
    measured, interval, pairs = _measured(rounds, number + 2, f"{slope.cell}:{slow_down}")
    return Truth(
        slope.cell, slow_down, 0 if copy else slope.rounds[number],
        0.0 if copy else slope.expected[number],
        Interval(0.0, 0.0) if copy else Interval(slope.low[number], slope.high[number]),
        measured, interval, pairs,
    )


def _measured(
    rounds: list[RoundMeasured], place: int, name: str
) -> tuple[Optional[float], Optional[Interval], int]:
    """The slow-down of the build at `place` against both that burn nothing (the copy: against the first),
    and the interval of a bootstrap that draws groups of neighbouring rounds."""
    logs: list[float] = []
    for entry in rounds:
        speeds = entry.ops_per_second
        base = [speeds[0]] if place == 1 else speeds[:2]
        known = [math.log(speed) for speed in base if speed]
        new = speeds[place]
        if known and new:
            logs.append(math.log(new) - sum(known) / len(known))
    if not logs:
        return None, None, 0
    groups = [median(logs[start:start + _BLOCK]) for start in range(0, len(logs), _BLOCK)]
    shown: Optional[Interval] = None
    if len(groups) >= _FEWEST_GROUPS:
        interval = interval_of(bootstrap(groups, name))
        shown = Interval(1 - math.exp(interval.high), 1 - math.exp(interval.low))
    return 1 - math.exp(median(logs)), shown, len(logs)
