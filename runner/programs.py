"""The real programs that can be measured: where they are found, what they are given to do, and how
they are started.

A program does a fixed amount of work with an allocator preloaded; what counts is the processor time
it takes. Its input is made from a seed, once a session, by workloads/programs.
"""
from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from workloads.programs import gcc_source, python_work, redis_commands, sqlite_script

SOURCES = Path(redis_commands.__file__).resolve().parent
FULL_WORK = 100  # per cent
QUICK_WORK = 40
LAUNCHER = "run_program"
WITNESS = "libwl_witness.so"
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LD_BIND_NOW")


@dataclass(frozen=True)
class Start:
    """How a program is started for one sample, in the folder with its input."""

    launcher_options: list[str]
    arguments: list[str]
    client: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A real program. `executables` are tried in order: names on the PATH, or paths. `prepare`
    writes the input into a folder and returns how many units of work it holds; `start` says how the
    program is started there. `made` is the file that must come out alike with every allocator."""

    name: str
    executables: tuple[str, ...]
    package: str
    units: str
    full_seconds: float  # roughly what a full sample takes
    prepare: Callable[[Path, int, int], int]
    start: Callable[[str], Start]
    made: Optional[str]
    ending: Optional[str] = None  # what `made` must end with
    started_as: Optional[str] = None  # a program of several names does what this one says
    environment: Mapping[str, str] = field(default_factory=dict)


def _prepare_redis(folder: Path, seed: int, work: int) -> int:
    return redis_commands.write_conversation(folder / "conversation", seed, work)


def _start_redis(executable: str) -> Start:
    server = [executable, "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly",
              "no", "--daemonize", "no", "--loglevel", "warning"]
    client = [sys.executable, str(SOURCES / "redis_client.py"), "redis.sock", "conversation"]
    return Start(["--main", "redis-server"], server, client)


def _prepare_sqlite(folder: Path, seed: int, work: int) -> int:
    return sqlite_script.write_script(folder / "script.sql", seed, work)


def _start_sqlite(executable: str) -> Start:
    return Start(["--input", "script.sql", "--output", "made"], [executable, "-batch", ":memory:"])


def _prepare_gcc(folder: Path, seed: int, work: int) -> int:
    return gcc_source.write_source(folder / "source.c", seed, work)


def _start_gcc(executable: str) -> Start:
    return Start(
        ["--main", "cc1", "--result", "made"],
        [executable, "-O2", "-w", "-c", "source.c", "-o", "made"],
    )


def _prepare_python(folder: Path, seed: int, work: int) -> int:
    shutil.copy(SOURCES / "python_work.py", folder / "work.py")
    rounds = max(1, python_work.ROUNDS_AT_FULL * work // FULL_WORK)
    (folder / "arguments").write_text(f"{rounds} {seed}\n", "ascii")
    return rounds


def _start_python(executable: str) -> Start:
    return Start(
        ["--main", Path(executable).name, "--output", "made"],
        [executable, "-S", "-s", "work.py", "arguments"],
    )


PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        # Debian's redis-tools holds the server by another name, and starts none.
        Program("redis", ("redis-server", "redis-check-rdb"), "redis-tools", "commands", 1.3,
                _prepare_redis, _start_redis, None, started_as="redis-server"),
        Program("sqlite", ("sqlite3",), "sqlite3", "statements", 1.2,
                _prepare_sqlite, _start_sqlite, "made", "ok\n"),
        Program("gcc", ("gcc",), "gcc", "functions", 1.4, _prepare_gcc, _start_gcc, "made"),
        Program("python", ("/usr/bin/python3", "python3"), "python3", "rounds", 1.3,
                _prepare_python, _start_python, "made",
                environment={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0",
                             "PYTHONDONTWRITEBYTECODE": "1"}),
    )
}


def find_program(program: Program) -> Optional[Path]:
    """Return where a program is, None where it is not installed. A script in its place, as some
    version managers put, is passed over: what it starts would not be under our eyes."""
    for name in program.executables:
        path = shutil.which(name)
        if path is not None and _is_elf(path):
            return Path(path)
    return None


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) == b"\x7fELF"
    except OSError:
        return False


def missing_sentence(program: Program) -> str:
    """Return why a program is left out and what to do."""
    return (
        f"{Path(program.executables[0]).name} is not installed; install Debian's package "
        f"{program.package}"
    )


def program_environment(
    program: Program, environment: Mapping[str, str], tuning: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """Return a program's environment: little of ours, so that neither a user's settings nor his
    files change the work, but every variable that changes an allocator."""
    kept = {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
    return {
        **kept, **tuning, "LC_ALL": "C", "HOME": str(folder), "TMPDIR": str(folder),
        **program.environment,
    }


def work_seconds(name: str, work: int) -> float:
    """Return roughly how long a sample takes."""
    return PROGRAMS[name].full_seconds * work / FULL_WORK


def file_names(folder: Path) -> list[str]:
    """Return the names of the input's files, sorted."""
    return sorted(os.listdir(folder))
