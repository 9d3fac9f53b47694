"""The table of the last commits in a history: speed and memory of each workload."""
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from runner.errors import UsageError
from runner.estimate import geometric_mean
from runner.trends.query import (
    Entry, History, Number, Numbers, common_baselines, finite, mean_number, pooled, read_history,
)
from runner.table import Block

MEBIBYTE = 1 << 20
_METRICS = ("ops_per_second", "peak_rss_bytes")
_SUBJECT_LENGTH = 44
_UNITS = (" (million operations a second)", " (MiB)")
_SPEED, _MEMORY = f"throughput{_UNITS[0]}", f"peak memory{_UNITS[1]}"
_MOST_WORKLOADS = 3  # in one table with memory


@dataclass
class State:
    """The code of a commit, with or without changes, and all its runs."""

    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What is shown."""

    blocks: list[Block]
    remarks: list[str]


def list_commits(
    connection: sqlite3.Connection, last: int, machine: Optional[str], allocator: str, absolute: bool
) -> Listing:
    """Return the table of the last commits, the newest last. Raises UsageError."""
    history = read_history(connection, _METRICS, allocator=allocator, machine=machine)
    states: dict[tuple[str, bool], State] = {}
    for entry in history.entries:
        states.setdefault(entry.state, State()).entries.append(entry)
    ordered = sorted(states.values(), key=lambda state: state.entries[-1].order)[-last:]
    if not ordered:
        raise UsageError("no run that counts is in the history on this machine.")
    table = _Table(history, ordered, absolute)
    return Listing(table.blocks(), [*history.remarks, *table.remarks()])


class _Table:
    """Works out the columns: relative to the baselines where there are any."""

    def __init__(self, history: History, states: list[State], absolute: bool) -> None:
        self.history, self.states = history, states
        self.shown = {entry.number for state in states for entry in state.entries}
        self.workloads = list(dict.fromkeys(
            n.workload for n in history.numbers if self.shown & n.plain.keys()
        ))
        self.baselines = () if absolute else common_baselines(
            {name: number for numbers in history.numbers
             for name, number in numbers.relative.get(entry.number, {}).items()}
            for state in states for entry in state.entries
        )
        self.other_cells = False

    def blocks(self) -> list[Block]:
        """Return one table, or one of speed and one of memory where that would become too wide."""
        if len(self.workloads) <= _MOST_WORKLOADS:
            return [self._block(_METRICS, f"{_SPEED} and {_MEMORY}")]
        return [self._block(_METRICS[:1], _SPEED), self._block(_METRICS[1:], _MEMORY)]

    def _block(self, metrics: Sequence[str], title: str) -> Block:
        headings = ["date", "commit", "subject", "runs"]
        headings += [self._heading(workload, metric, len(metrics) > 1) for workload in self.workloads
                     for metric in metrics]
        newest = {(workload, metric): self._cells(workload, metric) for workload in self.workloads
                  for metric in metrics}
        rows: list[list[str]] = []
        for state in self.states:
            entry = state.entries[-1]
            subject = entry.subject or entry.given or ""
            if len(subject) > _SUBJECT_LENGTH:
                subject = f"{subject[:_SUBJECT_LENGTH - 1]}…"
            row = [(entry.committed or entry.started)[:10], entry.name, subject, str(len(state.entries))]
            row += [self._mean(state, workload, metric, newest[workload, metric])
                    for workload in self.workloads for metric in metrics]
            rows.append(row)
        what = f"geometric means of {title}"
        if self.baselines:
            what = what.replace(_UNITS[0], "").replace(_UNITS[1], "")
            what += f" relative to {', '.join(self.baselines)}"
        return Block(f"{self.history.machine}: {self.history.allocator}, {what}", headings, rows)

    @staticmethod
    def _heading(workload: str, metric: str, both: bool) -> str:
        return "memory" if both and metric == "peak_rss_bytes" else workload

    def remarks(self) -> list[str]:
        """Return what a reader must know."""
        lines: list[str] = []
        if self.other_cells:
            lines.append("~ a mean over other cells than the newest run of that workload has.")
        if any(state.entries[-1].dirty for state in self.states):
            lines.append("+ with changes that were not committed.")
        return lines

    def _of(self, workload: str, metric: str) -> list[Numbers]:
        return [n for n in self.history.numbers
                if n.workload == workload and n.metric.name == metric and n.phase == ""]

    def _cells(self, workload: str, metric: str) -> set[str]:
        """Return the cells of the newest state that has any."""
        for state in reversed(self.states):
            found = {n.cell for n in self._of(workload, metric) if self._value(n, state) is not None}
            if found:
                return found
        return set()

    def _mean(self, state: State, workload: str, metric: str, newest: set[str]) -> str:
        found = {n.cell: value for n in self._of(workload, metric)
                 for value in [self._value(n, state)] if value is not None}
        if not found:
            return "-"
        self.other_cells |= found.keys() != newest
        mean = geometric_mean(list(found.values()))
        mark = "" if found.keys() == newest else "~"
        if self.baselines:
            return f"{mean:.3f}{mark}"
        return f"{mean / (1e6 if metric == 'ops_per_second' else MEBIBYTE):.4g}{mark}"

    def _value(self, numbers: Numbers, state: State) -> Optional[float]:
        found: list[Number] = []
        for entry in state.entries:
            beside = numbers.relative.get(entry.number, {})
            if not self.baselines and entry.number in numbers.plain:
                found.append(numbers.plain[entry.number])
            elif self.baselines and set(self.baselines) <= set(beside):
                found.append(mean_number([beside[name] for name in self.baselines]))
        found = [number for number in found if finite(number.median)]
        return pooled(found).median if found else None
