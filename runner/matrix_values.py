"""The values of a key of the matrix: lists, ranges, doublings, and what a key allows."""
from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError, nearest
from runner.records import Value
from runner.traces import parse_trace
from runner.working_set import LEVELS

MAX_CELLS = 20_000
_SHORTEST_SECONDS = 0.001


@dataclass(frozen=True)
class Key:
    """A key of the matrix: the long option of the drivers that it sets."""

    name: str
    kind: str  # integer | decimal | size | distribution | level | choice | trace
    low: float
    high: float
    help: str
    choices: tuple[str, ...] = ()  # the values of a choice


def parse_values(key: Key, text: str) -> list[Value]:
    """Return the values in a list such as `1..4,8..64*2,100`; the same value counts once."""
    values: list[Value] = []
    for part in text.split(","):
        for value in _parse_part(key, part.strip()):
            if value not in values:
                values.append(value)
            if len(values) > MAX_CELLS:
                raise UsageError(
                    f"--matrix {key.name}={text}: that is more than {MAX_CELLS} values; "
                    "take a shorter range, or doubling steps such as 1..4096*2."
                )
    return values


_RANGE = re.compile(r"([^.]*)\.\.([^*]*)(?:\*(.*))?")


def _parse_part(key: Key, part: str) -> Sequence[Value]:
    where = f"--matrix {key.name}={part}"
    if not part:
        raise UsageError(f"--matrix {key.name}: a value is empty; write {key.name}=VALUE,VALUE.")
    if key.kind == "distribution":
        return [_distribution(part, where)]
    if key.kind == "level":
        if part not in LEVELS:
            raise UsageError(f"{where}: '{part}' is no level{nearest(part, LEVELS)}; give {', '.join(LEVELS)}.")
        return [part]
    if key.kind == "choice":
        return [_choice(key, part, where)]
    if key.kind == "trace":
        return [parse_trace(part, where)]
    if key.kind == "decimal":
        return [_decimal(key, part, where)]
    if key.kind == "size" and part == "mix":
        return [part]
    match = _RANGE.fullmatch(part)
    if match is None:
        return [_integer(key, part, where)]
    low, high = _integer(key, match[1], where), _integer(key, match[2], where)
    if low > high:
        raise UsageError(f"{where}: the range runs backwards; write {high}..{low}.")
    if match[3] is None:
        return range(low, min(high, low + MAX_CELLS) + 1)
    if match[3] != "2":
        raise UsageError(f"{where}: only '*2', doubling, is a step; write {low}..{high}*2.")
    if low == 0:
        raise UsageError(f"{where}: doubling can't begin at 0; begin at 1.")
    return [low << n for n in range((high // low).bit_length())]


def _integer(key: Key, text: str, where: str) -> int:
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise UsageError(
            f"{where}: '{text}' is no whole number; give {key.low} to {key.high}, "
            "a range such as 1..16 or 1..16*2, or a list with commas."
        )
    value = int(text)
    if not key.low <= value <= key.high:
        raise UsageError(f"{where}: {value} is out of range; give {key.low} to {key.high}.")
    return value


def _decimal(key: Key, text: str, where: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not (
        max(key.low, _SHORTEST_SECONDS) <= float(text) <= key.high
    ):
        raise UsageError(
            f"{where}: '{text}' must be a number from {max(key.low, _SHORTEST_SECONDS)} to {key.high}, "
            f"such as {max(0.5, key.low)}; separate several by commas."
        )
    return float(text)


def _choice(key: Key, text: str, where: str) -> str:
    if text not in key.choices:
        raise UsageError(
            f"{where}: '{text}' is none of {', '.join(key.choices)}{nearest(text, key.choices)}; name one of them."
        )
    return text


def _distribution(text: str, where: str) -> str:
    if text in ("uniform", "pareto"):
        return text
    if not os.path.isfile(text):
        raise UsageError(
            f"{where}: '{text}' is neither uniform nor pareto nor an existing file; give one "
            "of them."
        )
    return str(Path(text).resolve())
