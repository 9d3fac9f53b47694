"""Reads a file of blocks, each a workload with a matrix of its own: `run.py --matrix-file FILE`.

    [[block]]
    workload = "larson"
    matrix = { threads = "1..16*2", min = 8, max = [128, 1000] }

A value is what --matrix takes behind the equals sign, a number, or a list of them; a workload may have
several blocks, and what is the same run in two of them is measured once.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.matrix import ALIASES, KEYS, WORKLOADS, make_cells, parse_matrix
from runner.records import Cell, Value
from runner.toml_file import TOML_PACKAGE, TomlFile, as_clause, known_keys, read_toml

_KEYS = ("workload", "matrix")


@dataclass(frozen=True)
class Block:
    """A workload and the values of its keys, in the order of the file."""

    workload: str
    matrix: dict[str, list[Value]]


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a file; raises UsageError, with the line where it can be told."""
    try:
        file = read_toml(path, "block", "a block has a workload and a plain table, its matrix")
    except ImportError as error:
        raise UsageError(
            f"--matrix-file: this Python reads no TOML; take Python 3.11 or newer, or apt-get install "
            f"{TOML_PACKAGE}."
        ) from error
    for key in file.values:
        if key != "block":
            raise file.error(None, key, f"'{key}' is no key of this file; begin each block with [[block]]")
    tables = file.values.get("block", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise file.error(None, "block", "a block is a table; begin each with [[block]]")
    if not tables:
        raise UsageError(f"{path}: there is no block in it; begin one with [[block]].")
    return [_block(file, number, table) for number, table in enumerate(tables)]


def _block(file: TomlFile, number: int, table: dict[str, Any]) -> Block:
    for key in table:
        if key not in _KEYS:
            raise file.error(number, key, f"'{key}' is no key of a block{known_keys(key, _KEYS)}")
    given = table.get("workload")
    if given is None:
        raise file.error(number, None, "this block has no 'workload'")
    workload = ALIASES.get(given, given) if isinstance(given, str) else ""
    if workload not in WORKLOADS:
        raise file.error(number, "workload", f"'{given}' is no workload{known_keys(str(given), list(WORKLOADS))}")
    matrix: dict[str, list[Value]] = {}
    values = table.get("matrix", {})
    if not isinstance(values, dict):
        raise file.error(number, "matrix", 'matrix must be a table, such as { threads = "1,2", size = 64 }')
    for key, value in values.items():
        text = _text(file, number, key, value)
        try:
            matrix.update(parse_matrix([f"{key}={text}"]))
        except UsageError as error:
            raise file.error(number, key, as_clause(str(error))) from error
    block = Block(workload, matrix)
    try:
        cells_of([block], [1], 1)
    except UsageError as error:
        raise file.error(number, "matrix", as_clause(str(error))) from error
    return block


def _text(file: TomlFile, number: int, key: str, value: Any) -> str:
    """Return a value as --matrix takes it."""
    items = value if isinstance(value, list) else [value]
    if not items or any(isinstance(item, bool) or not isinstance(item, (str, int, float)) for item in items):
        raise file.error(number, key, f"{key} must be a text as behind --matrix {key}=, a number, or a list of them")
    if key in KEYS and KEYS[key].kind in ("distribution", "trace"):
        items = [_beside(file.path, part.strip()) for item in items for part in str(item).split(",")]
    return ",".join(str(item) for item in items)


def _beside(path: Path, name: str) -> str:
    """A file is looked for from the folder of the file that names it."""
    return str(path.parent / name) if (path.parent / name).is_file() else name


def narrowed(blocks: Sequence[Block], workloads: Sequence[str], path: Path) -> list[Block]:
    """Return the blocks of the workloads that --workloads names; raises UsageError for one without."""
    for name in workloads:
        if not any(block.workload == name for block in blocks):
            present = ", ".join(dict.fromkeys(block.workload for block in blocks))
            raise UsageError(f"--workloads: '{name}' has no block in '{path}'; there are blocks of {present}.")
    return [block for block in blocks if block.workload in workloads]


def cells_of(
    blocks: Sequence[Block], default_threads: Sequence[int], default_work: int
) -> list[Cell]:
    """Return the cells of all blocks, in their order."""
    return [
        cell for block in blocks
        for cell in make_cells([block.workload], block.matrix, default_threads, default_work)
    ]


def union_of(blocks: Sequence[Block]) -> dict[str, list[Value]]:
    """Return all values of each key, as results name them."""
    union: dict[str, list[Value]] = {}
    for block in blocks:
        for key, values in block.matrix.items():
            known = union.setdefault(key, [])
            known += [value for value in values if value not in known]
    return union
