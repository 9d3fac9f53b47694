"""Decides which cells of a comparison need more samples: those whose interval is still wide.

Every cell gets as many rounds at first as a verdict needs at the very least. From then on a cell is open
until the interval of its ratio, new build to base, is narrow enough, at the confidence that a verdict among
all these questions needs. Only the width decides, never where the interval lies: a ratio that looks like a
change gets no more and no fewer samples than another. A width that is narrow for the first time is a lucky
one more often than not; a cell is therefore closed only when it is narrow now and already was without the
last third of its samples.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Optional

from runner.verdict.comparison import DEFAULT_FALSE_DISCOVERY_RATE
from runner.paired import half_width
from runner.records import Cell, RunHeader, Sample

MOST_ROUNDS = 100_000
# Half of the interval's width, relative to the effect. After the last third of the samples it is about half
# of the effect: of a change as large as the effect the interval at 99.9%, 3.29 standard errors, then ends as
# far again from no change, which leaves room for what many questions ask beyond that. (With 0.8 such a change
# was found in 93% of comparisons, however much time there was.)
NARROW = 0.6
_HOPELESS_FAILURES = 3
_LEAST_CONFIDENCE = 0.999
_QUESTIONS_OF_A_CELL = 10  # about: metrics and phases
_SPARE_ROUNDS = 3


def first_rounds(cells: int, builds: int) -> int:
    """Return how many rounds every cell gets. A test by signs or ranks can't be surer of n pairs than
    2 in 2**n, however clear they are; for one change among all questions to be picked that must be less
    than the false-discovery rate over their number. A few more, since not all pairs are clear."""
    questions = _QUESTIONS_OF_A_CELL * max(1, cells) * max(1, builds - 1)
    return math.ceil(math.log2(2 * questions / DEFAULT_FALSE_DISCOVERY_RATE)) + _SPARE_ROUNDS


def confidence_for(questions: int) -> float:
    """Return the confidence of each interval so that all of `questions` keep the false-discovery rate."""
    return max(_LEAST_CONFIDENCE, 1 - DEFAULT_FALSE_DISCOVERY_RATE / max(1, questions))


def speed_of(sample: Sample, is_program: bool) -> float:
    """Return what a cell's interval is about: throughput, of a program work per processor time; 0 for
    a sample without numbers."""
    measured = sample.measured
    if measured is None:
        return 0.0
    if not is_program:
        return measured.ops_per_second
    return measured.operations / measured.cpu_seconds if measured.cpu_seconds > 0 else 0.0


class Openness:
    """Knows which cells a round measures, from the samples of the rounds before it alone, so that an
    interrupted comparison goes on as it would have."""

    def __init__(self, header: RunHeader) -> None:
        self._cells = {cell.id: cell for cell in header.cells}
        self._builds = [build.allocator for build in header.builds]
        self.first_rounds = first_rounds(len(self._cells), len(self._builds))
        self._fixed = header.settings.rounds is not None
        effect = header.settings.effect or 0.0
        self._target = math.log1p(NARROW * effect)
        self._confidence = confidence_for(len(self._cells) * (len(self._builds) - 1))
        self._speeds: dict[str, dict[int, dict[str, float]]] = {cell: {} for cell in self._cells}
        self._bad: dict[tuple[str, str], list[int]] = {}  # rounds
        self._widths: dict[tuple[str, int], float] = {}

    def learn(self, sample: Sample) -> None:
        """Take a sample into account."""
        if sample.warmup or sample.allocator not in self._builds or sample.cell not in self._cells:
            return
        speed = speed_of(sample, self._cells[sample.cell].is_program)
        if speed > 0:
            rounds = self._speeds[sample.cell].setdefault(sample.round, {})
            rounds[sample.allocator] = speed
        else:
            self._bad.setdefault((sample.cell, sample.allocator), []).append(sample.round)

    def open_cells(self, number: int, cells: Iterable[Cell]) -> list[Cell]:
        """Return those cells that round `number` measures."""
        if self._fixed or number <= self.first_rounds:
            return list(cells)
        if number > MOST_ROUNDS:
            return []
        return [cell for cell in cells if not self._closed(cell.id, number - 1)]

    def rounds_expected(self, cell: Cell, done: int) -> int:
        """Return how many rounds a cell will need in all, after `done`, as far as can be told: the width
        shrinks with the root of the number of rounds."""
        if done < self.first_rounds:
            return self.first_rounds
        width = self.width(cell.id, done)
        if self._closed(cell.id, done) or self._target <= 0:
            return done
        if not math.isfinite(width):
            return 2 * done
        return max(done + 1, math.ceil(1.5 * done * (width / self._target) ** 2))

    def width(self, cell: str, last: int) -> float:
        """Return half of the width of the interval of a cell's log ratio after the rounds up to `last`:
        of several new builds the widest."""
        found = self._widths.get((cell, last))
        if found is None:
            found = max(
                half_width(ratios, self._confidence)
                for ratios in (self._ratios(cell, name, last) for name in self._builds[1:])
            )
            self._widths[cell, last] = found
        return found

    def _closed(self, cell: str, last: int) -> bool:
        if any(self._hopeless(cell, name, last) for name in self._builds):
            return True
        # Of a cell that was closed before, the rounds that it had: it is closed for good.
        last = min(last, max(self._speeds[cell], default=0))
        return all(
            self.width(cell, rounds) <= self._target for rounds in (last, math.ceil(last / 1.5))
        )

    def _hopeless(self, cell: str, name: str, last: int) -> bool:
        """True if a build fails there as often as not: more samples tell no more."""
        bad = sum(number <= last for number in self._bad.get((cell, name), ()))
        if bad < _HOPELESS_FAILURES:
            return False
        return bad >= sum(name in speeds for n, speeds in self._speeds[cell].items() if n <= last)

    def _ratios(self, cell: str, name: str, last: int) -> Sequence[float]:
        base = self._builds[0]
        return [
            math.log(speeds[name] / speeds[base])
            for number, speeds in self._speeds[cell].items()
            if number <= last and name in speeds and base in speeds
        ]


def openness_of(header: RunHeader, samples: Iterable[Sample]) -> Optional[Openness]:
    """Return what a comparison knows from its samples so far, None for a run that is none."""
    if len(header.builds) < 2:
        return None
    found = Openness(header)
    for sample in samples:
        found.learn(sample)
    return found
