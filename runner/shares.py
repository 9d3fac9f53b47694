"""Reads shares such as 2% from a command line."""
from __future__ import annotations

import math
import re

from runner.errors import UsageError

_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*(%?)")


def parse_share(text: str, option: str, low: float = 0.0005, high: float = 0.5) -> float:
    """Return the share in a text such as 2%, 0.5% or 0.02; raises UsageError naming the option."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    if not low <= value <= high:
        raise UsageError(
            f"{option}: '{text}' is no share from {low:.4g} to {high:.4g}; write it as in 2% or 0.02."
        )
    return value
