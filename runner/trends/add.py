"""Puts a run into a history: every allocator and build of it, with all its numbers."""
from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from runner.allocators import NONE, RODS, SUBJECT
from runner.verdict.comparison import METRICS, WHOLE_RUN
from runner.errors import UsageError, explain_os_error
from runner.estimate import quantile
from runner.trends.commits import Commit, describe_commit
from runner.trends.machine import circumstances, machine_facts_of, machine_key, machine_title
from runner.trends.store import check_file, open_to_write
from runner.measure import utc_now
from runner.records import AllocatorEntry, RunHeader
from runner.results_file import Run, read_run
from runner.sample_values import Key, values_of

ABSOLUTE = ""  # the baseline of a value that is relative to none
EXACT: Key = (WHOLE_RUN, "exact_instructions_per_op")


@dataclass
class Group:
    """The samples of one allocator in one cell: values by phase and metric and by round."""

    attempts: int = 0
    failures: list[str] = field(default_factory=list)
    rounds: dict[Key, dict[int, float]] = field(default_factory=dict)
    values: dict[Key, list[float]] = field(default_factory=dict)


Groups = dict[tuple[str, str], Group]  # by cell and allocator


def add_file(database: Path, path: Path, tree: Path) -> str:
    """Add the run in a results file, and return a sentence that says what happened. `tree` is the checkout
    that knows the commits. Raises UsageError; nothing of the file is added then."""
    check_file(database)
    run = read_run(path)
    digest = _header_digest(path)
    if not any(sample.ok and not sample.warmup for sample in run.samples) and not run.exact_counts:
        raise UsageError(f"'{path}' holds no good sample, so there is nothing to add.")
    groups = _grouped(run)
    rows = _rows(run.header, groups)
    commits = _commits(run.header, tree)
    with open_to_write(database) as connection:
        known = connection.execute("SELECT * FROM run WHERE name = ?", (run.header.id,)).fetchone()
        if known is not None:
            if known["header_sha256"] != digest:
                raise UsageError(
                    f"'{path}': another run with the id {run.header.id} is in the history already; "
                    "the two begin differently, so one of the files was changed."
                )
            if known["samples"] >= len(run.samples) + len(run.exact_counts):
                return f"{path}: the run {run.header.id} is in the history already; nothing was added."
            connection.execute("DELETE FROM run WHERE id = ?", (known["id"],))
        _insert(connection, run, digest, groups, rows, commits)
    what = "was added again, with more samples" if known is not None else "was added"
    entries = sum(entry.name != NONE for entry in run.header.allocators)
    return (f"{path}: the run {run.header.id} {what}: {len(run.header.cells)} cells, {entries} "
            f"{'builds and allocators' if run.header.builds else 'allocators'}.")


def _header_digest(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.readline()).hexdigest()
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error


def _grouped(run: Run) -> Groups:
    cells = {cell.id: cell for cell in run.header.cells}
    names = {entry.name for entry in run.header.allocators}
    groups: Groups = {}
    for sample in run.samples:
        if sample.cell not in cells or sample.allocator not in names or (sample.warmup and sample.ok):
            continue
        group = groups.setdefault((sample.cell, sample.allocator), Group())
        group.attempts += 1
        if sample.failure is not None:
            group.failures.append(sample.failure.reason)
        for key, value in values_of(sample, cells[sample.cell]).items():
            group.rounds.setdefault(key, {})[sample.round] = value
            group.values.setdefault(key, []).append(value)
    for count in run.exact_counts:
        if count.cell in cells and count.allocator in names and count.failure is None:
            group = groups.setdefault((count.cell, count.allocator), Group())
            group.values[EXACT] = [count.instructions_per_operation]
            group.rounds[EXACT] = {0: count.instructions_per_operation}
    return groups


@dataclass(frozen=True)
class Row:
    """A number for the table of values."""

    allocator: str
    cell: str
    key: Key
    baseline: str
    numbers: tuple[float, float, float, float, float, int]


def _rows(header: RunHeader, groups: Groups) -> list[Row]:
    """Return all numbers; of an allocator in a cell in which one of its samples failed there are none."""
    subjects = _subjects(header)
    baselines = [e.name for e in header.allocators if e.name not in subjects and e.name not in RODS]
    rows: list[Row] = []
    for (cell, name), group in groups.items():
        if group.failures or name == NONE:
            continue
        rows += [Row(name, cell, key, ABSOLUTE, _numbers(values)) for key, values in group.values.items()]
        for baseline in baselines if name in subjects else ():
            other = groups.get((cell, baseline))
            if other is not None and not other.failures:
                rows += _relative(cell, name, group, baseline, other)
    return rows


