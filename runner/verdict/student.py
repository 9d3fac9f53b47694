"""Student's t for any degrees of freedom, in plain Python: p-values and quantiles."""
from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from runner.paired import incomplete_beta

_AS_NORMAL = 20_000.0  # degrees of freedom from which on the normal distribution does
_LEAST_TAIL = 1e-15


def student_p_value(distance: float, freedom: float) -> float:
    """Return the chance that t is at least so far from 0, to either side."""
    if freedom >= _AS_NORMAL:
        return math.erfc(abs(distance) / math.sqrt(2))
    squared = distance * distance
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + squared)) if squared > 0 else 1.0


@lru_cache(maxsize=65536)
def student_quantile(level: float, freedom: float) -> float:
    """Return how far from 0, to either side, t stays with a chance of `level` (above 0, below 1).

    Newton's method for the logarithm of the tail over that of the distance, where it bends downwards
    only: after the first step every further one comes closer.
    """
    tail = max(_LEAST_TAIL, 1 - level)
    if freedom >= _AS_NORMAL:
        return -NormalDist().inv_cdf(tail / 2)
    distance = max(1e-6, -NormalDist().inv_cdf(tail / 2))
    for _ in range(60):
        chance = student_p_value(distance, freedom)
        slope = 2 * _density(distance, freedom) * distance / chance
        step = math.log(chance / tail) / slope
        distance *= math.exp(min(step, 50.0))
        if abs(step) < 1e-10:
            break
    return distance


def _density(distance: float, freedom: float) -> float:
    return math.exp(
        math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
        - (freedom + 1) / 2 * math.log1p(distance * distance / freedom)
    )
