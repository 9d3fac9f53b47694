"""Which pairs a comparison of a time budget measures: as many as fit, or fewer once run.py --rev would stop."""
from __future__ import annotations

from collections.abc import Iterator

from runner.adaptive import Openness
from runner.calibrating.judge import Pair, header_of_two, role_samples
from runner.records import RunHeader

_STEP = 1.04  # looks at whether it would stop lie this far apart: looking after every pair costs most of all


def pairs_of_budget(pairs: Iterator[Pair], header: RunHeader, budget: float) -> list[Pair]:
    """Return the pairs that are measured, at least one."""
    openness = Openness(header_of_two(header))
    cells = header.cells
    taken: list[Pair] = []
    left = budget
    look = 1
    for pair in pairs:
        number = len(taken) + 1
        if taken and pair.seconds > left:
            break
        if number >= look:
            if not openness.open_cells(number, cells):
                break
            look = max(number + 1, round(number * _STEP))
        for sample in role_samples(pair, number):
            openness.learn(sample)
        taken.append(pair)
        left -= pair.seconds
    return taken
