"""Draws tables and bars in plain text."""
from __future__ import annotations

import textwrap


def table(head: list[str], rows: list[list[str]], right: int = 0) -> str:
    """Return a table whose columns are as wide as they need; the last `right` columns hold numbers."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    first_right = len(head) - right

    def line(cells: list[str]) -> str:
        padded = [cell.rjust(width) if i >= first_right else cell.ljust(width)
                  for i, (cell, width) in enumerate(zip(cells, widths))]
        return ("  " + "  ".join(padded)).rstrip()

    return "\n".join([line(head), "  " + "  ".join("-" * w for w in widths), *map(line, rows)])


def wrapped(text: str, indent: str = "    ") -> str:
    return textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def progress(done: int, total: int, width: int = 40) -> str:
    """Return a bar, and the share in figures: 100% only when nothing is left."""
    share = done * 100 // total if total else 100
    filled = width * done // total if total else width
    return f"[{'#' * filled}{'.' * (width - filled)}]\nProgress: {share}% ({done}/{total} sites)"
