"""The robust interval of a ratio, against scipy's and against chance."""
from __future__ import annotations

import math
import random

import pytest

from runner.errors import UsageError
from runner.paired import half_width, incomplete_beta, t_quantile, trimmed_mean
from runner.shares import parse_share


def test_students_t_is_that_of_the_tables() -> None:
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2: critical values of Student's t.
    for degrees, probability, value in ((1, 0.975, 12.706), (5, 0.95, 2.015), (10, 0.999, 4.144),
                                        (30, 0.995, 2.750), (100, 0.99, 2.364)):
        assert t_quantile(probability, degrees) == pytest.approx(value, abs=6e-4)
    assert t_quantile(0.9995, 10**6) == pytest.approx(3.2905, abs=1e-4)


def test_students_t_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    special = pytest.importorskip("scipy.special")
    for degrees in (1, 2, 3, 7, 19, 60, 333, 4000):
        for probability in (0.6, 0.975, 0.9995, 0.999995):
            expected = stats.t.ppf(probability, degrees)
            assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7)
    for a, b, x in ((0.5, 0.5, 0.2), (3, 7, 0.8), (250, 0.5, 0.999), (1, 0.5, 0), (1, 0.5, 1)):
        assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-10)


def test_the_mean_and_its_error_are_the_trimmed_ones() -> None:
    assert trimmed_mean([1, 2, 3, 4, 1000]) == 3 and trimmed_mean([5]) == 5
    mstats = pytest.importorskip("scipy.stats.mstats")
    values = [random.Random(4).gauss(0, 1) ** 3 for _ in range(43)]
    low, high = mstats.trimmed_mean_ci(values, limits=(8 / 43, 8 / 43), alpha=0.05)
    assert trimmed_mean(values) == pytest.approx((low + high) / 2, rel=1e-9)
    assert half_width(values, 0.95) == pytest.approx((high - low) / 2, rel=0.02)  # scipy's 0.2 is not 8 of 43


def test_an_interval_covers_as_often_as_it_says() -> None:
    generator, outside, tries = random.Random(11), 0, 1500
    for _ in range(tries):
        values = [generator.gauss(0, 1 if generator.random() > 0.1 else 8) for _ in range(25)]
        outside += abs(trimmed_mean(values)) > half_width(values, 0.95)
    assert 0.03 < outside / tries < 0.07


def test_few_or_equal_values() -> None:
    assert half_width([1.0, 2.0, 3.0, 4.0], 0.95) == math.inf
    assert half_width([0.0] * 10, 0.999) == 0.0
    spoilt = half_width([0.01, -0.01, 0.012, 0.0, -0.012, 0.004, -0.003, 0.007, -2.0, 3.0], 0.95)
    assert spoilt < 0.05  # what a neighbour spoils does not count


@pytest.mark.parametrize("text, share", [
    ("2%", 0.02), ("0.02", 0.02), (" .5 % ", 0.005), ("50%", 0.5), ("0.05%", 0.0005),
])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text, "--effect") == pytest.approx(share)


@pytest.mark.parametrize("text", [
    "0", "0%", "2", "200%", "abc", "", "-1%", "nan", "inf", "1e-2", "2%%", "\u0662%",
])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="--effect: .* is no share from 0.0005 to 0.5"):
        parse_share(text, "--effect")
