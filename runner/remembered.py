"""Remembers what was worked out of a run's analysis, for which several tables ask."""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from runner.estimate import Analysis

T = TypeVar("T")


def of_last_analysis(function: Callable[[Analysis], T]) -> Callable[[Analysis], T]:
    """Decorate a function so that it is called once for as long as it is asked for the same analysis."""
    known: list[tuple[Analysis, T]] = []

    @functools.wraps(function)
    def remembered(analysis: Analysis) -> T:
        if not known or known[0][0] is not analysis:
            known[:] = [(analysis, function(analysis))]
        return known[0][1]

    return remembered
