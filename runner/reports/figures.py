"""How the report writes numbers: changes in percent, intervals, values with their units."""
from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "\N{MICRO SIGN}s"))


def percent(share: float, sign: bool = True) -> str:
    """Return a change in percent with the digits that matter: +0.25%, -4.1%, -62%, +1,900%."""
    if not math.isfinite(share):
        return NOTHING
    size = abs(share) * 100
    digits = 2 if size < 0.995 else 1 if size < 9.95 else 0
    text = f"{size:,.{digits}f}%"
    if not sign:
        return text
    if float(f"{size:.{digits}f}") == 0:
        return text
    return (MINUS if share < 0 else "+") + text


def change(ratio: float) -> str:
    """Return the change that a ratio of new to base is: 0.959 is -4.1%; from three times on x3.2."""
    if math.isfinite(ratio) and ratio >= 3:
        return f"\N{MULTIPLICATION SIGN}{three_digits(ratio)}"
    return percent(ratio - 1)


def interval(low: float, high: float) -> str:
    """Return the interval of a ratio as changes."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOTHING
    return f"{change(low)} to {change(high)}"


def three_digits(value: float) -> str:
    """Return a number from 0 on with the three digits that matter."""
    if value >= 999.5:
        return f"{value:,.0f}"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit, scaled so that it can be read: 88.7 Mops/s, 13.4 MiB, 1.20 us."""
    if not math.isfinite(value):
        return NOTHING
    if unit == "bytes":
        return _scaled(value, _BYTES, "B")
    if unit == "ns":
        return _scaled(value, _TIMES, "ns")
    if unit == "ops/s":
        for size, letter in _THOUSANDS:
            if value >= size * 0.9995:
                return f"{three_digits(value / size)} {letter}{unit}"
        return f"{three_digits(value)} {unit}"
    if unit.endswith("/op"):
        return f"{_exact(value)} {unit}" if unit.startswith("ns") else f"{_exact(value)}/op"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _scaled(value: float, steps: tuple[tuple[float, str], ...], smallest: str) -> str:
    for size, name in steps:
        if value >= size * 0.9995:
            return f"{three_digits(value / size)} {name}"
    return f"{value:.0f} {smallest}" if smallest == "B" else f"{three_digits(value)} {smallest}"


def _exact(value: float) -> str:
    """A count for each operation: small changes of it matter, so it has more digits."""
    digits = 1 if value >= 1000 else 2 if value >= 9.995 else 3
    return f"{value:,.{digits}f}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 cell, 3 cells."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
