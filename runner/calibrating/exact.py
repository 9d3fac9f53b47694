"""Compares exact instruction counts with those of a build that executes a known little more."""
from __future__ import annotations

import math
import os
from dataclasses import replace

from runner.allocators import Allocator
from runner.calibrating.burn import PROBE_ROUNDS
from runner.calibrating.judge import ROLES
from runner.calibrating.records import ExactOutcome
from runner.calibrating.summary import EXACT_CHANGE
from runner.calibrating.work import Work, slope_path
from runner.errors import UsageError
from runner.exact import ExactCounter, MISSING, countable, find_valgrind
from runner.machine import driver_environment
from runner.measure import Laboratory
from runner.records import Cell, ExactCount
from runner.results_file import Run, read_run

_METRIC = "exact_instructions_per_op"


def count_exactly(work: Work) -> None:
    """Count, for every cell that can be counted, a build with itself and with one that executes
    EXACT_CHANGE more, and record the verdicts. Without valgrind a sentence says so."""
    cells = [cell for cell in work.plan.cells if countable(cell)]
    done = {outcome.cell for outcome in work.records.of(ExactOutcome)}
    left = [cell for cell in cells if cell.id not in done]
    valgrind = find_valgrind()
    if not left or valgrind is None:
        if left:
            work.progress.message(MISSING)
        return
    laboratory = Laboratory(work.bench.drivers, driver_environment(os.environ), work.bench.interrupts)
    try:
        counter = ExactCounter(laboratory, valgrind)
        for cell in left:
            work.tell(f"{cell.id}: exact instructions")
            _count(work, counter, cell)
    finally:
        laboratory.close()


def _count(work: Work, counter: ExactCounter, cell: Cell) -> None:
    """A round of burning costs the same number of instructions each time, so the probe tells how many
    rounds make the change; the build that has them is then counted itself."""
    recorded = read_run(slope_path(work.parts, work.plan.cells.index(cell)))

    def count(rounds: int) -> ExactCount:
        # A name of its own for each library: what was counted once is not counted again.
        allocator = Allocator(f"burn-{rounds}", "preloaded", work.library(rounds))
        found = counter.count(recorded.header.cells[0], allocator, recorded.header.settings)
        if found.failure is not None:
            raise UsageError(f"{cell.id}: instructions can't be counted: {found.failure.reason.rstrip('.')}.")
        return found

    base, probe = count(0), count(PROBE_ROUNDS)
    per_round = (probe.instructions_per_operation - base.instructions_per_operation) / PROBE_ROUNDS
    if per_round <= 0:
        raise UsageError(f"{cell.id}: the library that burns executes no more instructions than the other.")
    rounds = math.ceil(EXACT_CHANGE * base.instructions_per_operation / per_round)
    for number, (burnt, new) in enumerate(((0, base), (rounds, count(rounds)))):
        work.writer.write(ExactOutcome(
            cell.id, number, burnt, burnt * per_round / base.instructions_per_operation,
            base.instructions_per_operation, new.instructions_per_operation,
            _verdict(work, recorded, base, new),
        ))


def _verdict(work: Work, recorded: Run, base: ExactCount, new: ExactCount) -> str:
    counts = [replace(count, allocator=role) for count, role in zip((base, new), ROLES)]
    found = work.judge.compare_run(replace(recorded, exact_counts=counts))
    return next(a.verdict for a in found.answers if a.question.metric == _METRIC)
