"""Exact counts of instructions: what is run and recorded, and that real ones repeat to the digit."""
from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_results import make_run

from runner import comparing
from runner.allocators import Allocator
from runner.exact import OPERATIONS, ExactCounter, countable, fixed_run
from runner.execute import Outcome
from runner.interrupts import Interrupts
from runner.measure import Attempt, Laboratory
from runner.records import Cell, ExactCount, Failure, RunHeader
from runner.results_file import read_run

LARSON = Cell(
    "larson threads=1", "larson",
    {"threads": 1, "min": 8, "max": 1000, "chunks": 5000, "rounds": 100, "seconds": 0.5}, 1,
)
MIXED = Cell("bench_random_mixed threads=1", "bench_random_mixed",
             {"threads": 1, "size": 1024, "slots": 8192, "operations": 31_000_000}, 1, calibrated=True)
PAIR = Cell("larson threads=2", "larson", {"threads": 2}, 2)
REDIS = Cell("redis", "redis", {"work": 100}, 1, measure="cpu_time")
BUILDS = [Allocator("base", "preloaded", Path("/x/base.so"), "--rev a"),
          Allocator("new", "preloaded", Path("/x/new-.so"), "--rev b")]


class FakeLaboratory:
    """Runs nothing; writes what callgrind would: so many instructions for each operation."""

    def __init__(self, each: float = 20.0, failure: bool = False, stuck: bool = False) -> None:
        self.each, self.failure, self.stuck = each, failure, stuck
        self.runs: list[list[str]] = []

    def run_under(
        self, wrapper: list[str], variables: dict[str, str], allocator: Allocator, workload: str,
        arguments: list[str], limit: float,
    ) -> Attempt:
        self.runs.append(arguments)
        assert variables == {"HAKMEM_PURGE_DELAY": "-1"} and limit > 10
        assert {"--tool=callgrind", "--toggle-collect=malloc", "--toggle-collect=free"} <= set(wrapper)
        outcome = Outcome(0, None, None, False, b"", False, [], 0.1)
        if self.failure:
            return Attempt(outcome, None, Failure("crash", "ended by SIGILL", []))
        out = next(word.partition("=")[2] for word in wrapper if word.startswith("--callgrind-out-file="))
        operations = int(arguments[arguments.index("--operations") + 1])
        Path(out).write_text(f"events: Ir\n\ntotals: {int(5000 + self.each * operations)}\n", "ascii")
        report = SimpleNamespace(operations=1000 if self.stuck else operations + 1000)
        return Attempt(outcome, cast(Any, report), None)


def header(tmp_path: Path, cells: list[Cell]) -> RunHeader:
    return dataclasses.replace(read_run(make_run(tmp_path / "made.jsonl", rounds=1)).header, cells=cells)


def counted(
    tmp_path: Path, laboratory: Any, cells: list[Cell], known: Sequence[ExactCount] = ()
) -> tuple[list[ExactCount], list[str]]:
    written: list[ExactCount] = []
    said: list[str] = []
    writer: Any = SimpleNamespace(write=written.append)
    comparing.count_exactly(header(tmp_path, cells), known, BUILDS, laboratory, writer, said.append)
    return written, said


def test_only_what_repeats_is_counted() -> None:
    assert countable(LARSON) and countable(MIXED) and not countable(PAIR) and not countable(REDIS)


def test_a_fixed_run_depends_on_no_time_and_no_other_thread() -> None:
    words = fixed_run(LARSON, 42, 1000)
    assert "--seconds" not in words and words[words.index("--operations") + 1] == "1000"
    assert int(words[words.index("--rounds") + 1]) == 10**9  # no hand-over
    assert words[words.index("--seed") + 1] == "42" and words[words.index("--max") + 1] == "1000"
    words = fixed_run(MIXED, 7, 2000)
    assert words[words.index("--operations") + 1] == "2000" and words.count("--operations") == 1


@pytest.fixture
def valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "valgrind").write_text("#!/bin/sh\necho valgrind-9.8.7\n", "utf-8")
    (tools / "valgrind").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")


def test_equal_runs_are_counted_once_and_recorded_for_each_cell(tmp_path: Path, valgrind: None) -> None:
    parameters = {**LARSON.parameters, "seconds": 1.0}
    longer = dataclasses.replace(LARSON, id="larson seconds=1", parameters=parameters)
    laboratory = FakeLaboratory()
    written, said = counted(tmp_path, laboratory, [LARSON, longer, MIXED, PAIR])
    assert len(laboratory.runs) == 2 * 2 * 2  # two lengths, two builds, two cells that differ
    assert [(count.cell, count.allocator) for count in written] == [
        (cell.id, build.name) for cell in (LARSON, longer, MIXED) for build in BUILDS]
    assert {count.instructions_per_operation for count in written} == {20.0}
    assert {count.operations for count in written} == {OPERATIONS}
    assert {count.tool for count in written} == {"callgrind, valgrind-9.8.7"}
    assert said == [
        "Counting instructions of 3 cells with valgrind; not of 1 that would not repeat to the digit."
    ]
    again, said = counted(tmp_path, laboratory, [LARSON, MIXED], known=written[:5])
    assert [(count.cell, count.allocator) for count in again] == [(MIXED.id, "new")]
    assert counted(tmp_path, laboratory, [LARSON], known=written) == ([], [])


@pytest.mark.parametrize("laboratory, reason", [
    (FakeLaboratory(failure=True), "ended by SIGILL"),
    (FakeLaboratory(each=0.0), "the longer run did no more"),
    (FakeLaboratory(stuck=True), "the longer run did no more"),
])
def test_a_count_that_fails_says_why(tmp_path: Path, valgrind: None, laboratory, reason: str) -> None:
    written, said = counted(tmp_path, laboratory, [LARSON])
    assert all(count.failure is not None and count.operations == 0 for count in written)
    assert f"Not counted: {LARSON.id} base: {reason}" in said[1]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_real_counts_repeat_to_the_digit(root: Path, tmp_path: Path, libhakmem: Path) -> None:
    subprocess.run(["make", "-s", "-C", str(root), "larson_system"], check=True, capture_output=True)
    copy = Path(shutil.copy(libhakmem, tmp_path / "new-.so"))
    builds = [
        Allocator(name, "preloaded", path.resolve(), "--rev x")
        for name, path in (("base", libhakmem), ("new", copy))
    ]
    laboratory = Laboratory(root / "out" / "release", dict(os.environ), Interrupts())
    settings = read_run(make_run(tmp_path / "made.jsonl", rounds=1)).header.settings
    try:
        counts = [
            ExactCounter(laboratory, str(shutil.which("valgrind"))).count(LARSON, build, settings)
            for build in builds
        ]
    finally:
        laboratory.close()
    assert all(count.failure is None for count in counts), counts
    assert counts[0].instructions_per_operation == counts[1].instructions_per_operation
    assert 5 < counts[0].instructions_per_operation < 200 and counts[0].operations == OPERATIONS
