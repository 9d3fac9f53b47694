"""Measures single samples: runs a driver, proves who served it, and makes the record."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

from runner.allocators import Allocator, PreloadPaths
from runner.counters import PerfStat, crash_under_perf
from runner.decode import DecodeError
from runner.driver_output import DriverReport, parse_report, report_problem
from runner.execute import Outcome, run_program, signal_phrase
from runner.fresh_pages import FreshPages
from runner.interrupts import Interrupts
from runner.machine import load_average
from runner.matrix import WORKLOADS, driver_arguments, sample_seconds, with_operations
from runner.paths import shown_path
from runner.program_bench import ProgramBench, ProgramCommand
from runner.programs import PROGRAMS
from runner.records import Cell, Failure, Provider, Sample, Settings
from runner.schedule import in_words

PROBE_LIMIT_SECONDS = 60.0
_UNKNOWN_LENGTH_LIMIT_SECONDS = 600.0
_CALIBRATION_START = 20_000
_MAX_OPERATIONS = 10**12


def utc_now() -> str:
    """Return the time as it stands in the records."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Attempt:
    """One run of a driver: either a report or a failure."""

    outcome: Outcome
    report: Optional[DriverReport]
    failure: Optional[Failure]


@dataclass(frozen=True)
class Ticket:
    """Which sample is wanted."""

    cell: Cell
    allocator: Allocator
    round: int
    position: int
    warmup: bool


def _shown_provider(report: Optional[DriverReport]) -> Optional[Provider]:
    """Return the provider of a report as results name it."""
    if report is None or report.provider.path is None:
        return report.provider if report else None
    shown = shown_path(report.provider.path)
    return report.provider if os.path.isabs(shown) else replace(report.provider, path=shown)


