"""Reads the file of criteria, runner/gates.toml or another: every key is known, every value has its
type, or a sentence says which does not, where, and what it must be."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UsageError, nearest
from runner.gates.kinds import Kind
from runner.gates.values import REQUIRED, text, whole
from runner.toml_file import TomlFile, as_clause, known_keys, read_toml

_TOP = ("reference", "phases", "criterion")
_COMMON = ("phase", "name", "kind")
_LAST_PHASE = 99


@dataclass(frozen=True)
class Criterion:
    """One criterion of a phase, with the values of all of its kind's parameters."""

    phase: int
    name: str
    kind: Kind
    values: Mapping[str, Any]

    @property
    def asked(self) -> str:
        """What is asked for, in words."""
        return self.kind.asked(self.values)


@dataclass(frozen=True)
class GateFile:
    """What the file says. `reference` is empty where none is named."""

    path: Path
    reference: str
    titles: dict[int, str]
    criteria: list[Criterion]

    def of_phase(self, phase: int) -> list[Criterion]:
        """Return the criteria of a phase; raises UsageError where there is none."""
        found = [criterion for criterion in self.criteria if criterion.phase == phase]
        if not found:
            known = ", ".join(str(number) for number in sorted({c.phase for c in self.criteria}))
            raise UsageError(f"--phase {phase}: '{self.path}' has no criterion of that phase; it has {known}.")
        return found


def read_gates(path: Path, kinds: Mapping[str, Kind]) -> GateFile:
    """Return the criteria in a file; raises UsageError."""
    return _Reader(read_toml(path, "criterion", "a criterion is a plain table"), kinds).read()


class _Reader:
    """Checks what was parsed."""

    def __init__(self, file: TomlFile, kinds: Mapping[str, Kind]) -> None:
        self._path, self._kinds = file.path, kinds
        self._file, self._error = file, file.error

    def read(self) -> GateFile:
        found = self._file.values
        for key in found:
            if key not in _TOP:
                raise self._error(None, key, f"'{key}' is no key of this file{known_keys(key, _TOP)}")
        reference = found.get("reference", "")
        if not isinstance(reference, str):
            raise self._error(None, "reference", "reference must be a text, a revision, directory or library")
        tables = found.get("criterion", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._error(None, "criterion", "a criterion is a table; begin each with [[criterion]]")
        if not tables:
            raise UsageError(f"{self._path}: there is no criterion in it; begin one with [[criterion]].")
        criteria = [self._criterion(number, table) for number, table in enumerate(tables)]
        seen: set[tuple[int, str]] = set()
        for number, criterion in enumerate(criteria):
            if (criterion.phase, criterion.name) in seen:
                raise self._error(number, "name", f"phase {criterion.phase} has two criteria with the name "
                                  f"'{criterion.name}'; give each its own")
            seen.add((criterion.phase, criterion.name))
        return GateFile(self._path, reference.strip(), self._titles(found.get("phases", {})), criteria)

    def _titles(self, found: Any) -> dict[int, str]:
        if not isinstance(found, dict):
            raise self._error(None, "phases", 'phases must be a table, such as [phases] and 1 = "it runs"')
        titles: dict[int, str] = {}
        for key, title in found.items():
            if not re.fullmatch(r"[1-9][0-9]?", key) or not isinstance(title, str):
                raise self._error(None, key, f"phases.{key}: write the phase's number, from 1 to {_LAST_PHASE}, "
                                  'and its title in quotes, as in 1 = "it runs"')
            titles[int(key)] = title
        return titles

    def _criterion(self, number: int, table: dict[str, Any]) -> Criterion:
        for key in _COMMON:
            if key not in table:
                raise self._error(number, None, f"this criterion has no '{key}'{self._meant(key, table)}")
        phase = self._value(number, "phase", whole(1, _LAST_PHASE), table)
        name = self._value(number, "name", text, table)
        kind = self._kinds.get(table["kind"]) if isinstance(table["kind"], str) else None
        if kind is None:
            raise self._error(number, "kind", f"kind: '{table['kind']}' is no kind of criterion"
                              f"{known_keys(str(table['kind']), list(self._kinds))}")
        known = [*_COMMON, *kind.parameters]
        for key in table:
            if key not in known:
                raise self._error(number, key, f"'{key}' is no key of a criterion of kind {kind.name}"
                                  f"{known_keys(key, known)}")
        values: dict[str, Any] = {}
        for key, parameter in kind.parameters.items():
            if key in table:
                values[key] = self._value(number, key, parameter.read, table)
            elif parameter.default is REQUIRED:
                raise self._error(number, None, f"the criterion '{name}' has no '{key}', which kind "
                                  f"{kind.name} needs")
            else:
                values[key] = parameter.default
        try:
            kind.check(values)
        except UsageError as error:
            raise self._error(number, None, f"the criterion '{name}': {as_clause(str(error))}") from error
        return Criterion(phase, name, kind, values)

    def _value(self, number: int, key: str, read: Any, table: dict[str, Any]) -> Any:
        try:
            return read(table[key])
        except ValueError as error:
            shown = str(table[key])
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise self._error(number, key, f"{key}: '{shown}' must be {error}") from error

    @staticmethod
    def _meant(key: str, table: dict[str, Any]) -> str:
        """Where a key is missing because it was misspelt, say so."""
        close = nearest(key, table)
        return f"; is{close[len('; did you mean'):-1]} meant for it?" if close else ""
