"""Finds a Python that reads TOML and, if one is there, compares measurements.

Python reads TOML by itself since 3.11 (tomllib), older ones with the library tomli. Without numpy only
the criteria of speed can't be judged: each then fails and says so.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from runner.pictures import find_python
from runner.toml_file import TOML_MODULES, TOML_PACKAGE, is_here

_COMPARING = {"numpy": "python3-numpy"}


def need_libraries(
    need: Callable[[dict[str, str]], None], arguments: Sequence[str],
    here: Callable[[str], bool] = is_here, find: Callable[[str], object] = find_python,
) -> None:
    """Move on, through `need` of tree_path, to a Python that has everything, if this one lacks any of
    it; where none has it all, to one that reads TOML."""
    wanted: Mapping[str, str] = {} if "--list" in arguments or "--help" in arguments else _COMPARING
    toml = next(filter(here, TOML_MODULES), None)
    if toml is not None and all(map(here, wanted)):
        need({})
        return
    for module in TOML_MODULES:
        if find(", ".join([module, *wanted])):
            need({module: TOML_PACKAGE, **wanted})
            return
    if toml is None:
        need({next((m for m in TOML_MODULES if find(m)), TOML_MODULES[-1]): TOML_PACKAGE})


def explain_missing(error: ImportError) -> str:
    """Return what to install for a module that comparing needs."""
    package = _COMPARING.get((error.name or "").partition(".")[0], "python3-numpy")
    return (
        f"comparing needs {error.name}, which this Python ({sys.executable}) does not have: apt-get "
        f"install {package}"
    )