class Laboratory:
    """Where samples are made: knows the drivers, the environment and the counters."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], interrupts: Interrupts
    ) -> None:
        self.folder = folder
        self.perf: Optional[PerfStat] = None
        self._environment = dict(environment)
        self._interrupts = interrupts
        self._preload = PreloadPaths()
        self._fingerprints: dict[str, tuple[int, ...]] = {}
        self._libraries: dict[str, Path] = {}
        self._pages = FreshPages()
        self.programs = ProgramBench(folder, environment, self._preload, interrupts)

    def close(self) -> None:
        """Remove temporary files."""
        self.programs.close()
        self._preload.close()
        if self.perf is not None:
            self.perf.close()

    def driver(self, allocator: Allocator, workload: str) -> Path:
        """Return the program that measures an allocator."""
        return self.folder / allocator.driver_name(workload)

    def probe(self, allocator: Allocator, workload: str) -> Attempt:
        """Run a driver as shortly as possible, to see whether it works and who serves it."""
        if workload in PROGRAMS:
            command = self.programs.probe(workload, allocator)
            return self._attempt_program(allocator, workload, command, PROBE_LIMIT_SECONDS)
        arguments = ["--json", *WORKLOADS[workload].probe]
        if allocator.kind == "none":
            arguments.append("--none")
        return self._attempt(allocator, workload, arguments, PROBE_LIMIT_SECONDS)

    def calibrate(self, cell: Cell, allocator: Allocator, settings: Settings) -> Cell:
        """Return the cell with the number of operations that `allocator` does in the duration.

        Where the driver fails the number stays at what was tried last: the samples will fail for
        the same reason, and say so.
        """
        operations = _CALIBRATION_START
        for _ in range(4):
            arguments = driver_arguments(
                with_operations(cell, operations), duration=settings.duration_seconds,
                seed=settings.workload_seed, check=settings.check, latency=settings.latency,
                none=allocator.kind == "none",
            )
            limit = settings.sample_limit_seconds or _UNKNOWN_LENGTH_LIMIT_SECONDS
            report = self._attempt(allocator, cell.workload, arguments, limit).report
            if report is None:
                break
            wall = max(_steady_seconds(report, WORKLOADS[cell.workload].steady), 1e-6)
            enough = wall >= settings.duration_seconds / 4
            growth = min(settings.duration_seconds / wall, 1000.0)
            operations = _two_digits(min(operations * growth, _MAX_OPERATIONS))
            if enough:
                break
        return with_operations(cell, operations)

    def remember(self, path: Path) -> None:
        """Watch a file that the numbers depend on: a sample fails once it has changed."""
        self._fingerprints[str(path)] = _fingerprint(path)

    def remember_library(self, name: str, path: Path) -> None:
        """Watch the library that serves an allocator's drivers, linked or preloaded."""
        self._libraries[name] = path
        self.remember(path)

    def sample(self, ticket: Ticket, settings: Settings) -> Sample:
        """Measure one sample. Raises Interrupted when the run was asked to stop."""
        cell, allocator = ticket.cell, ticket.allocator
        program: Optional[ProgramCommand] = None
        if cell.is_program:
            program = self.programs.command(cell, allocator, settings.workload_seed)
        arguments = program.recorded if program else driver_arguments(
            cell, duration=settings.duration_seconds, seed=settings.workload_seed,
            check=settings.check, latency=settings.latency, none=allocator.kind == "none",
        )
        sample = Sample(
            round=ticket.round, position=ticket.position, warmup=ticket.warmup, cell=cell.id,
            workload=cell.workload, allocator=allocator.name, status="failed", started=utc_now(),
            elapsed_seconds=0.0, arguments=arguments, load_average=load_average(), provider=None,
            measured=None, counters=None, failure=None,
        )
        changed = self._changed(allocator, cell.workload)
        if changed is not None:
            return replace(sample, failure=Failure("changed", changed, []))
        # All at once, at the round's first sample.
        watched = [Path(path) for path in self._fingerprints]
        self._pages.begin(ticket.round, [*watched, *self._files(allocator, cell.workload)])
        limit = sample_limit(cell, settings)
        if program is not None:
            # Not counted: the counters could not tell a program from what it talks with.
            attempt = self._attempt_program(allocator, cell.workload, program, limit)
            return _finished(sample, attempt)
        counted = self.perf is not None and self.perf.active
        attempt = self._attempt(allocator, cell.workload, arguments, limit, counted)
        counters, notes = None, []
        if counted and self.perf is not None:
            counters = self.perf.read()
            if attempt.report is None and counters is None and not attempt.outcome.timed_out:
                attempt = self._attempt(allocator, cell.workload, arguments, limit)
            if counters is None:
                notes.append("perf stat gave no numbers")
        return replace(
            _finished(sample, attempt),
            counters=counters if attempt.failure is None else None,
            notes=notes,
        )

    def run_under(
        self, wrapper: Sequence[str], variables: Mapping[str, str], allocator: Allocator, workload: str,
        arguments: list[str], limit: float,
    ) -> Attempt:
        """Run a driver under another program, which gets its command line behind its own, and with
        these environment variables."""
        command = [*wrapper, str(self.driver(allocator, workload)), *arguments]
        preload = self._preload.path(allocator)
        preloaded = {} if preload is None else {"LD_PRELOAD": preload}
        environment = {**self._environment, **variables, **preloaded}
        outcome = run_program(command, environment, limit, self._interrupts)
        return _judged(outcome, allocator, workload, arguments, limit, counted=False)

    def _attempt_program(
        self, allocator: Allocator, workload: str, program: ProgramCommand, limit: float
    ) -> Attempt:
        outcome = run_program(program.command, program.environment, limit, self._interrupts)
        return _judged(outcome, allocator, workload, program.recorded, limit, counted=False)

    def _attempt(
        self, allocator: Allocator, workload: str, arguments: list[str], limit: float,
        counted: bool = False,
    ) -> Attempt:
        command = [str(self.driver(allocator, workload)), *arguments]
        environment = self._environment
        preload = self._preload.path(allocator)
        variables = {} if preload is None else {"LD_PRELOAD": preload}
        if counted and self.perf is not None:
            command = self.perf.wrap(command, variables)
            environment = self.perf.environment(environment)
        else:
            environment = {**environment, **variables}
        outcome = run_program(command, environment, limit, self._interrupts)
        return _judged(outcome, allocator, workload, arguments, limit, counted)

    def _files(self, allocator: Allocator, workload: str) -> list[Path]:
        """Return the files on which the numbers depend; of a program, without those that it starts or
        is linked with."""
        paths = [self.driver(allocator, workload)]
        if workload in PROGRAMS:
            paths = self.programs.files(workload)
        if allocator.name in self._libraries:
            paths.append(self._libraries[allocator.name])
        return paths

    def _changed(self, allocator: Allocator, workload: str) -> Optional[str]:
        for path in self._files(allocator, workload):
            before = self._fingerprints.get(str(path))
            if before is not None and _fingerprint(path) != before:
                return f"{path.name} was changed or removed while the run was going on"
        return None


