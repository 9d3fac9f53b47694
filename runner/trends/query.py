"""Reads a history: which machine is meant, what was measured of each commit, relative to which baselines."""
from __future__ import annotations

import fnmatch
import json
import math
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from runner.verdict.comparison import METRICS, Metric
from runner.errors import UsageError, nearest
from runner.estimate import geometric_mean, median

SHORT = 9  # digits of a commit


@dataclass(frozen=True)
class Entry:
    """One allocator or build of one run."""

    number: int
    run: str
    started: str
    version: Optional[str]
    commit: Optional[str]
    dirty: bool
    given: Optional[str]
    subject: Optional[str]
    committed: Optional[str]
    generation: Optional[int]
    circumstances: dict[str, str]

    @property
    def name(self) -> str:
        """What a reader recognises: the commit, + for changes that were not committed; else the version,
        or what was asked for."""
        if self.commit is not None:
            return self.commit[:SHORT] + ("+" if self.dirty else "")
        return self.version or self.given or self.run

    @property
    def state(self) -> tuple[str, bool]:
        """What entries of the same code share."""
        return (self.commit or self.version or self.given or self.run, self.dirty)

    @property
    def order(self) -> tuple[str, int, str]:
        """Sorts by the time of the commit; what nobody knows a commit of, by when it was measured."""
        return (self.committed or self.started, self.generation or 0, self.started)


@dataclass(frozen=True)
class Number:
    """A median with its quartiles, and how many samples it was made of."""

    median: float
    lower_quartile: float
    upper_quartile: float
    samples: int


@dataclass
class Numbers:
    """One number of one cell over entries: the plain one, and those relative to each baseline."""

    cell: str
    workload: str
    phase: str
    metric: Metric
    plain: dict[int, Number] = field(default_factory=dict)  # by entry
    relative: dict[int, dict[str, Number]] = field(default_factory=dict)  # by entry and baseline


@dataclass(frozen=True)
class History:
    """What was read: entries of one allocator on one machine, in their order, with their numbers, and what
    a reader must know of the choice."""

    machine: str
    allocator: str
    entries: list[Entry]
    numbers: list[Numbers]
    remarks: list[str]


def read_history(
    connection: sqlite3.Connection, metrics: Sequence[str], *, allocator: str = "hakmem",
    machine: Optional[str] = None, phase: Optional[str] = "", cells: Sequence[str] = (),
    workloads: Sequence[str] = (),
) -> History:
    """Return what a history holds of some metrics. `cells` and `workloads` are patterns (* and ?), without
    any all are meant; a `phase` of None means all. Raises UsageError."""
    key, title, remarks = choose_machine(connection, machine)
    entries = _entries(connection, key, allocator, remarks)
    rows = connection.execute(
        "SELECT s.cell, s.phase, s.metric, c.workload, c.parameters, v.entry, v.baseline, v.median, "
        "v.lower_quartile, v.upper_quartile, v.samples FROM value v JOIN series s ON s.id = v.series "
        "JOIN entry e ON e.id = v.entry JOIN run r ON r.id = e.run "
        "JOIN cell c ON c.run = e.run AND c.name = s.cell "
        "WHERE r.machine = ? AND e.product = ? AND (? IS NULL OR s.phase = ?) "
        f"AND s.metric IN ({','.join('?' * len(metrics))})",
        (key, allocator, phase, phase, *metrics),
    ).fetchall()
    if not rows:
        raise _no_such_phase(connection, metrics, phase)
    rows = _chosen(rows, cells, workloads)
    kept = {entry.number for entry in entries}
    order = {entry.number: place for place, entry in enumerate(entries)}
    rows = _same_parameters([row for row in rows if row["entry"] in kept], order, remarks)
    numbers: dict[tuple[str, str, str], Numbers] = {}
    for row in rows:
        place = (row["cell"], row["phase"], row["metric"])
        found = numbers.setdefault(
            place, Numbers(row["cell"], row["workload"], row["phase"], METRICS[row["metric"]])
        )
        number = Number(row["median"], row["lower_quartile"], row["upper_quartile"], row["samples"])
        if row["baseline"]:
            found.relative.setdefault(row["entry"], {})[row["baseline"]] = number
        else:
            found.plain[row["entry"]] = number
    listed = sorted(numbers.values(), key=lambda n: (n.workload, _natural(n.cell), n.phase != "", n.phase))
    return History(title, allocator, entries, listed, remarks)


def choose_machine(
    connection: sqlite3.Connection, wanted: Optional[str]
) -> tuple[str, str, list[str]]:
    """Return key and title of the machine that is meant: one whose key begins with or whose title holds
    what was asked for; else the one that measured last. Raises UsageError."""
    rows = connection.execute(
        "SELECT m.key, m.title, max(r.started) AS last, count(*) AS runs FROM machine m "
        "JOIN run r ON r.machine = m.key GROUP BY m.key ORDER BY last DESC"
    ).fetchall()
    if not rows:
        raise UsageError("the history is empty; add a run with: runner/history.py add FILE.")
    if wanted is None:
        others = ", ".join(f"{row['key']} ({row['title']}, {row['runs']} runs)" for row in rows[1:])
        more = [f"Runs of other machines are left out; see them with --machine KEY: {others}."]
        return rows[0]["key"], f"{rows[0]['title']} [{rows[0]['key']}]", more if others else []
    found = [row for row in rows if row["key"].startswith(wanted)] or [
        row for row in rows if wanted.lower() in row["title"].lower()
    ]
    if len(found) != 1:
        known = "; ".join(f"{row['key']}: {row['title']}" for row in found or rows)
        raise UsageError(
            f"--machine {wanted}: {'no' if not found else 'more than one'} machine fits; there are {known}."
        )
    return found[0]["key"], f"{found[0]['title']} [{found[0]['key']}]", []


