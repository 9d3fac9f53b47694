"""Processes that end while threads allocate, libraries that come and go, fork handlers that allocate."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Callable

import pytest

PROGRAMS = Path(__file__).resolve().parent / "programs"
STRICT = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
          "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror"]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """compiled("ending"): a program of programs/, linked with nothing but the C library."""
    folder = tmp_path_factory.mktemp("programs")

    def get(name: str, *flags: str) -> Path:
        path = folder / name
        if not path.exists():
            # A compiler that knows malloc leaves out pairs of malloc and free.
            subprocess.run(["gcc", *STRICT, "-fno-builtin", "-pthread", str(PROGRAMS / f"{name}.c"), "-o", str(path),
                            "-ldl", *flags], check=True)
        return path

    return get


@pytest.fixture(scope="session")
def library(program, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """library("guard"): hakmem under a path that LD_PRELOAD can name."""
    folder = tmp_path_factory.mktemp("library")

    def get(variant: str) -> Path:
        link = folder / f"{variant}.so"
        if not link.is_symlink():
            link.symlink_to(program("libhakmem.so", variant))
        return link

    return get


WAYS = {
    "return": 3,
    "exit": 4,
    "_exit": 5,
    "quick_exit": 6,
    "exit-in-thread": 7,
    "pthread_exit-then-exit": 7,
    "pthread_exit": 0,
    "exec": 8,
    "abort": -signal.SIGABRT,
    "kill": -signal.SIGTERM,
}


@pytest.mark.parametrize("variant", ["release", "guard"])
@pytest.mark.parametrize("way", WAYS)
def test_a_process_may_end_while_threads_allocate(way: str, variant: str, compiled, library, execute) -> None:
    for _ in range(50 if variant == "release" else 10):
        done = execute(compiled("ending"), way, preload=library(variant))
        assert done.returncode != -signal.SIGALRM, "it hung"
        assert (done.returncode, done.stdout, done.stderr) == (WAYS[way], "", "")


def test_counters_are_printed_while_threads_allocate(compiled, library, execute) -> None:
    for _ in range(10):
        done = execute(compiled("ending"), "exit", preload=library("release"), HAKMEM_STATS="1")
        assert done.returncode == 4
        assert done.stderr.startswith("hakmem: statistics of process ")
        assert "\nhakmem: counters at exit\n" in done.stderr


def test_an_unknown_way_is_refused(compiled, execute) -> None:
    assert execute(compiled("ending"), "later").returncode == 2


@pytest.mark.parametrize("variant", ["release", "guard"])
def test_a_library_may_come_and_go(variant: str, compiled, library, execute) -> None:
    plugin = compiled("plugin", "-shared", "-fPIC")
    done = execute(compiled("loading"), str(plugin), preload=library(variant))
    assert done.returncode != -signal.SIGALRM, "it hung"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variant", ["release", "guard"])
def test_fork_handlers_may_allocate(variant: str, compiled, library, execute) -> None:
    done = execute(compiled("forking"), preload=library(variant))
    assert done.returncode != -signal.SIGALRM, "it hung"
    assert (done.returncode, done.stderr) == (0, "")
