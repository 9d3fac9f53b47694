"""Reads what hotspots.py wrote: its sentences and tables out of profile.json, and the flame graphs."""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from runner.errors import UsageError, explain_os_error
from runner.reports.model import Flame, Profile
from runner.table import Block

DATA_FILE = "profile.json"
_MOST_SVG_BYTES = 2_000_000
_MOST_TABLE_ROWS = 200


def read_profiles(folders: Sequence[Path]) -> list[Profile]:
    """Return the profiles in folders of hotspots.py, or in folders that hold such; raises UsageError."""
    return [_read(folder) for given in folders for folder in _folders(given)]


def _folders(given: Path) -> list[Path]:
    if not given.exists():
        raise UsageError(f"--profiles {given}: it does not exist; name a folder that hotspots.py wrote.")
    try:
        found = [given, *sorted(path for path in given.iterdir() if path.is_dir())]
    except OSError as error:
        raise UsageError(explain_os_error(error, given, "--profiles DIR")) from error
    found = [folder for folder in found if (folder / DATA_FILE).is_file()]
    if not found:
        raise UsageError(
            f"--profiles {given}: there is no {DATA_FILE} in it; name a folder that hotspots.py wrote."
        )
    return found


def _read(folder: Path) -> Profile:
    path = folder / DATA_FILE
    try:
        data = json.loads(path.read_text("utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is no object")
        title = " against ".join(_titles(data))
        cell = str(data.get("cell") or data.get("workload") or folder.name)
        sentences = [str(sentence) for sentence in data.get("sentences") or []]
        tables = [_block(table) for table in data.get("tables") or []]
        flames = [flame for flame in (_flame(folder, *pair) for pair in _pictures(data)) if flame]
    except OSError as error:
        raise UsageError(explain_os_error(error, path, "--profiles DIR")) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"'{path}' is damaged ({str(error) or type(error).__name__}); profile again with hotspots.py."
        ) from error
    return Profile(f"{cell}: {title}" if title else cell, sentences, tables, flames)


def _titles(data: dict[str, Any]) -> list[str]:
    sides = [data, data.get("against") or {}]
    return [str(side.get("title") or side.get("allocator")) for side in sides
            if side.get("title") or side.get("allocator")]


def _block(table: dict[str, Any]) -> Block:
    headings = [str(text) for text in table["headings"]]
    rows = [[str(text) for text in row] for row in table["rows"][:_MOST_TABLE_ROWS]]
    if any(len(row) != len(headings) for row in rows):
        raise ValueError(f"a row of the table '{table['title']}' is too short or too long")
    return Block(str(table["title"]), headings, rows)


def _pictures(data: dict[str, Any]) -> Iterator[tuple[str, object]]:
    titles = _titles(data)
    if data.get("difference"):
        yield "Difference", data["difference"].get("flame")
    for title, side in zip(titles, (data, data.get("against") or {})):
        yield title, side.get("flame")


def _flame(folder: Path, title: str, name: object) -> Optional[Flame]:
    """Return a flame graph; None where the file is missing, or its name leads out of the folder."""
    if not isinstance(name, str) or Path(name).name != name:
        return None
    path = folder / name
    if not path.is_file() or path.stat().st_size > _MOST_SVG_BYTES:
        return None
    text = path.read_text("utf-8", "replace")
    begin = text.find("<svg")
    return Flame(f"Flame graph: {title}", text[begin:]) if begin >= 0 else None
