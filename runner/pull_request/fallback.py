"""The report of a comparison that came to no end: why, and what the step that failed said last."""
from __future__ import annotations

import os
import re
from pathlib import Path

from runner.markdown_text import fenced
from runner.reports.markdown import MARKER, escape

_MOST_LINES = 200
_MOST_CHARACTERS = 20_000
_MOST_OF_A_SENTENCE = 1500


def write_fallback(path: Path, sentence: str, said: str) -> None:
    """Write a short report in Markdown in the place of the one that could not be made. Raises OSError."""
    lines = [MARKER, f"**{escape(sentence, _MOST_OF_A_SENTENCE)}**", ""]
    text = _plain(said)
    if text:
        lines += ["<details><summary>What was said last</summary>", "", *fenced(text, "text"), "",
                  "</details>", ""]
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("\n".join(lines), "utf-8")
    os.replace(temporary, path)


def _plain(said: str) -> str:
    """The last lines, without what moves a terminal's cursor or changes its colours."""
    without = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.replace("\r\n", "\n"))
    lines = [line.rpartition("\r")[2].rstrip() for line in without.split("\n")]
    text = "\n".join(lines[-_MOST_LINES:])[-_MOST_CHARACTERS:]
    return "".join(c for c in text if c == "\n" or c == "\t" or c.isprintable()).strip("\n")