def _entries(
    connection: sqlite3.Connection, machine: str, allocator: str, remarks: list[str]
) -> list[Entry]:
    rows = connection.execute(
        "SELECT e.*, r.name AS run_name, r.started, r.checked, r.circumstances FROM entry e "
        "JOIN run r ON r.id = e.run WHERE r.machine = ? AND e.product = ?", (machine, allocator),
    ).fetchall()
    if not rows:
        known = [row[0] for row in connection.execute(
            "SELECT DISTINCT e.product FROM entry e JOIN run r ON r.id = e.run WHERE r.machine = ? "
            "ORDER BY 1", (machine,))]
        raise UsageError(
            f"--allocator {allocator}: no run of this machine has it{nearest(allocator, known)}; there are "
            f"{', '.join(known)}."
        )
    checked = sum(row["checked"] for row in rows)
    if checked:
        remarks.append(f"{checked} runs with --check are left out: it costs every allocator speed.")
    return sorted((
        Entry(row["id"], row["run_name"], row["started"], row["version"], row["commit_id"],
              bool(row["dirty"]), row["given"], row["subject"], row["committed"], row["generation"],
              json.loads(row["circumstances"]))
        for row in rows if not row["checked"]
    ), key=lambda entry: entry.order)


def _no_such_phase(
    connection: sqlite3.Connection, metrics: Sequence[str], phase: Optional[str]
) -> UsageError:
    titles = " and ".join(METRICS[name].title for name in metrics)
    if not phase:
        return UsageError(f"no run of this machine in the history has {titles} of this allocator.")
    known = [row[0] for row in connection.execute(
        f"SELECT DISTINCT phase FROM series WHERE phase <> '' AND metric IN ({','.join('?' * len(metrics))}) "
        "ORDER BY 1", metrics)]
    return UsageError(
        f"--phase {phase}: {titles} has no such phase{nearest(phase, known)}; there are "
        f"{', '.join(known) or 'none, only whole runs'}."
    )


def _chosen(
    rows: list[sqlite3.Row], cells: Sequence[str], workloads: Sequence[str]
) -> list[sqlite3.Row]:
    _check_known("--cell", cells, {row["cell"] for row in rows})
    _check_known("--workload", workloads, {row["workload"] for row in rows})
    return [row for row in rows if (not cells or _fits(row["cell"], cells))
            and (not workloads or _fits(row["workload"], workloads))]


def _check_known(option: str, patterns: Sequence[str], known: Iterable[str]) -> None:
    names = sorted(known, key=_natural)
    for pattern in patterns:
        if not any(_fits(name, [pattern]) for name in names):
            shown = ", ".join(f"'{name}'" for name in names[:12]) + (", ..." if len(names) > 12 else "")
            raise UsageError(
                f"{option} '{pattern}': nothing of this name was measured{nearest(pattern, names)}; there "
                f"are {shown or 'none with this metric'}."
            )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _same_parameters(
    rows: list[sqlite3.Row], order: dict[int, int], remarks: list[str]
) -> list[sqlite3.Row]:
    """Return the rows of the parameters that each cell was last measured with: another default makes
    another measurement of the same name."""
    newest: dict[str, tuple[int, str]] = {}
    for row in rows:
        place = order[row["entry"]]
        if row["cell"] not in newest or place >= newest[row["cell"]][0]:
            newest[row["cell"]] = (place, row["parameters"])
    kept = [row for row in rows if row["parameters"] == newest[row["cell"]][1]]
    changed = sorted({row["cell"] for row in rows if row["parameters"] != newest[row["cell"]][1]})
    if changed:
        remarks.append(
            f"Older runs of {', '.join(changed[:4])}{' and others' if len(changed) > 4 else ''} are left "
            "out: their parameters were others."
        )
    return kept


def _natural(text: str) -> list[Any]:
    """Sorts threads=2 before threads=16."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def common_baselines(found: Iterable[dict[str, Number]]) -> tuple[str, ...]:
    """Return the baselines that all of these share; where none is shared, those of the last."""
    sets = [set(numbers) for numbers in found if numbers]
    if not sets:
        return ()
    return tuple(sorted(set.intersection(*sets) or sets[-1]))


def mean_number(numbers: Sequence[Number]) -> Number:
    """Return the geometric mean of numbers that are relative to one baseline each."""
    return Number(
        geometric_mean([n.median for n in numbers]), geometric_mean([n.lower_quartile for n in numbers]),
        geometric_mean([n.upper_quartile for n in numbers]), min(n.samples for n in numbers),
    )


def pooled(numbers: Sequence[Number]) -> Number:
    """Return one number for several runs of the same code."""
    return Number(
        median(n.median for n in numbers), median(n.lower_quartile for n in numbers),
        median(n.upper_quartile for n in numbers), sum(n.samples for n in numbers),
    )


def finite(value: float) -> bool:
    """True for a number that has a logarithm."""
    return value > 0 and math.isfinite(value)