def _relative(cell: str, name: str, group: Group, baseline: str, other: Group) -> Iterable[Row]:
    """Ratios of samples of the same round, which a neighbour's noise hits alike."""
    for key, ours in group.rounds.items():
        theirs = other.rounds.get(key, {})
        ratios = [value / theirs[number] for number, value in ours.items()
                  if value > 0 and theirs.get(number, 0) > 0]
        if ratios:
            yield Row(name, cell, key, baseline, _numbers(ratios))


def _numbers(values: Sequence[float]) -> tuple[float, float, float, float, float, int]:
    ordered = sorted(values)
    return (quantile(ordered, 0.5), quantile(ordered, 0.25), quantile(ordered, 0.75), ordered[0],
            ordered[-1], len(ordered))


def _subjects(header: RunHeader) -> set[str]:
    """Who is set against the others: builds, hakmem, and libraries that the user brought."""
    return {build.allocator for build in header.builds} | {
        entry.name for entry in header.allocators if entry.name == SUBJECT or entry.kind == "preloaded"
    }


def _commits(header: RunHeader, tree: Path) -> dict[str, Commit]:
    """Return what is known of the commit of each build, by allocator."""
    found: dict[str, Commit] = {}
    for build in header.builds:
        found[build.allocator] = describe_commit(build.commit, build.dirty, tree, build.subject, build.given)
    if header.git is not None and SUBJECT not in found:
        found[SUBJECT] = describe_commit(header.git.commit, header.git.dirty, tree)
    return found


def _insert(
    connection: sqlite3.Connection, run: Run, digest: str, groups: Groups, rows: Sequence[Row],
    commits: dict[str, Commit],
) -> None:
    header = run.header
    key = machine_key(header.machine)
    connection.execute(
        "INSERT OR IGNORE INTO machine VALUES (?, ?, ?)",
        (key, machine_title(header.machine), json.dumps(machine_facts_of(header.machine), sort_keys=True)),
    )
    number = connection.execute(
        "INSERT INTO run (name, machine, started, command, settings, circumstances, checked, complete, "
        "header_sha256, samples, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (header.id, key, header.started, json.dumps(header.command), json.dumps(vars(header.settings)),
         json.dumps(circumstances(header)), header.settings.check, run.complete, digest,
         len(run.samples) + len(run.exact_counts), utc_now()),
    ).lastrowid
    connection.executemany("INSERT INTO cell VALUES (?, ?, ?, ?, ?)", [
        (number, cell.id, cell.workload, json.dumps(
            {name: value for name, value in cell.parameters.items()
             if not (cell.calibrated and name == "operations")}, sort_keys=True), cell.concurrency)
        for cell in header.cells
    ])
    builds = {build.allocator for build in header.builds}
    entries = {entry.name: _insert_entry(connection, number, entry, entry.name in builds, commits)
               for entry in header.allocators if entry.name != NONE}
    connection.executemany("INSERT INTO outcome VALUES (?, ?, ?, ?, ?)", [
        (entries[name], cell, group.attempts, len(group.failures), next(iter(group.failures), None))
        for (cell, name), group in groups.items() if name in entries
    ])
    _insert_values(connection, rows, entries)


def _insert_entry(
    connection: sqlite3.Connection, run: Optional[int], entry: AllocatorEntry, is_build: bool,
    commits: dict[str, Commit],
) -> int:
    commit = commits.get(entry.name, Commit())
    number = connection.execute(
        "INSERT INTO entry (run, allocator, product, version, commit_id, dirty, given, subject, committed, "
        "generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (run, entry.name, SUBJECT if is_build else entry.name, entry.version, commit.id, commit.dirty,
         commit.given, commit.subject, commit.committed, commit.generation),
    ).lastrowid
    assert number is not None
    return number


def _insert_values(
    connection: sqlite3.Connection, rows: Sequence[Row], entries: dict[str, int]
) -> None:
    wanted = {(row.cell, *row.key) for row in rows if row.key[1] in METRICS}
    connection.executemany(
        "INSERT OR IGNORE INTO series (cell, phase, metric) VALUES (?, ?, ?)", sorted(wanted)
    )
    series = {(cell, phase, metric): number for number, cell, phase, metric in
              connection.execute("SELECT id, cell, phase, metric FROM series")}
    connection.executemany("INSERT INTO value VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [
        (series[row.cell, row.key[0], row.key[1]], entries[row.allocator], row.baseline, *row.numbers)
        for row in rows if row.key[1] in METRICS
    ])
