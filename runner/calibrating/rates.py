"""Shares of trials, with the interval that so few trials leave open."""
from __future__ import annotations

import math
from dataclasses import dataclass

LEAST_REAL = 40  # comparisons of a build with itself, and of slowed ones, that tell enough
_NORMAL_95 = 1.959963984540054  # quantile of the normal distribution for a 95% interval


@dataclass(frozen=True)
class Rate:
    """So many out of so many, as a share with its 95% interval."""

    count: int
    trials: int

    @property
    def share(self) -> float:
        """The share itself, 0 of no trials."""
        return self.count / self.trials if self.trials else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of E. B. Wilson ("Probable Inference, the Law of Succession, and Statistical
        Inference", 1927), which holds near 0 and 1, too; everything, of no trials."""
        if not self.trials:
            return 0.0, 1.0
        n, p, z = self.trials, self.share, _NORMAL_95
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low = 0.0 if self.count == 0 else middle - half
        high = 1.0 if self.count == n else middle + half
        return low, high

    @property
    def text(self) -> str:
        """As in "97.5% (95.2-98.7%)", with one digit more near 0 and 1."""
        if not self.trials:
            return "-"
        low, high = self.interval
        return f"{_percent(self.share)}% ({_percent(low)}-{_percent(high)}%)"

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.count + other.count, self.trials + other.trials)


def _percent(share: float) -> str:
    text = f"{100 * share:.1f}"
    return text[:-2] if text.endswith(".0") else text
