"""Where real programs are measured: a scratch folder with their inputs, and the command lines of
the launcher that runs them with an allocator preloaded."""
from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runner import machine
from runner.allocators import Allocator, PreloadPaths, library_of
from runner.errors import UsageError, explain_os_error
from runner.execute import run_program
from runner.interrupts import Interrupts
from runner.programs import (
    LAUNCHER, PROGRAMS, WITNESS, Program, Start, file_names, find_program, missing_sentence,
    program_environment,
)
from runner.records import Cell

_REFERENCE_LIMIT_SECONDS = 600.0
_VERSION_SECONDS = 30.0


@dataclass(frozen=True)
class ProgramCommand:
    """How to run one sample: the command line, its environment, and the part of the command line
    that is worth recording, without paths of a scratch folder."""

    command: list[str]
    environment: dict[str, str]
    recorded: list[str]


class ProgramBench:
    """Prepares inputs once for each cell, and tells how a sample is run. Not thread-safe."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], preload: PreloadPaths,
        interrupts: Interrupts,
    ) -> None:
        self._folder, self._environment = folder.resolve(), dict(environment)
        self._preload, self._interrupts = preload, interrupts
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Remove the scratch folder."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def files(self, workload: str) -> list[Path]:
        """Return what a sample's numbers depend on beside the allocator."""
        return [self._folder / LAUNCHER, self._folder / WITNESS, self.executable(workload)]

    def executable(self, workload: str) -> Path:
        """Return the program of a workload."""
        found = find_program(PROGRAMS[workload])
        if found is None:
            raise UsageError(
                f"{workload} can't be measured: {missing_sentence(PROGRAMS[workload])}."
            )
        return found

    def started_as(self, workload: str) -> str:
        """Return the path by which a program is started: a link where its name matters."""
        executable, name = self.executable(workload), PROGRAMS[workload].started_as
        if name is None or executable.name == name:
            return str(executable)
        link = self._scratch_folder() / name
        if not link.is_symlink():
            link.symlink_to(executable)
        return str(link)

    def version(self, workload: str) -> str:
        """Return the first line of what a program says to --version."""
        try:
            done = subprocess.run(
                [self.started_as(workload), "--version"], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_VERSION_SECONDS,
                check=False, env=program_environment(
                    PROGRAMS[workload], self._environment, {}, Path("/nonexistent")
                ),
            )
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        return lines[0][:120] if lines else "unknown"

    def prepare(self, cell: Cell, seed: int) -> Cell:
        """Make the input of a cell, and with the system's allocator what must come of it. Return
        the cell with the units of work and the input's hash. Raises UsageError, Interrupted."""
        program = PROGRAMS[cell.workload]
        folder = self._input_folder(cell)
        seed = int(cell.parameters.get("seed", seed))
        try:
            folder.mkdir(parents=True)
            operations = program.prepare(folder, seed, int(cell.parameters["work"]))
            digest = _digest(folder)
        except OSError as error:
            raise UsageError(explain_os_error(error, folder)) from error
        cell = replace(cell, input_sha256=digest, units=operations)
        if program.made is not None:
            self._make_reference(program, cell, seed)
        self._interrupts.check()
        return cell

    def command(self, cell: Cell, allocator: Allocator, seed: int) -> ProgramCommand:
        """Return how one sample of a prepared cell is run."""
        program = PROGRAMS[cell.workload]
        start = program.start(self.started_as(cell.workload))
        seed = int(cell.parameters.get("seed", seed))
        figures = ["--operations", str(cell.units), "--work", str(cell.parameters["work"]),
                   "--seed", str(seed)]
        options = [*start.launcher_options]
        if program.made is not None:
            options += ["--expect", "expected"]
        return ProgramCommand(
            self._line(cell.workload, self._input_folder(cell), allocator, [*figures, *options], start),
            self._environment_for(program, self._input_folder(cell)),
            [*figures, "--", str(self.executable(cell.workload)), *start.arguments[1:]],
        )

    def probe(self, workload: str, allocator: Allocator) -> ProgramCommand:
        """Return how the program is run as shortly as possible."""
        executable = self.started_as(workload)
        folder = self._scratch_folder()
        options = ["--main", Path(executable).name]
        start = Start([], [executable, "--version"])
        return ProgramCommand(
            self._line(workload, folder, allocator, options, start),
            self._environment_for(PROGRAMS[workload], folder), [],
        )

    def _line(
        self, workload: str, folder: Path, allocator: Allocator, options: list[str], start: Start
    ) -> list[str]:
        library = library_of(allocator, self._folder)
        line = [
            str(self._folder / LAUNCHER), "--json", "--workload", workload,
            "--preload", self._preload.link(allocator.link_name, library),
            "--witness", self._preload.link("witness", str(self._folder / WITNESS)),
            "--directory", str(folder), *options, "--", *start.arguments,
        ]
        return [*line, "--", *start.client] if start.client else line

    def _environment_for(self, program: Program, folder: Path) -> dict[str, str]:
        tuning = machine.tuning_environment(self._environment)
        return program_environment(program, self._environment, tuning, folder)

    def _make_reference(self, program: Program, cell: Cell, seed: int) -> None:
        """Run with the system's allocator; what comes out is what must come out."""
        assert program.made is not None
        folder = self._input_folder(cell)
        start = program.start(self.started_as(cell.workload))
        system = Allocator("system", "linked")
        line = self._line(cell.workload, folder, system, start.launcher_options, start)
        outcome = run_program(
            line, self._environment_for(program, folder), _REFERENCE_LIMIT_SECONDS, self._interrupts
        )
        made = folder / program.made
        reason = "; ".join(outcome.error_lines[-2:]) or outcome.start_error or "no message"
        if outcome.status != 0:
            raise UsageError(
                f"{cell.workload} can't be measured: {start.arguments[0]} fails even with the "
                f"system's allocator ({reason}); see whether it works by itself."
            )
        text = made.read_bytes() if made.is_file() else b""
        if not text or not text.endswith((program.ending or "").encode()):
            raise UsageError(
                f"{cell.workload} can't be measured: {start.arguments[0]} did not do its work with "
                f"the system's allocator ({reason}); see whether it works by itself."
            )
        os.replace(made, folder / "expected")

    def _scratch_folder(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="hakmem-programs-")
        return Path(self._scratch.name)

    def _input_folder(self, cell: Cell) -> Path:
        name = hashlib.sha256(cell.id.encode()).hexdigest()[:8]
        return self._scratch_folder() / f"{cell.workload}-{name}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in file_names(folder):
        data = (folder / name).read_bytes()
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
