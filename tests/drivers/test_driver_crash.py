"""A driver that crashes says by which signal and at which address, and ends by that signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, List, Tuple

import pytest

from driver_run import SHORT, WORKLOADS, clean_environment, run

Program = Callable[..., Path]
Preload = Callable[[str], Path]

KINDS: List[Tuple[str, int, str]] = [
    ("address", signal.SIGSEGV, r"signal 11 \(SIGSEGV\) at address 0x6261 in thread \d+"),
    ("file", signal.SIGBUS, r"signal 7 \(SIGBUS\) at address 0x[0-9a-f]+000 in thread \d+"),
    ("instruction", signal.SIGILL, r"signal 4 \(SIGILL\) at address 0x[0-9a-f]+ in thread \d+"),
    ("division", signal.SIGFPE, r"signal 8 \(SIGFPE\) sent by process \d+ in thread \d+"),
]


@pytest.mark.parametrize("kind,number,text", KINDS, ids=lambda v: v if isinstance(v, str) and v.isalpha() else "")
def test_the_line_and_the_status(program: Program, preload: Preload, kind: str, number: int, text: str) -> None:
    arguments = ["--threads", "8", "--operations", "20000"]
    done = run(program("larson"), arguments, preload=preload("crash"), environment={"CRASH_KIND": kind})
    assert done.status == -number and done.out == ""
    assert re.fullmatch(rf"larson: {text}\n", done.err), done.err


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_driver_has_it(program: Program, preload: Preload, workload: str) -> None:
    done = run(
        program(workload), SHORT[workload], preload=preload("crash"), environment={"CRASH_KIND": "address"}
    )
    assert done.status == -signal.SIGSEGV
    assert re.fullmatch(rf"{workload}: signal 11 \(SIGSEGV\) at address 0x6261 in thread \d+\n", done.err)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other processors tell such an address")
def test_a_pointer_that_cannot_be(program: Program, preload: Preload) -> None:
    done = run(program("larson"), SHORT["larson"], preload=preload("crash"), environment={"CRASH_KIND": "wild"})
    assert done.status == -signal.SIGSEGV
    assert re.fullmatch(
        r"larson: signal 11 \(SIGSEGV\) at an address that no pointer can have in thread \d+\n", done.err
    )


def test_a_handler_that_is_there_stays(program: Program, preload: Preload) -> None:
    environment = {"CRASH_KIND": "address", "CRASH_HANDLER": "1"}
    done = run(program("larson"), SHORT["larson"], preload=preload("crash"), environment=environment)
    assert done.status == 77
    assert set(done.err.splitlines()) == {"the library's own handler"}  # of one thread or of two


def test_a_signal_that_was_sent_names_its_sender(program: Program) -> None:
    driver = subprocess.Popen(
        [str(program("larson")), "--seconds", "60", "--threads", "2", "--progress", "60"],
        env=clean_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )
    assert driver.stderr is not None
    assert "progress allocator" in driver.stderr.readline()
    time.sleep(0.1)
    driver.send_signal(signal.SIGSEGV)
    text = driver.stderr.read()
    assert driver.wait(20) == -signal.SIGSEGV
    found = re.fullmatch(r"larson: signal 11 \(SIGSEGV\) sent by process (\d+) in thread \d+\n", text)
    assert found is not None and int(found.group(1)) == os.getpid()
