"""Text, tables and fences in Markdown files that lie on this machine; what goes into a comment that others
read is escaped more carefully by runner/reports/markdown.py."""
from __future__ import annotations

import re

from runner.table import Block


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in a line or in a cell of a table."""
    text = " ".join(text.split("\n"))
    for character in "\\|*_<[`":
        text = text.replace(character, "\\" + character)
    return text


def section(block: Block) -> list[str]:
    """Return the lines of a heading and its table, with an empty line after them."""
    lines = [f"## {escape(block.title)}", ""]
    lines.append("| " + " | ".join(escape(text) for text in block.headings) + " |")
    lines.append("| --- |" + " ---: |" * (len(block.headings) - 1))
    lines += ["| " + " | ".join(escape(text) for text in row) + " |" for row in block.rows]
    return [*lines, ""]


def fenced(text: str, kind: str = "") -> list[str]:
    """Return the lines of text that is shown as it is, in a fence that nothing in it can end."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + kind, text.rstrip("\n"), fence]