def _judged(
    outcome: Outcome, allocator: Allocator, workload: str, arguments: list[str], limit: float,
    counted: bool,
) -> Attempt:
    """Read what a driver said, and find out why it can't count if it can't."""
    failure = _ending_problem(outcome, limit, counted)
    report = None
    if failure is None:
        try:
            report = parse_report(outcome.output)
        except DecodeError as error:
            failure = Failure("output", str(error), outcome.error_lines)
    if report is not None:
        problem = report_problem(report, allocator, workload, arguments)
        if problem is not None:
            failure = Failure(problem[0], problem[1], outcome.error_lines)
    return Attempt(outcome, report, failure)


def _finished(sample: Sample, attempt: Attempt) -> Sample:
    """Return the sample with what came of the attempt."""
    good = attempt.failure is None
    return replace(
        sample,
        status="ok" if good else "failed",
        elapsed_seconds=round(attempt.outcome.elapsed_seconds, 6),
        provider=_shown_provider(attempt.report),
        measured=attempt.report.measurement() if attempt.report and good else None,
        failure=attempt.failure,
    )


def sample_limit(cell: Cell, settings: Settings) -> float:
    """Return after how many seconds a sample of this cell is killed."""
    if settings.sample_limit_seconds is not None:
        return settings.sample_limit_seconds
    seconds = sample_seconds(cell, settings.duration_seconds)
    return _UNKNOWN_LENGTH_LIMIT_SECONDS if seconds is None else 60.0 + 20.0 * seconds


def _ending_problem(outcome: Outcome, limit: float, counted: bool) -> Optional[Failure]:
    """Return why a driver did not end well, None if it did."""
    lines = outcome.error_lines
    if outcome.start_error is not None:
        return Failure("start", f"the driver could not be started: {outcome.start_error}", [])
    if outcome.timed_out:
        return Failure("timeout", f"killed after {in_words(limit)} without an end", lines)
    number = outcome.signal_number
    if counted and number is None:
        number = crash_under_perf(outcome)
    if number is not None:
        return Failure("crash", f"ended by {signal_phrase(number)}", lines)
    if outcome.output_cut:
        return Failure("output", "the driver printed more than any report is long", lines)
    if outcome.status:
        last = f": {lines[-1]}" if lines else ""
        kind = "usage" if outcome.status == 2 else "exit"
        return Failure(kind, f"exit status {outcome.status}{last}", lines)
    return None


def _fingerprint(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _steady_seconds(report: DriverReport, phase: str) -> float:
    """Return how long the phase took that a length is meant for: filling a table of ten million slots
    takes longer than many a sample."""
    found = [each.wall_seconds for each in report.phases if each.name == phase]
    return found[0] if found else report.wall_seconds


def _two_digits(number: float) -> int:
    """Round to two significant digits, at least 1."""
    whole = max(1, int(number))
    scale = 10 ** max(0, len(str(whole)) - 2)
    return max(1, round(whole / scale)) * scale
