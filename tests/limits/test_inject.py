"""Each system call for memory fails in turn, once or from then on: every request is refused as it
should be or served, what blocks hold stays, and memory is usable again afterwards."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from tests.limits.conftest import ROOT, make

MMAP, MUNMAP, MPROTECT, MADVISE, MREMAP, ALL = 1, 2, 4, 8, 16, 31
TWO_LEVEL = {"HAKMEM_PAGE_MAP": "2", "HAKMEM_ARENA_RESERVE": "0"}
OWNERSHIP = "-DHAKMEM_DEBUG_OWNERSHIP=1 -DHAKMEM_DEBUG=1"


def run(program: Path, *arguments: object, **environment: str) -> str:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


def runs_and_refused(program: Path, mode: str, calls: int, **environment: str) -> tuple[int, int]:
    found = re.fullmatch(r"runs (\d+) refused (\d+)\n", run(program, mode, calls, **environment))
    assert found
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("mode", "environment"),
    [("once", {}), ("on", {}), ("once", TWO_LEVEL), ("on", {"HAKMEM_CHECK": "1"})],
    ids=["once", "on", "once,two-level,no arena", "on,check"],
)
def test_every_call_fails(injected: Callable[..., Path], mode: str, environment: dict[str, str]) -> None:
    runs, refused = runs_and_refused(injected("inject"), mode, ALL, **environment)
    # One refusal is mostly made good: what is kept for reuse goes back, and the call is made again.
    # 26 calls and more, by how far the scenario's threads overlap.
    assert runs > 20 and (refused < 20 if mode == "once" else refused > 1000)


def test_every_call_fails_while_ownership_is_checked(injected: Callable[..., Path]) -> None:
    runs, refused = runs_and_refused(injected("inject", OWNERSHIP), "once", ALL, HAKMEM_PURGE_DELAY="0")
    # A delay of 0 makes 20 to 40 more: what the threads purge depends on what they find empty.
    assert runs > 40 and refused < 20


@pytest.mark.parametrize("calls", [MUNMAP, MADVISE, MREMAP], ids=["munmap", "madvise", "mremap"])
def test_nothing_is_refused_for_calls_that_can_be_done_without(injected: Callable[..., Path], calls: int) -> None:
    # mremap: the block is copied instead; madvise: the pages stay; munmap: the range is kept.
    runs, refused = runs_and_refused(injected("inject"), "on", calls)
    assert runs > 1 and refused == 0


@pytest.mark.parametrize("page", [16384, 65536])
def test_calls_fit_larger_pages(injected: Callable[..., Path], page: int) -> None:
    """The test build ends a program whose calls a kernel with such pages would refuse."""
    program = injected("inject")
    runs_and_refused(program, "on", MREMAP, HAKMEM_INJECT_PAGE=str(page))
    if page == 65536:
        runs_and_refused(program, "once", MMAP, HAKMEM_INJECT_PAGE=str(page), **TWO_LEVEL)


@pytest.mark.parametrize("program", ["test_api", "test_pool", "test_page_map", "test_heap"])
def test_c_tests_with_pages_of_64_kib(program: str) -> None:
    make("OUT=out/inject", "CFLAGS=-Werror -DHAKMEM_INJECT=1", program)
    output = run(ROOT / "out/inject/tests" / program, HAKMEM_INJECT_PAGE="65536")
    assert "test(s) run" in output and " 0 test(s)" not in output


def test_a_program_that_took_all_thread_specific_keys(injected: Callable[..., Path]) -> None:
    """Threads can't be seen to end then, and none may keep a heap."""
    assert run(injected("no_keys")) == "served\n"


@pytest.mark.parametrize("spare", [0, 2, 8, 12])
def test_as_many_mappings_as_there_may_be(injected: Callable[..., Path], spare: int) -> None:
    line = run(injected("map_count"), spare)
    if line.startswith("skip"):
        pytest.skip(line.strip())
    found = re.fullmatch(r"refused (\d+) kept (\d+)\n", line)
    assert found
    if spare == 0:
        # Few requests are refused then, or none: most are served from what is mapped already.
        assert int(found[2]) > 20 << 20
