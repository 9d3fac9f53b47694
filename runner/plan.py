"""Makes the plan of a new run: cells, allocators that can be measured, effort."""
from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

from runner import machine
from runner.adaptive import first_rounds
from runner.allocators import (
    NONE, OWN_LIBRARIES, Allocator, check_library, missing_library, parse_allocators,
)
from runner.building import VARIANT, build_drivers, drivers_folder
from runner.verdict.comparison import DEFAULT_EFFECT
from runner.counters import PerfStat
from runner.driver_output import DriverReport
from runner.errors import UsageError, explain_os_error
from runner.interrupts import Interrupts
from runner.matrix import (
    make_cells, needs_calibration, parse_matrix, parse_workloads, sample_seconds, without_repeats,
)
from runner.matrix_file import Block, cells_of, narrowed, read_blocks, union_of
from runner.measure import Laboratory, utc_now
from runner.options import Options
from runner.paths import shown_path
from runner.programs import (
    FULL_WORK, LAUNCHER, PROGRAMS, QUICK_WORK, WITNESS, find_program, missing_sentence,
)
from runner.records import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    AllocatorEntry,
    Build,
    BuildEntry,
    Cell,
    ProgramEntry,
    ProgramFile,
    RunHeader,
    Settings,
    Value,
)
from runner.schedule import Effort, choose_comparison_effort, choose_effort

DEFAULT_SEED = 42
QUICK_THREADS = (1, 2, 4)


@dataclass(frozen=True)
class Request:
    """What a new run is asked to measure, checked as far as it can be without running anything."""

    workloads: list[str]
    matrix: dict[str, list[Value]]
    cells: list[Cell]
    allocators: list[Allocator]
    named: bool  # the user named what is measured, so that something missing is an error
    repeated: list[tuple[Cell, Cell]]  # cells left out, each with the one that is the same run
    left_out: dict[str, str]  # programs that are not installed, with the reason

    @property
    def programs(self) -> list[str]:
        """The workloads that are real programs."""
        return [name for name in self.workloads if name in PROGRAMS]

    def with_builds(self, builds: Sequence[Allocator]) -> Request:
        """Return the request with the builds of a comparison before what else is measured."""
        taken = {name for build in builds for name in (build.name, build.link_name)}
        for other in self.allocators:
            if other.name in taken:
                raise UsageError(
                    f"--allocators {other.name}: a build of the comparison has that name; take another."
                )
        return replace(self, allocators=[*builds, *self.allocators])

    def targets(self, allocator: Allocator) -> list[str]:
        """Return what make has to build to measure an allocator."""
        names = [allocator.driver_name(w) for w in self.workloads if w not in PROGRAMS]
        if self.programs:
            names += [LAUNCHER, WITNESS]
            if allocator.name in OWN_LIBRARIES and allocator.library is None:
                names.append(OWN_LIBRARIES[allocator.name])
        return names


def make_request(options: Options) -> Request:
    """Return the request in the options; raises UsageError."""
    blocks = _blocks(options)
    wanted = list(dict.fromkeys(block.workload for block in blocks)) or parse_workloads(options.workloads)
    workloads, left_out = _installed(wanted)
    threads = QUICK_THREADS if options.quick else _doubling_threads()
    work = QUICK_WORK if options.quick else FULL_WORK
    if options.matrix_file is not None:
        blocks = [block for block in blocks if block.workload in workloads]
        matrix, planned = union_of(blocks), cells_of(blocks, threads, work)
    else:
        matrix = parse_matrix(options.matrix)
        planned = make_cells(workloads, matrix, threads, work)
    cells, repeated = without_repeats(planned)
    allocators = parse_allocators(options.allocators) if options.allocators or not options.rev else []
    request = Request(
        workloads, matrix, cells, allocators, bool(options.allocators or options.rev), repeated, left_out
    )
    if options.rev:  # before anything is built
        _effort(request, options, len(options.rev) + len(allocators), len(options.rev))
    if request.programs and any(allocator.kind == NONE for allocator in allocators):
        raise UsageError(
            f"--allocators none: {request.programs[0]} can't do without an allocator; leave none "
            "away, or measure the other workloads by themselves."
        )
    return request


def _blocks(options: Options) -> list[Block]:
    """Return the blocks of --matrix-file that --workloads leaves, none without such a file."""
    if options.matrix_file is None:
        return []
    blocks = read_blocks(options.matrix_file)
    if not options.workloads:
        return blocks
    return narrowed(blocks, parse_workloads(options.workloads), options.matrix_file)


