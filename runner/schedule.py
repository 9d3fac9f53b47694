"""Decides how long and how often is measured, in which order, and how much time is left."""
from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, TypeVar

from runner.errors import UsageError

T = TypeVar("T")

DEFAULT_SECONDS = 0.5
DEFAULT_ROUNDS = 15
DEFAULT_BUDGET_SECONDS = 600.0
QUICK_SECONDS = 0.25
QUICK_ROUNDS = 9
QUICK_BUDGET_SECONDS = 120.0
SHORTEST_SECONDS = 0.15
FEWEST_ROUNDS = 5
# Of a comparison. What spoils a sample on a shared machine lasts for seconds: it hits both samples of a
# pair alike if they are short, and many pairs tell more than a few long ones. At 0.1 s starting, filling
# and draining still take less than a tenth of the time.
COMPARISON_SECONDS = 0.1
COMPARISON_BUDGET_SECONDS = 300.0
QUICK_COMPARISON_BUDGET_SECONDS = 60.0
# What a sample costs beyond what it measures: starting the program, filling, draining.
STARTING_OVERHEAD_SECONDS = 0.04
_SHORTEST_WITH_BUDGET_SECONDS = 0.05


@dataclass(frozen=True)
class Effort:
    """How much is measured. `rounds` None means as many as fit into the budget; a budget of
    None means no limit."""

    duration_seconds: float
    rounds: Optional[int]
    budget_seconds: Optional[float]


def choose_effort(
    items: int,
    *,
    quick: bool,
    duration: Optional[float] = None,
    repeat: Optional[int] = None,
    budget: Optional[float] = None,
    fixed_seconds: float = 0.0,
) -> Effort:
    """Return the effort for `items` samples a round, whose length can be chosen, and others of a
    fixed length, `fixed_seconds` together. What the user gave is kept as it is.

    With nothing given the run is to last no longer than about ten minutes (`quick`: two): the
    samples are shortened first, then there are fewer rounds, but never fewer than FEWEST_ROUNDS.
    """
    wished = duration or (QUICK_SECONDS if quick else DEFAULT_SECONDS)
    if budget is not None:
        return _within_budget(
            items, wished, duration is not None, repeat, budget, fixed_seconds
        )
    if repeat is not None:
        return Effort(wished, repeat, None)
    most = QUICK_ROUNDS if quick else DEFAULT_ROUNDS
    target = QUICK_BUDGET_SECONDS if quick else DEFAULT_BUDGET_SECONDS
    if duration is None and items:
        affordable = (target / most - fixed_seconds) / items - STARTING_OVERHEAD_SECONDS
        wished = round(min(wished, max(SHORTEST_SECONDS, affordable)), 3)
    elif not quick and not fixed_seconds:
        return Effort(wished, most, None)
    rounds = int(target / (items * (wished + STARTING_OVERHEAD_SECONDS) + fixed_seconds))
    return Effort(wished, max(FEWEST_ROUNDS, min(most, rounds)), None)


def choose_comparison_effort(
    items: int, least_rounds: int, *, quick: bool, duration: Optional[float] = None,
    repeat: Optional[int] = None, budget: Optional[float] = None, fixed_seconds: float = 0.0,
) -> Effort:
    """The same for a comparison of builds: as many rounds as its intervals need within the budget,
    unless `repeat` says how many. The samples are shortened where `least_rounds` would not fit."""
    wished = duration or COMPARISON_SECONDS
    if repeat is not None and budget is None:
        return Effort(wished, repeat, None)
    if budget is None:
        budget = QUICK_COMPARISON_BUDGET_SECONDS if quick else COMPARISON_BUDGET_SECONDS
    rounds = least_rounds if repeat is None else min(repeat, least_rounds)
    return _within_budget(
        items, wished, duration is not None, repeat, budget, fixed_seconds, rounds
    )


def _within_budget(
    items: int, wished: float, fixed: bool, repeat: Optional[int], budget: float,
    fixed_seconds: float, fewest: int = FEWEST_ROUNDS,
) -> Effort:
    least = wished if fixed else _SHORTEST_WITH_BUDGET_SECONDS
    needed = items * (least + STARTING_OVERHEAD_SECONDS) + fixed_seconds
    if budget < needed:
        many = f"{items} samples" if not fixed_seconds else "programs and other samples"
        raise UsageError(
            f"--time-budget {in_words(budget)} is too short for one round of {many}; give "
            f"at least {in_words(needed)}, or measure fewer cells or allocators."
        )
    if not fixed and items:
        rounds = min(repeat or fewest, fewest)
        affordable = (budget / rounds - fixed_seconds) / items - STARTING_OVERHEAD_SECONDS
        wished = round(min(wished, max(least, affordable)), 3)
    return Effort(wished, repeat, budget)


def shuffled(items: Sequence[T], order_seed: int, what: object) -> list[T]:
    """Return the items in the random order of `what`, such as a round's number: the same for the same
    seed."""
    order = list(items)
    random.Random(f"{order_seed}:{what}").shuffle(order)
    return order


def parse_time(text: str, option: str) -> float:
    """Return the seconds in texts such as 90, 45s, 3m, 1.5h, 1h30m."""
    total, number, any_unit = 0.0, "", False
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    valid = bool(text)
    for character in text:
        if character in units:
            any_unit = True
            valid = valid and _is_decimal(number)
            total += float(number) * units[character] if valid else 0.0
            number = ""
        else:
            number += character
    if number:
        valid = valid and _is_decimal(number) and not any_unit
        total += float(number) if valid else 0.0
    if not valid or not 0 < total <= 30 * 86400:
        raise UsageError(
            f"{option}: '{text}' is no time above 0; write seconds, or 45s, 3m, 1h30m."
        )
    return total


def _is_decimal(text: str) -> bool:
    whole, point, rest = text.partition(".")
    return (
        text.isascii() and len(text) <= 12 and whole.isdigit()
        and (rest.isdigit() if point else True)
    )


def in_words(seconds: float) -> str:
    """Return a length of time for people: 4 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(whole / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


class SampleTimes:
    """Expects how long samples take, from those that were measured, for each kind of sample."""

    def __init__(self) -> None:
        self._sums: dict[object, tuple[float, int]] = {}

    def add(self, kind: object, seconds: float) -> None:
        """A sample of this kind took so long."""
        total, count = self._sums.get(kind, (0.0, 0))
        self._sums[kind] = (total + seconds, count + 1)

    def expect(self, kind: object, otherwise: float) -> float:
        """Return the mean so far, `otherwise` for a kind that was never measured."""
        total, count = self._sums.get(kind, (0.0, 0))
        return total / count if count else otherwise
