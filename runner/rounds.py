"""Draws whole rounds of a run again, for intervals of what is made of the samples of several rounds, or of
several allocators in one."""
from __future__ import annotations

import random

from runner.estimate import RESAMPLES

_SEED = 20203


def draw_rounds(name: str, count: int) -> list[list[int]]:
    """Return which of `count` rounds each of RESAMPLES drawings is made of; `name` seeds the choice."""
    generator = random.Random(f"{_SEED}:{name}")
    chosen = generator.choices(range(count), k=count * RESAMPLES)
    return [chosen[start:start + count] for start in range(0, count * RESAMPLES, count)]
