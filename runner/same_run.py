"""Checks that a run that is to go on is still the same: options, files, environment, machine, inputs."""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner import machine
from runner.allocators import parse_allocators
from runner.errors import UsageError
from runner.matrix import parse_matrix, parse_workloads
from runner.options import Options
from runner.plan import allocators_of, make_request, program_file
from runner.programs import PROGRAMS, find_program
from runner.records import Cell, RunHeader


def check_same_run(header: RunHeader, options: Options, folder: Path, root: Path) -> None:
    """Raise UsageError unless the options given and the files found are those of the run."""
    path = options.resume
    for option, same in _comparisons(header, options, root):
        if not same:
            raise UsageError(
                f"--resume {path}: that run was started with another {option}; leave the option "
                "away to go on with it, or start a new run."
            )
    for entry in header.allocators:
        names = [folder / Path(file.path).name for file in entry.drivers.values()]
        files = list(zip(names, entry.drivers.values()))
        if entry.library is not None:
            files.append((root / entry.library.path, entry.library))
        for found, recorded in files:
            if not found.is_file() or program_file(found, root).sha256 != recorded.sha256:
                raise UsageError(
                    f"--resume {path}: '{found}' is missing or is no longer the file that the run "
                    "was started with; start a new run."
                )
    _check_same_programs(header, options, root)
    environment = machine.tuning_environment(os.environ)
    for variable in sorted(set(environment) | set(header.environment)):
        if environment.get(variable) != header.environment.get(variable):
            was = header.environment.get(variable)
            raise UsageError(
                f"--resume {path}: that run was started with {variable} "
                f"{'unset' if was is None else 'set to ' + repr(was)}; set it so, or start a new "
                "run."
            )
    now = machine.describe_machine()
    if (now.cpu_model, now.cores_available) != (
        header.machine.cpu_model, header.machine.cores_available
    ):
        raise UsageError(
            f"--resume {path}: that run was started on another processor or with another number "
            "of cores; go on with it there, or start a new run."
        )


def _check_same_programs(header: RunHeader, options: Options, root: Path) -> None:
    for name, entry in header.programs.items():
        found = find_program(PROGRAMS[name]) if name in PROGRAMS else None
        if found is None or program_file(found, root).sha256 != entry.sha256:
            raise UsageError(
                f"--resume {options.resume}: {name} ({entry.path}) is missing or is no longer the "
                "program that the run was started with; start a new run."
            )


def check_same_inputs(header: RunHeader, cells: Sequence[Cell], path: Path) -> None:
    """Raise UsageError unless the programs' inputs, made anew, are those of the run."""
    for before, now in zip(header.cells, cells):
        if before.input_sha256 != now.input_sha256:
            raise UsageError(
                f"--resume {path}: the input of {before.id} is made otherwise now than when the run "
                "was started; start a new run."
            )


def _comparisons(
    header: RunHeader, options: Options, root: Path
) -> list[tuple[str, bool]]:
    """Return for each option that was given whether it is what the run was started with."""
    settings = header.settings
    given: list[tuple[str, bool]] = []
    if options.matrix:
        given.append(("--matrix", parse_matrix(options.matrix) == header.matrix))
    if options.matrix_file is not None:
        wanted_cells = [cell.id for cell in make_request(replace(options, resume=None)).cells]
        given.append(("--matrix-file", wanted_cells == [cell.id for cell in header.cells]))
    elif options.workloads:
        given.append(("--workloads", [
            name for name in parse_workloads(options.workloads) if name not in header.skipped
        ] == header.workloads))
    if options.allocators:
        wanted = [(a.name, a.library) for a in parse_allocators(options.allocators)]
        recorded_ones = [(a.name, a.library) for a in allocators_of(header, root) if a.option is None]
        given.append(("--allocators", wanted == recorded_ones))
    for option, value, recorded in (
        ("--repeat", options.repeat, settings.rounds),
        ("--duration", options.duration, settings.duration_seconds),
        ("--time-budget", options.time_budget, settings.budget_seconds),
        ("--seed", options.seed, settings.workload_seed),
        ("--order-seed", options.order_seed, settings.order_seed),
        ("--sample-limit", options.sample_limit, settings.sample_limit_seconds),
        ("--effect", options.effect, settings.effect),
        ("--check", options.check or None, settings.check),
        ("--latency", options.latency or None, settings.latency),
        ("--quick", options.quick or None, settings.quick),
    ):
        if value is not None:
            given.append((option, value == recorded))
    return given
