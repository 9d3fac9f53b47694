"""Reads a TOML file that a user edits, and finds the line of what is wrong in it."""
from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

from runner.errors import UsageError, explain_os_error, nearest

TOML_PACKAGE = "python3-tomli"
TOML_MODULES = ("tomllib", "tomli")  # Python's own since 3.11, and a library for those before it


def is_here(module: str) -> bool:
    """True if this Python can import a module."""
    return importlib.util.find_spec(module) is not None


def toml_module() -> ModuleType:
    """Return the module that reads TOML; raises ImportError where there is none."""
    return importlib.import_module(next(filter(is_here, TOML_MODULES), TOML_MODULES[-1]))


def as_clause(message: str) -> str:
    """Return a sentence as it stands inside another one."""
    return message[:1].lower() + message[1:].rstrip(".")


@dataclass(frozen=True)
class TomlFile:
    """What a file says, and its lines: TOML's parser does not tell where a key stood, so it is looked up.
    Its tables are those of an array, each begun by [[table]]."""

    path: Path
    table: str
    values: dict[str, Any]
    lines: list[str]

    def error(self, number: Optional[int], key: Optional[str], sentence: str) -> UsageError:
        """Return the error of a key of the table with this number (None: outside of all), with its line; of
        the table itself where the key is None."""
        line = self._line_of(number, key)
        return UsageError(f"{self.path}{f':{line}' if line else ''}: {sentence}.")

    def _line_of(self, number: Optional[int], key: Optional[str]) -> Optional[int]:
        """Return the line of a key, or, where it isn't found or None, that of its table."""
        current, begin = -1, None
        heading = re.compile(rf"\s*\[\[\s*{re.escape(self.table)}\s*\]\]")
        pattern = re.compile(rf"""(?:\s*(?:\[+\s*)?|[^#]*[{{,]\s*)(["']?){re.escape(key or '')}\1\s*[=\].]""")
        for place, line in enumerate(self.lines, start=1):
            if heading.match(line):
                current += 1
                if current == number:
                    begin = place
            if key is not None and (number is None or current == number) and pattern.match(line):
                return place
        return begin


def read_toml(path: Path, table: str, nesting: str) -> TomlFile:
    """Return what a file of [[table]] says; `nesting` tells what to write where it is nested too deeply.
    Raises UsageError, and ImportError where this Python reads no TOML."""
    try:
        content = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: it is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    toml = toml_module()
    try:
        found = toml.loads(content)
    except toml.TOMLDecodeError as error:
        raise UsageError(f"{path}: it is no TOML: {as_clause(str(error))}; correct it there.") from error
    except RecursionError as error:
        raise UsageError(f"{path}: it is nested too deeply; {nesting}.") from error
    return TomlFile(path, table, found, content.splitlines())


def known_keys(key: str, known: Sequence[str]) -> str:
    """Return what is meant by a key that is not known, and which are."""
    return f"{nearest(key, known)} (there are {', '.join(known)})"
