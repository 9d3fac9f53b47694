"""Records the builds of a calibration side by side: all builds of a cell in each round, in random order."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.allocators import Allocator
from runner.errors import UsageError
from runner.interrupts import Interrupts
from runner.machine import driver_environment, load_average
from runner.measure import Laboratory, Ticket, utc_now
from runner.options import Options as RunOptions
from runner.options import parse_options as parse_run_options
from runner.plan import Request, RunName, make_header, new_run_id
from runner.records import Cell, End, Resume, RunHeader, Sample
from runner.results_file import ResultsWriter, read_run
from runner.revisions import build_revisions
from runner.schedule import shuffled

_FAILURES_IN_A_ROW = 5  # after which there is no use in going on


@dataclass(frozen=True)
class Bench:
    """Where everything is: the source tree, the drivers, and who may stop the work."""

    root: Path
    drivers: Path
    interrupts: Interrupts


class Recording:
    """A results file of one cell with several builds, that grows by rounds. Close it at the end."""

    def __init__(
        self, bench: Bench, header: RunHeader, allocators: Sequence[Allocator], laboratory: Laboratory,
        writer: ResultsWriter, samples: Sequence[Sample],
    ) -> None:
        self._bench, self._laboratory, self._writer = bench, laboratory, writer
        self.header = header
        self._allocators = list(allocators)
        self.samples = list(samples)
        self._failed_in_a_row = 0

    @classmethod
    def open(
        cls, bench: Bench, path: Path, cell: Cell, libraries: Sequence[Path], seconds: float, effect: float,
        order_seed: int, say: Callable[[str], None],
    ) -> Recording:
        """Begin a recording of `libraries`, the first of which is the base, in samples of `seconds`; go on
        with it where the file is there. Raises UsageError."""
        laboratory = Laboratory(bench.drivers, driver_environment(os.environ), bench.interrupts)
        try:
            builds = build_revisions(
                [str(library) for library in libraries], bench.root, path.with_name(f"{path.stem}-builds"), say,
                bench.interrupts,
            )
            allocators = [build.allocator for build in builds]
            if path.exists():
                return cls._go_on(bench, path, allocators, laboratory)
            options = _run_options(seconds, order_seed)
            request = Request([cell.workload], {}, [cell], allocators, True, [], {})
            made = make_header(
                request, options, laboratory, allocators, {}, bench.root,
                RunName(new_run_id(), ["runner/calibrate.py"]), bench.interrupts,
            )
            header = replace(
                made, builds=[replace(build.entry, given=Path(build.entry.given).name) for build in builds],
                settings=replace(made.settings, rounds=None, effect=effect),
            )
            writer = ResultsWriter.create(path)
            recording = cls(bench, header, allocators, laboratory, writer, [])
            writer.write(header)
            recording._warm_up()
            return recording
        except BaseException:
            laboratory.close()
            raise

    @classmethod
    def _go_on(
        cls, bench: Bench, path: Path, allocators: Sequence[Allocator], laboratory: Laboratory
    ) -> Recording:
        writer = ResultsWriter.reopen(path)
        try:
            run = read_run(path)
            writer.go_on(run)
            writer.write(Resume(utc_now(), run.cut_bytes, load_average()))
        except BaseException:
            writer.close()
            raise
        return cls(bench, run.header, allocators, laboratory, writer, run.samples)

    @property
    def cell(self) -> Cell:
        """The cell that is recorded, with what was calibrated."""
        return self.header.cells[0]

    @property
    def rounds(self) -> int:
        """How many rounds were begun."""
        return max((sample.round for sample in self.samples), default=0)

    def record(self, seconds: float, after_round: Callable[[float], None]) -> list[Sample]:
        """Record rounds until their samples took as long as a comparison of `seconds` of two of the
        builds would, at least one; return their samples. `after_round` is told the share that is done."""
        first = len(self.samples)
        needed = seconds * len(self._allocators) / 2
        taken = 0.0
        while True:
            number = self.rounds + 1
            for allocator in shuffled(self._allocators, self.header.settings.order_seed, number):
                taken += self._measure(allocator, number, warmup=False).elapsed_seconds
            after_round(min(1.0, taken / needed))
            expected = taken / (self.rounds - self.samples[first].round + 1)
            if taken + expected > needed:
                return self.samples[first:]

    def close(self, complete: bool) -> None:
        """Write the end, and close everything."""
        try:
            self._writer.write(End(
                "complete" if complete else "interrupted", None, utc_now(), len(self.samples),
                sum(not sample.ok for sample in self.samples),
            ))
        except UsageError:
            pass  # what there is can be read without
        self._writer.close()
        self._laboratory.close()

    def _warm_up(self) -> None:
        for allocator in self._allocators:
            self._measure(allocator, 0, warmup=True)

    def _measure(self, allocator: Allocator, number: int, warmup: bool) -> Sample:
        ticket = Ticket(self.cell, allocator, number, len(self.samples), warmup)
        sample = self._laboratory.sample(ticket, self.header.settings)
        self._writer.write(sample)
        self.samples.append(sample)
        self._failed_in_a_row = self._failed_in_a_row + 1 if sample.failure is not None else 0
        if sample.failure is not None and (warmup or self._failed_in_a_row >= _FAILURES_IN_A_ROW):
            raise UsageError(
                f"{self.cell.id} can't be measured with {allocator.library}: "
                f"{sample.failure.reason.rstrip('.')}."
            )
        return sample


def _run_options(seconds: float, order_seed: int) -> RunOptions:
    return parse_run_options(["--duration", f"{seconds:g}", "--repeat", "1", "--order-seed", str(order_seed)])