def _installed(workloads: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the workloads without the programs that are not here, and why these are left out."""
    missing = {
        name: missing_sentence(PROGRAMS[name]) for name in workloads
        if name in PROGRAMS and find_program(PROGRAMS[name]) is None
    }
    kept = [name for name in workloads if name not in missing]
    if not kept:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise UsageError(f"--workloads: nothing is left to measure: {reasons}.")
    return kept, missing


def _doubling_threads() -> list[int]:
    """1, 2, 4 and on to twice the cores."""
    threads = [1, 2, 4]
    while threads[-1] * 2 <= 2 * machine.cores_available():
        threads.append(threads[-1] * 2)
    return threads


def check_libraries(request: Request, folder: Path) -> None:
    """Raise UsageError for a library that can't serve malloc."""
    system = Allocator("system", "linked")
    for allocator in request.allocators:
        check_library(allocator, folder / system.driver_name(request.workloads[0]))


def provide_drivers(
    request: Request, options: Options, root: Path, say: Callable[[str], None]
) -> tuple[list[Allocator], dict[str, str]]:
    """Build the drivers. Return the allocators that have all of theirs, and why others are left
    out; an allocator that was named, or that is always there, is never left out."""
    folder = options.drivers or drivers_folder(root)
    failures: dict[str, str] = {}
    if options.build:
        failures = build_drivers(
            root,
            {
                allocator.name: request.targets(allocator)
                for allocator in request.allocators
            },
        )
    kept: list[Allocator] = []
    skipped = dict(request.left_out)
    for name, reason in skipped.items():
        say(f"Left out: {name}: {reason}")
    for allocator in request.allocators:
        reason = failures.get(allocator.name) or _missing_driver(allocator, request, folder)
        if reason is None:
            kept.append(allocator)
        elif request.named or (options.build and allocator.name in ("hakmem", "system")):
            raise UsageError(f"{allocator.name} can't be measured: {reason.rstrip('.')}.")
        else:
            skipped[allocator.name] = reason
            say(f"Left out: {allocator.name}: {reason}")
    if not kept:
        raise UsageError(
            f"there is no driver in '{folder}'; build them with make all, or leave --no-build away."
        )
    return kept, skipped


_MANY_CALIBRATIONS = 10


def notes_before(request: Request, options: Options) -> list[str]:
    """Return what the user must know before anything runs: what takes its time, and what does not apply."""
    notes: list[str] = []
    open_cells = sum(needs_calibration(cell) for cell in request.cells)
    if open_cells > _MANY_CALIBRATIONS:
        notes.append(f"Finding out how many operations {open_cells} cells take for their length.")
    return [*notes, *_program_notes(request, options)]


def _program_notes(request: Request, options: Options) -> list[str]:
    if not request.programs:
        return []
    names = ", ".join(request.programs)
    notes = [f"Making the inputs of {names}, and with the system's malloc what must come of them."]
    if "threads" in request.matrix and options.matrix_file is None:
        notes.append(f"threads do not apply to {names}: each is measured once a round.")
    if options.check or options.latency:
        notes.append(f"--check and --latency do not apply to {names}: their results are always "
                     "compared, and single calls are not timed.")
    return notes


def _missing_driver(allocator: Allocator, request: Request, folder: Path) -> Optional[str]:
    for workload in request.workloads:
        path = folder / allocator.driver_name(workload)
        if not (path.is_file() and os.access(path, os.X_OK)):
            return f"there is no program {path.name} in {folder}; build it with make {path.name}"
    return missing_library(allocator, folder) if request.programs else None


@dataclass(frozen=True)
class RunName:
    """What a run is known by, and the command line that started it."""

    id: str
    command: list[str]


def new_run_id() -> str:
    """Return the time and a few random digits."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Probed:
    """What the probe runs told."""

    entries: list[AllocatorEntry]
    build: Build


def probe_allocators(
    laboratory: Laboratory, allocators: Sequence[Allocator], workloads: Sequence[str], root: Path
) -> Probed:
    """Run every driver once, shortly. A preloaded library must serve malloc in all of them, else
    UsageError; other drivers that fail will fail in their samples, and say so."""
    entries: list[AllocatorEntry] = []
    build: Optional[Build] = None
    for allocator in allocators:
        found: Optional[DriverReport] = None
        drivers: dict[str, ProgramFile] = {}
        for workload in workloads:
            drivers[workload] = program_file(laboratory.driver(allocator, workload), root)
            laboratory.remember(laboratory.driver(allocator, workload))
            attempt = laboratory.probe(allocator, workload)
            if attempt.failure is not None and allocator.library is not None:
                raise UsageError(
                    f"{allocator.where}: the library does not "
                    f"serve malloc when it is preloaded: {attempt.failure.reason}; see what "
                    f"LD_PRELOAD='{allocator.library}' /bin/true says."
                )
            found = found or (attempt.report if attempt.failure is None else None)
        if found is not None and build is None:
            build = Build(found.variant, found.compiler, found.flags)
        entry = _entry(allocator, found, drivers, root)
        entries.append(entry)
        if entry.library is not None:
            laboratory.remember_library(allocator.name, root / entry.library.path)
        elif allocator.library is not None:
            laboratory.remember_library(allocator.name, allocator.library)
    return Probed(entries, build or Build(VARIANT, "unknown", "unknown"))


def _entry(
    allocator: Allocator,
    report: Optional[DriverReport],
    drivers: dict[str, ProgramFile],
    root: Path,
) -> AllocatorEntry:
    library: Optional[ProgramFile] = None
    version = build_id = None
    if allocator.kind != "none" and report is not None:
        version, build_id = report.provider.version, report.provider.build_id
        if report.provider.path is not None and os.path.isfile(report.provider.path):
            library = program_file(Path(report.provider.path), root)
    return AllocatorEntry(
        allocator.name, allocator.kind, library, version, build_id, drivers
    )


def program_file(path: Path, root: Path) -> ProgramFile:
    """Return path (relative to the tree where it lies in it) and hash of a file."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    return ProgramFile(shown_path(path, root), digest.hexdigest())


def make_header(
    request: Request,
    options: Options,
    laboratory: Laboratory,
    allocators: list[Allocator],
    skipped: dict[str, str],
    root: Path,
    name: RunName,
    interrupts: Interrupts,
    builds: Sequence[BuildEntry] = (),
) -> RunHeader:
    """Probe the drivers, choose the effort, calibrate, and return the run's first record; of a
    comparison, if there are `builds`."""
    probed = probe_allocators(laboratory, allocators, request.workloads, root)
    effort = _effort(request, options, len(allocators), len(builds))
    environment = machine.driver_environment(os.environ)
    laboratory.perf = PerfStat.probe(environment, interrupts)
    settings = Settings(
        duration_seconds=effort.duration_seconds,
        rounds=effort.rounds,
        budget_seconds=effort.budget_seconds,
        check=options.check,
        latency=options.latency,
        quick=options.quick,
        workload_seed=DEFAULT_SEED if options.seed is None else options.seed,
        order_seed=secrets.randbits(32) if options.order_seed is None else options.order_seed,
        sample_limit_seconds=options.sample_limit,
        effect=(options.effect or DEFAULT_EFFECT) if builds else None,
    )
    judge = next((a for a in allocators if a.name == "system"), allocators[0])
    system = Allocator("system", "linked")
    if builds:
        judge = allocators[0]
    elif not _missing_driver(system, request, laboratory.folder):
        judge = system
    cells = [
        laboratory.calibrate(cell, judge, settings) if needs_calibration(cell) else cell
        for cell in prepare_programs(laboratory, request.cells, settings.workload_seed)
    ]
    return RunHeader(
        schema=SCHEMA_NAME,
        schema_version=SCHEMA_VERSION,
        id=name.id,
        started=utc_now(),
        command=name.command,
        environment=machine.tuning_environment(os.environ),
        machine=machine.describe_machine(),
        build=probed.build,
        git=machine.describe_git(root),
        counters=laboratory.perf.setup,
        settings=settings,
        matrix=request.matrix,
        workloads=request.workloads,
        allocators=probed.entries,
        skipped=skipped,
        cells=cells,
        programs={name: _program_entry(laboratory, name, root) for name in request.programs},
        builds=list(builds),
    )


def _effort(request: Request, options: Options, allocators: int, builds: int) -> Effort:
    programs = [cell for cell in request.cells if cell.is_program]
    items = (len(request.cells) - len(programs)) * allocators
    fixed = allocators * sum(sample_seconds(cell, 0.0) or 0.0 for cell in programs)
    if builds:
        return choose_comparison_effort(
            items, first_rounds(len(request.cells), builds), quick=options.quick,
            duration=options.duration, repeat=options.repeat, budget=options.time_budget, fixed_seconds=fixed,
        )
    return choose_effort(
        items, quick=options.quick, duration=options.duration, repeat=options.repeat,
        budget=options.time_budget, fixed_seconds=fixed,
    )


def prepare_programs(laboratory: Laboratory, cells: Sequence[Cell], seed: int) -> list[Cell]:
    """Make the inputs of the programs among the cells, and return all cells."""
    return [
        laboratory.programs.prepare(cell, seed) if cell.is_program else cell for cell in cells
    ]


def _program_entry(laboratory: Laboratory, workload: str, root: Path) -> ProgramEntry:
    for path in laboratory.programs.files(workload):
        laboratory.remember(path)
    file = program_file(laboratory.programs.executable(workload), root)
    return ProgramEntry(
        file.path, file.sha256, laboratory.programs.version(workload), PROGRAMS[workload].units
    )


def allocators_of(header: RunHeader, root: Path) -> list[Allocator]:
    """Return the allocators of a recorded run."""
    options = {build.allocator: f"--rev {build.given}" for build in header.builds}
    return [
        Allocator(
            entry.name, entry.kind,
            root / entry.library.path if entry.kind == "preloaded" and entry.library else None,
            options.get(entry.name),
        )
        for entry in header.allocators
    ]
