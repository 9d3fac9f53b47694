"""Reads the values of gates.toml: each reader returns what it was given in the form that is used, or
raises ValueError with what the value must be."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.errors import UsageError, nearest
from runner.schedule import parse_time

REQUIRED = object()


@dataclass(frozen=True)
class Parameter:
    """A key of a kind of criterion: how its value is read, and what counts where it is left away."""

    read: Callable[[Any], Any]
    default: Any = REQUIRED


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError('a text in quotes, such as "larson"')
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of strings, or a single one."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError('a text, or a list of them, such as ["threads=8", "max=256"]')
    return tuple(items)


def words(value: Any) -> tuple[str, ...]:
    """A program and its arguments."""
    if not isinstance(value, list) or not value or not all(
        isinstance(item, str) and "\0" not in item for item in value
    ) or not value[0]:
        raise ValueError('a list of texts, a program and its arguments, such as ["./run_all_tests.sh", "-x"]')
    return tuple(value)


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def share(value: Any) -> float:
    """A share below 100%, as 0.05 or "5%"."""
    wanted = 'a share from 0% to 100%, such as "5%" or 0.05'
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%\s*", value)
        if match is None:
            raise ValueError(wanted)
        value = float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(wanted)
    return float(value)


def time_span(value: Any) -> float:
    """Seconds, given as a number or as run.py takes them: "90s", "1h30m"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError('a time, such as 30 (seconds), "90s" or "1h30m"')
    try:
        return parse_time(value if isinstance(value, str) else f"{value:.6f}", "time")
    except UsageError as error:
        raise ValueError('a time above 0 and up to 30 days, such as 30 (seconds), "90s" or "1h30m"') from error


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number in a range."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return read


def choice(*known: str) -> Callable[[Any], str]:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in known:
            hint = nearest(value, known) if isinstance(value, str) else ""
            raise ValueError(f"one of {', '.join(known)}{hint}")
        return str(value)

    return read


def per_cent(value: float) -> str:
    """Return a share for people: 5%, 2.5%, 0.25%."""
    return f"{100 * value:.4g}%"
