"""Robust statistics for comparisons: trimmed means, bootstrap intervals, signed ranks, false discoveries.

Everything here is deterministic: resampling uses a fixed seed. Sources: Yuen, "The two-sample trimmed t
for unequal population variances", Biometrika 61 (1974), for trimmed means and their standard errors;
Hall, "Theoretical comparison of bootstrap confidence intervals", Annals of Statistics 16 (1988), for the
symmetric bootstrap-t; Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1
(1945); Benjamini & Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
"""
from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Optional

import numpy

from runner.verdict.student import student_p_value, student_quantile

Array = numpy.ndarray

TRIM = 0.2  # share of the values that is left out at each end
RESAMPLES = 999
MOST_RESAMPLED = 1000  # beyond so many values Student's t and the bootstrap agree to a hundredth
EXACT_RANKS = 60  # up to so many values the distribution of the rank sum is computed in full
_LEAST_TAIL = 0.02  # beyond which quantiles of the resamples are too rough
_SEED = 20201


def median(values: Array) -> float:
    """Return the median (of at least one value); faster than numpy's for few values."""
    ordered, count = numpy.sort(values), len(values)
    return float(ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def trimmed_mean(values: Array) -> float:
    """Return the mean without the lowest and the highest TRIM of the values (at least one)."""
    cut = int(TRIM * len(values))
    return float(numpy.sort(values)[cut:len(values) - cut].mean())


def influence(values: Array) -> Array:
    """Return what each value adds to the trimmed mean, times their number: their mean is 0, and their
    standard deviation over the root of their number is the trimmed mean's standard error."""
    count, cut = len(values), int(TRIM * len(values))
    ordered = numpy.sort(values)
    bounded = numpy.clip(values, ordered[cut], ordered[count - cut - 1])
    return (bounded - bounded.mean()) / (1 - 2 * cut / count)


def standard_error(values: Array) -> float:
    """Return the standard error of the trimmed mean (of at least two values)."""
    return float(influence(values).std(ddof=1) / math.sqrt(len(values)))


def degrees_of_freedom(count: int) -> int:
    """Return those of the trimmed mean's Student's t."""
    return max(1, count - 2 * int(TRIM * count) - 1)


@functools.lru_cache(maxsize=64)
def resample_counts(count: int, stream: int = 0) -> Array:
    """Return how often each of `count` values occurs in each of RESAMPLES resamples."""
    generator = numpy.random.default_rng([_SEED, stream, count])
    return generator.multinomial(count, numpy.full(count, 1 / count), size=RESAMPLES).astype(numpy.float32)


class BootstrapT:
    """How far the trimmed mean of values may be from the truth, by a symmetric bootstrap-t.

    Resampled is the linear part of the trimmed mean (its influence values), so that all resamples are
    two matrix products. Quantiles that so many resamples don't show are carried on by Student's t.
    """

    def __init__(self, values: Array) -> None:
        count = len(values)
        self._freedom = degrees_of_freedom(count)
        parts = influence(values)
        self._error = float(parts.std(ddof=1) / math.sqrt(count))
        self._distances: Optional[Array] = None
        if self._error > 0 and count <= MOST_RESAMPLED:
            self._distances = numpy.sort(_distances(parts))

    def half_width(self, level: float) -> float:
        """Return half the width of the interval of that level."""
        if self._distances is None:
            return self._error * student_quantile(level, self._freedom)
        sure = min(level, 1 - _LEAST_TAIL)
        reach = float(self._distances[math.ceil(sure * (RESAMPLES + 1)) - 1])
        if level > sure:
            reach *= student_quantile(level, self._freedom) / student_quantile(sure, self._freedom)
        return self._error * reach


def _distances(parts: Array) -> Array:
    """Return how many of its own standard errors each resample's mean is from 0."""
    count = len(parts)
    scaled = (parts / numpy.abs(parts).max()).astype(numpy.float32)
    counts = resample_counts(count)
    means, squares = counts @ scaled / count, counts @ (scaled * scaled) / count
    variances = numpy.maximum(squares - means * means, 1e-12) * count / (count - 1)
    found: Array = numpy.abs(means) / numpy.sqrt(variances / count)
    return found


def resampled_means(values: Array, stream: int) -> Array:
    """Return RESAMPLES resamples of the trimmed mean; different streams resample independently."""
    if len(values) < 2:
        return numpy.full(RESAMPLES, trimmed_mean(values))
    counts = resample_counts(min(len(values), MOST_RESAMPLED), stream)
    parts = influence(values)
    if len(values) > MOST_RESAMPLED:  # that many stand for all, with the spread that all have
        parts = numpy.quantile(parts, (numpy.arange(MOST_RESAMPLED) + 0.5) / MOST_RESAMPLED)
        parts = (parts - parts.mean()) * math.sqrt(MOST_RESAMPLED / len(values))
    found: Array = trimmed_mean(values) + counts @ parts.astype(numpy.float32) / len(parts)
    return found


def signed_rank_p_value(differences: Array) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test: exact up to EXACT_RANKS values, ties
    or not; beyond, by the normal distribution with the ties' variance and a continuity correction.

    Zeros say nothing and are left out. Nothing is assumed but that, were there no difference, either
    sign would be as likely for each value: which is so where the order within a pair is random.
    """
    values = differences[differences != 0]
    count = len(values)
    if count == 0:
        return 1.0
    doubled = _doubled_ranks(numpy.abs(values))
    total = int(doubled.sum())
    positive = int(doubled[values > 0].sum())
    lesser = min(positive, total - positive)
    if count <= EXACT_RANKS:
        return min(1.0, 2 * float(_rank_sums(tuple(doubled.tolist()))[:lesser + 1].sum()))
    deviation = math.sqrt(float((doubled.astype(float) ** 2).sum())) / 2
    distance = max(0.0, total / 2 - lesser - 1) / deviation
    return math.erfc(distance / math.sqrt(2))


def _doubled_ranks(sizes: Array) -> Array:
    """Return twice the ranks, which are whole numbers even where equal values share a rank."""
    _, inverse, counts = numpy.unique(sizes, return_inverse=True, return_counts=True)
    last = numpy.cumsum(counts)
    found: Array = (2 * last - counts + 1)[inverse]
    return found


@functools.lru_cache(maxsize=512)
def _rank_sums(doubled: tuple[int, ...]) -> Array:
    """Return the probability of each sum of those of the ranks that a fair coin picks."""
    chances = numpy.zeros(sum(doubled) + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] = chances[rank:] + chances[:len(chances) - rank]
        chances /= 2
    return chances


def adjusted_p_values(p_values: Sequence[float]) -> Array:
    """Return Benjamini & Hochberg's adjusted p-values: the rate of false discoveries at which each
    would just be one of those discovered."""
    given = numpy.asarray(p_values, dtype=float)
    count = len(given)
    order = numpy.argsort(given)
    scaled = given[order] * count / numpy.arange(1, count + 1)
    found = numpy.empty(count)
    found[order] = numpy.minimum(1.0, numpy.minimum.accumulate(scaled[::-1])[::-1])
    return found


def rank_correlation(values: Array) -> tuple[float, float]:
    """Return Spearman's correlation of at least four values with their order, and its p-value."""
    ranks = _doubled_ranks(values).astype(float)
    if ranks.std() == 0:
        return 0.0, 1.0
    share = float(numpy.corrcoef(ranks, numpy.arange(len(values)))[0, 1])
    freedom = len(values) - 2
    return share, student_p_value(share * math.sqrt(freedom / max(1e-12, 1 - share * share)), freedom)


def robust_deviation(values: Array) -> float:
    """Return the standard deviation as the median distance from the median tells it."""
    return median(numpy.abs(values - median(values))) / 0.6745
