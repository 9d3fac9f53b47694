"""The helper that runs real programs notices what it is there to notice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from guardian import processes_with
from real_run import Preload, Run, decide, find, start_guardian

DIES = """
#include <stdlib.h>
void *malloc(size_t size) { abort(); }
"""

SAYS = """
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void say(void) { write(2, "hakmem: something is wrong\\n", 27); }
void *malloc(size_t size) { static char memory[1 << 20]; static size_t used;
    void *block = memory + used; used += (size + 15) / 16 * 16; return block; }
void free(void *block) { (void)block; }
"""


def library(preload: Preload, tmp_path: Path, text: str) -> Preload:
    """Another library in hakmem's place."""
    source = tmp_path / "library.c"
    source.write_text(text, "utf-8")
    made = preload.folder / f"{tmp_path.name}.so"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-O1", str(source), "-o", str(made), "-ldl"], check=True)
    return replace(preload, library=made)


def true(run: Run) -> None:
    run.program(find("true", "coreutils"))
    run.served("true")


def test_what_hakmem_serves_passes(preload: Preload) -> None:
    decide(preload, true)


def test_a_crash_counts(preload: Preload, tmp_path: Path) -> None:
    def scenario(run: Run) -> None:
        run.program(find("sort", "coreutils"), stdin=b"b\na\n")

    with pytest.raises(AssertionError, match="ended with -6"):
        decide(library(preload, tmp_path, DIES), scenario)


def test_a_line_of_hakmem_counts(preload: Preload, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="something is wrong"):
        decide(library(preload, tmp_path, SAYS), true)


def test_another_malloc_counts(preload: Preload, tmp_path: Path) -> None:
    """A library that is preloaded but has no malloc: the program works, and isn't hakmem's proof."""
    with pytest.raises(AssertionError, match="was served by .*libc"):
        decide(library(preload, tmp_path, "int nothing;"), true)


def test_a_program_that_ignores_the_preload_counts(preload: Preload, tmp_path: Path) -> None:
    source, program = tmp_path / "static.c", tmp_path / "static"
    source.write_text("int main(void) { return 0; }", "utf-8")
    subprocess.run(["gcc", "-static", str(source), "-o", str(program)], check=True)

    def scenario(run: Run) -> None:
        run.program(str(program))
        run.served("static")

    with pytest.raises(AssertionError, match="static was not preloaded"):
        decide(preload, scenario)


def test_what_fails_without_hakmem_is_not_counted(preload: Preload) -> None:
    with pytest.raises(pytest.skip.Exception, match="fails without hakmem too"):
        decide(preload, lambda run: run.program(find("false", "coreutils")) and None)


def test_a_program_that_is_missing_names_its_package() -> None:
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed .package some-package;"):
        find("no-such-program", "some-package")


def test_a_program_that_hangs_is_ended(preload: Preload) -> None:
    with pytest.raises(pytest.skip.Exception, match="did not end within 0.2 s"):
        decide(preload, lambda run: run.program(find("sleep", "coreutils"), "60", timeout=0.2) and None)


def test_nothing_outlives_a_run(preload: Preload) -> None:
    """Not even a process that left its group and its session."""
    sleep, setsid = find("sleep", "coreutils"), find("setsid", "util-linux")
    with pytest.raises(ZeroDivisionError):
        with Run(preload) as run:
            run.start(sleep, "300")
            run.program("/bin/sh", "-c", f"{setsid} {sleep} 300 & {setsid} -f {sleep} 300")
            deadline = time.monotonic() + 5
            while len(list(processes_with(preload.witness))) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(list(processes_with(preload.witness))) == 3
            1 / 0
    assert list(processes_with(preload.witness)) == []
    assert not run.folder.exists()


def test_nothing_outlives_the_tests(preload: Preload) -> None:
    """They are killed: whoever cleans up after them notices. Here by the end of its input alone."""
    folder = preload.folder / "guarded"
    folder.mkdir()
    made = replace(preload, folder=folder, witness=folder / "witness.so")
    shutil.copy(preload.witness, made.witness)
    guardian = start_guardian(made)
    run = Run(made)
    sleep = run.start(find("sleep", "coreutils"), "300")

    def maps_it() -> None:
        assert sleep.process.pid in processes_with(made.witness)

    sleep.ready(maps_it)
    assert guardian.poll() is None
    guardian.communicate(timeout=20)
    assert sleep.process.wait(5) == -signal.SIGKILL
    assert list(processes_with(made.witness)) == []
    assert not folder.exists()
