"""Counts the instructions of malloc and free exactly, with valgrind's callgrind.

A fixed small run is done twice, the second time with twice the operations, and the difference of both counts
over that of the operations is what one operation costs: filling and starting cancel out. Counted is what
malloc and free execute, with all they call; the driver's loop and what it prints are not. The count
repeats to the digit because nothing in it depends on time: one thread, a fixed seed and number of
operations, no hand-over to another thread, and no memory given back to the system after a delay.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

from runner.allocators import Allocator
from runner.matrix import driver_arguments
from runner.measure import Laboratory, utc_now
from runner.records import Cell, ExactCount, Failure, Settings

OPERATIONS = 200_000
MISSING = "No exact counts: valgrind is not installed (Debian's package valgrind)."
_LIMIT_SECONDS = 120.0
_COUNTED = ("malloc", "free")
# Clocks decide when memory is given back; without that nothing looks at them.
_TIMELESS = {"HAKMEM_PURGE_DELAY": "-1"}
_NO_HAND_OVER = 10**9  # larson's rounds: a thread that ends and one that begins overlap by chance


def find_valgrind() -> Optional[str]:
    """Return the program valgrind, None where it is not installed."""
    return shutil.which("valgrind")


def countable(cell: Cell) -> bool:
    """True for a cell whose count repeats: of a driver with one thread."""
    return not cell.is_program and cell.concurrency == 1


def fixed_run(cell: Cell, seed: int, operations: int) -> list[str]:
    """Return the arguments of the driver for a run of so many operations, whatever the cell's length."""
    parameters = {k: v for k, v in cell.parameters.items() if k not in ("seconds", "operations")}
    parameters["operations"] = operations
    if "rounds" in parameters:
        parameters["rounds"] = _NO_HAND_OVER
    return driver_arguments(
        replace(cell, parameters=parameters), duration=0.0, seed=seed, check=False, latency=False,
        none=False,
    )


class ExactCounter:
    """Counts cells for allocators; one and the same run is done only once."""

    def __init__(self, laboratory: Laboratory, valgrind: str) -> None:
        self._laboratory, self._valgrind = laboratory, valgrind
        self._known: dict[tuple[str, tuple[str, ...], str], ExactCount] = {}
        self.tool = f"callgrind, {_version(valgrind)}"

    def count(self, cell: Cell, allocator: Allocator, settings: Settings) -> ExactCount:
        """Return the count of a cell. Raises Interrupted when the run was asked to stop."""
        shorter, longer = (
            fixed_run(cell, settings.workload_seed, operations)
            for operations in (OPERATIONS, 2 * OPERATIONS)
        )
        key = (cell.workload, tuple(longer), allocator.name)
        if key in self._known:
            return replace(self._known[key], cell=cell.id, started=utc_now(), elapsed_seconds=0.0)
        started, begin = utc_now(), time.monotonic()
        failure: Optional[Failure] = None
        per_operation = 0.0
        try:
            first, second = (self._run(cell, allocator, run) for run in (shorter, longer))
            operations, more = second[1] - first[1], second[0] - first[0]
            if operations <= 0 or more <= 0:
                raise _Failed(Failure("output", "the longer run did no more than the shorter one", []))
            per_operation = more / operations
        except _Failed as failed:
            operations, failure = 0, failed.failure
        found = ExactCount(
            cell.id, cell.workload, allocator.name, self.tool, per_operation, operations, started,
            round(time.monotonic() - begin, 3), longer, failure,
        )
        self._known[key] = found
        return found

    def _run(self, cell: Cell, allocator: Allocator, arguments: Sequence[str]) -> tuple[int, int]:
        """Return instructions and operations of one run."""
        with tempfile.TemporaryDirectory(prefix="hakmem-exact-") as folder:
            counts = Path(folder) / "counts"
            wrapper = [
                self._valgrind, "--tool=callgrind", "--command-line-only=yes", "--vgdb=no",
                f"--log-file={folder}/log", f"--callgrind-out-file={counts}",
                *(f"--toggle-collect={name}" for name in _COUNTED),
            ]
            attempt = self._laboratory.run_under(
                wrapper, _TIMELESS, allocator, cell.workload, list(arguments), _LIMIT_SECONDS
            )
            if attempt.failure is not None or attempt.report is None:
                raise _Failed(attempt.failure or Failure("output", "there is no report", []))
            total = _total(counts)
        if not total:
            raise _Failed(Failure("output", "callgrind saw no call of malloc and free", []))
        return total, attempt.report.operations


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def _total(counts: Path) -> int:
    """Return the sum in a file of callgrind's; 0 if there is none."""
    try:
        text = counts.read_text("utf-8", "replace")
    except OSError:
        return 0
    match = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _version(valgrind: str) -> str:
    try:
        done = subprocess.run(
            [valgrind, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
            check=False, env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return "valgrind"
    return done.stdout.decode("utf-8", "replace").strip() or "valgrind"
