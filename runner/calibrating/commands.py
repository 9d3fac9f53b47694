"""Real comparisons in full: run.py --rev and compare.py as a user starts them."""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.calibrating.judge import THROUGHPUT
from runner.calibrating.records import COMMAND, Outcome
from runner.calibrating.recording import Bench
from runner.verdict.comparison import FASTER, SLOWER, UNDECIDED
from runner.errors import UsageError
from runner.execute import run_program
from runner.records import Cell
from runner.schedule import in_words

_SETUP_SECONDS = 600.0  # probing, counting instructions, drawing


@dataclass(frozen=True)
class Asked:
    """One comparison: a cell, the libraries of both builds, and what they are."""

    number: int
    cell: Cell
    slow_down: float
    base: Path
    new: Path
    budget: float
    effect: float


def compare_by_commands(
    asked: Asked, bench: Bench, results: Path, clock: Callable[[], float]
) -> Outcome:
    """Measure and compare, into a new file of results; `clock` tells the time of the calibration. Raises
    UsageError with what the commands said."""
    results.unlink(missing_ok=True)  # of a run that was killed
    command = [
        sys.executable, str(bench.root / "runner" / "run.py"),
        "--rev", str(asked.base), "--rev", str(asked.new),
        *cell_options(asked.cell), "--time-budget", f"{asked.budget:g}", "--effect", f"{asked.effect:g}",
        "--output", str(results), "--no-plots", "--drivers", str(bench.drivers),
    ]
    _run(command, bench, asked.budget * 3 + _SETUP_SECONDS, (0, 1))
    found = json.loads(_run(
        [sys.executable, str(bench.root / "runner" / "compare.py"), str(results),
         "--effect", f"{asked.effect:g}", "--json"],
        bench, _SETUP_SECONDS, (0, 1),
    ))
    return _outcome(asked, found, clock())


def cell_options(cell: Cell) -> list[str]:
    """Return run.py's options that make this cell: its name is the workload and what was given."""
    workload, *given = cell.id.split(" ")
    options = ["--workloads", workload]
    for word in given:
        options += ["--matrix", word]
    return options


def _run(command: Sequence[str], bench: Bench, limit: float, good: Sequence[int]) -> bytes:
    done = run_program(command, dict(os.environ), limit, bench.interrupts)
    if done.status in good:
        return done.output
    name = Path(command[1]).name
    if done.timed_out:
        raise UsageError(f"{name} did not end within {in_words(limit)}.")
    said = done.error_lines[-1] if done.error_lines else f"exit status {done.status}"
    raise UsageError(f"{name} made no comparison: {said}")


def _outcome(asked: Asked, found: dict[str, Any], at: float) -> Outcome:
    answers = found["answers"]
    speed = next(a for a in answers if a["question"]["metric"] == THROUGHPUT and not a["question"]["phase"])
    worse = sorted((1 - speed["low"], 1 - speed["high"]))

    def named(word: str) -> list[str]:
        return [
            ":".join(filter(None, (a["question"]["metric"], a["question"]["phase"])))
            for a in answers if a["verdict"] == word
        ]

    return Outcome(
        COMMAND, asked.number, asked.cell.id, asked.slow_down, asked.budget, asked.budget, speed["pairs"],
        speed["verdict"], speed["change_to_worse"], worse[0], worse[1], len(answers), named(SLOWER),
        named(FASTER), len(named(UNDECIDED)), round(at, 3),
    )
