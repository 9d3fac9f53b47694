"""How exactly pairs of samples tell a ratio: a robust mean and the width of its interval, in plain Python.

The mean is trimmed: the lowest and the highest fifth of the values are left out, so that what a neighbour
on the machine spoils now and then counts little. Its standard error comes from the winsorised variance
and its interval from Student's t with as many degrees of freedom as values are left less one:
J. W. Tukey and D. H. McLaughlin, "Less vulnerable confidence and significance procedures for location based
on a single sample", Sankhya A 25, 1963.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

TRIMMED = 0.2  # of the values, at each end
FEWEST_VALUES = 5


def trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean of what is left without the lowest and the highest fifth (of at least one)."""
    ordered = sorted(values)
    cut = int(TRIMMED * len(ordered))
    kept = ordered[cut:len(ordered) - cut]
    return math.fsum(kept) / len(kept)


def half_width(values: Sequence[float], confidence: float) -> float:
    """Return half of the width of the trimmed mean's interval; infinite for too few values."""
    count = len(values)
    if count < FEWEST_VALUES:
        return math.inf
    ordered = sorted(values)
    cut = int(TRIMMED * count)
    left = count - 2 * cut
    low, high = ordered[cut], ordered[count - cut - 1]
    winsorised = [min(max(value, low), high) for value in ordered]
    mean = math.fsum(winsorised) / count
    squares = math.fsum((value - mean) ** 2 for value in winsorised)
    error = math.sqrt(squares / (left * (left - 1)))
    return t_quantile((1 + confidence) / 2, left - 1) * error


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: int) -> float:
    """Return the value that Student's t with so many degrees of freedom stays below with this
    probability (above 0.5, below 1): Newton's method on the tail's logarithm, from the normal's value."""
    tail = 1 - probability
    front = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    value = NormalDist().inv_cdf(probability)
    for _ in range(60):
        left = _upper_tail(value, degrees)
        density = front * (1 + value * value / degrees) ** (-(degrees + 1) / 2)
        step = left * math.log(left / tail) / density
        value = max(value + step, value / 2)
        if abs(step) <= 1e-12 * value:
            break
    return value


def _upper_tail(value: float, degrees: int) -> float:
    """The probability that t exceeds a value above 0."""
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function: its continued fraction (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.5.8), on the side where that converges fast."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    ) / a
    # Evaluated from its far end; where the front is applied the terms are long below any rounding.
    fraction = 1.0
    for m in range(100, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        fraction = 1 + even / (1 + odd / fraction)
    first = -(a + b) * x / (a + 1)
    return front / (1 + first / fraction)
