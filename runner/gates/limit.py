"""Judges a measured ratio against the least that it may be.

The estimate decides, and its interval says how sure that is:

  the interval lies below the limit           FAILED, surely
  the estimate lies below, the interval is    FAILED, probably: whoever slows down by more than is
  narrower than what is allowed               allowed would else pass by a hair's breadth of doubt
  the estimate lies below, the interval is    too noisy to judge, which is FAILED too, as everything
  wider                                       that can't be judged is, unless `undecided = "pass"`
  the estimate is not below, the interval     passed, and a remark says how far below it may be
  reaches below
  the interval lies at or above the limit     passed, surely

Of builds that are the same, an estimate lies 5% below only where the noise is so large that nothing is
known; to pass then would let a build that is 10% slower pass too.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAIL, PASS = "fail", "pass"


@dataclass(frozen=True)
class Limit:
    """`least` is what the ratio must be, `narrow` the interval's width from which on the estimate alone
    says nothing, `undecided` what becomes of that."""

    least: float
    narrow: float
    undecided: str = FAIL


@dataclass(frozen=True)
class Judged:
    """What came of one ratio; `sure` is False where the interval has values on both sides."""

    passed: bool
    sure: bool
    reason: str  # of a failure or a doubt, a clause; empty for what surely passes
    noisy: bool = False  # the interval is too wide for a verdict


def judge_ratio(ratio: float, low: float, high: float, limit: Limit) -> Judged:
    """Judge a ratio with its interval."""
    if high < limit.least:
        return Judged(False, True, "the whole interval is below")
    if ratio < limit.least and high - low < limit.narrow:
        return Judged(False, False, "the estimate is below and its interval narrow, though it reaches the limit")
    if ratio < limit.least:
        return Judged(
            limit.undecided == PASS, False,
            "too noisy to judge: the estimate is below, but the interval reaches the limit; measure longer "
            "(time_budget) or on a quieter machine", True,
        )
    if low < limit.least:
        return Judged(True, False, "not sure: the interval reaches below")
    return Judged(True, True, "")


def word_for(judged: Sequence[Judged]) -> str:
    """Return what goes before the worst of all: whether there is a verdict at all."""
    failed = [one for one in judged if not one.passed]
    noisy = failed and all(one.noisy for one in failed)
    return "too noisy to judge: at worst" if noisy else "at worst"


def worst_first(judged: Sequence[tuple[float, Judged]]) -> list[int]:
    """Return the places of failures, doubts and the rest, the lowest ratio first in each."""
    return sorted(
        range(len(judged)),
        key=lambda n: (judged[n][1].passed, judged[n][1].sure and judged[n][1].passed, judged[n][0]),
    )
