"""HAKMEM_CRASH_LOG=1: what is printed when a program crashes, and that nothing else changes."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

import pytest

SOURCE = Path(__file__).with_name("crash_log.c")


@dataclass
class Crash:
    """How a program ended: the system's status word, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def signal(self) -> Optional[int]:
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crash log") / "crash_log"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O0", "-w", "-fno-builtin", "-pthread"]
    subprocess.run(["gcc", *flags, str(SOURCE), "-o", str(path)], check=True)
    return path


@pytest.fixture
def crash(program: Path, libhakmem: Path, tmp_path: Path) -> Callable[..., Crash]:
    """Runs the program in a folder of its own, where a core file may go."""

    def small_core() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_CORE, (most, hard))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    def run(how: str, log: bool = True, shell: str = "", send: int = 0, **options: str) -> Crash:
        environment: Dict[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
        environment.update(LD_PRELOAD=str(libhakmem), **options)
        if log:
            environment["HAKMEM_CRASH_LOG"] = "1"
        command: List[str] = [str(program), how]
        if shell:
            command = ["bash", "-c", shell + ' exec "$0" "$@"', *command]
        child = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=small_core,
        )
        assert child.stdout is not None and child.stderr is not None
        begin = b""
        if send:
            begin = child.stdout.readline()
            os.kill(child.pid, send)
        out, err = begin + child.stdout.read(), child.stderr.read()
        status = os.waitpid(child.pid, 0)[1]
        child.returncode = 0
        return Crash(status, out.decode(), err.decode())

    return run


def lines(crash: Crash) -> List[str]:
    found = crash.err.splitlines()
    assert all(line.startswith("hakmem: ") for line in found), crash.err
    return found


EXPECTED = {
    "null": (signal.SIGSEGV, ["SIGSEGV in thread", "at address 0x10: no memory is mapped there",
                              "0x10: it is not a block of this allocator, and no memory is mapped there"]),
    "unmapped": (signal.SIGSEGV, ["4000000 bytes into a block of", "and was freed", "freed a huge block"]),
    "read-only": (signal.SIGSEGV, ["the memory there is protected", "it points 24 bytes into a block of",
                                   "and is in use", "its slab is of class", "owned by thread"]),
    "beyond": (signal.SIGSEGV, ["SIGSEGV in thread", "at address"]),
    "wreck": (signal.SIGSEGV, ["no memory is mapped there", "own memory is damaged", "last events"]),
    "nowhere": (signal.SIGSEGV, ["an address that can't exist"]),
    "called": (signal.SIGSEGV, ["it executed 0x20, where no program is mapped"]),
    "stack": (signal.SIGSEGV, ["that is near the stack pointer"]),
    "thread": (signal.SIGSEGV, ["at address 0x10", "took blocks: 0x"]),
    "thread-stack": (signal.SIGSEGV, ["that is near the stack pointer"]),
    "other": (signal.SIGSEGV, ["it points 8 bytes into a block of", "owned by thread"]),
    "abort": (signal.SIGABRT, ["SIGABRT in thread", "sent by the program itself"]),
    "raise": (signal.SIGSEGV, ["SIGSEGV in thread", "sent by the program itself"]),
    "bus": (signal.SIGBUS, ["SIGBUS in thread", "nothing behind the mapping"]),
    "double-free": (signal.SIGABRT, ["free(): ", "double free", "SIGABRT in thread", "the pointer 0x",
                                     "it is the beginning of a block of 112 bytes that was already freed",
                                     "its slab is of class"]),
}


@pytest.mark.parametrize("how", EXPECTED)
def test_a_crash_is_told_of_and_ends_as_ever(how: str, crash: Callable[..., Crash]) -> None:
    number, texts = EXPECTED[how]
    silent, told = crash(how, log=False, HAKMEM_CACHE_HUGE="0"), crash(how, HAKMEM_CACHE_HUGE="0")
    assert told.status == silent.status, (told, silent)
    assert told.signal == number
    assert silent.err.count("\n") == (1 if how == "double-free" else 0)
    for text in texts:
        assert text in told.err, told.err
    found = [line for line in lines(told) if line.startswith("hakmem: crash: ")]
    assert re.search(r" in thread \d+", found[0])
    assert len(found) <= 25
    if how != "called":
        assert re.search(r"it executed 0x[0-9a-f]+, byte 0x[0-9a-f]+ of /", found[1]), found[1]
    assert how == "beyond" or "the thread's last events in the allocator, the latest first:" in told.err


def test_the_owner_of_a_block_is_named(crash: Callable[..., Crash]) -> None:
    done = crash("other")
    thread = done.out.strip()
    assert f"owned by thread {thread}\n" in done.err
    assert f"in thread {thread} " not in done.err


def test_the_place_in_the_program_can_be_looked_up(crash: Callable[..., Crash], program: Path) -> None:
    done = crash("null")
    place = re.search(r"byte 0x([0-9a-f]+) of (.*)$", done.err, re.M)
    assert place and place.group(2) == str(program)
    symbols = subprocess.run(["nm", "-S", str(program)], capture_output=True, text=True, check=True).stdout
    begin, size = next(line.split()[:2] for line in symbols.splitlines() if line.endswith(" touch_null"))
    assert 0 <= int(place.group(1), 16) - int(begin, 16) < int(size, 16)


def test_a_child_of_fork(crash: Callable[..., Crash]) -> None:
    done = crash("fork")
    assert (done.status, done.out) == (0, f"child {int(signal.SIGSEGV)}\n")
    assert done.err.count("hakmem: crash: SIGSEGV in thread") == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_signal_from_another_process(number: signal.Signals, crash: Callable[..., Crash]) -> None:
    silent, told = crash("wait", log=False, send=number), crash("wait", send=number)
    assert told.status == silent.status and told.signal == number
    assert f"hakmem: crash: {number.name} in thread" in told.err
    assert f"sent by process {os.getpid()}\n" in told.err


def test_nothing_without_the_option(crash: Callable[..., Crash]) -> None:
    assert crash("query", log=False).out == "default none\n"
    assert crash("query").out == "handler stack\n"


# What a handler that was there before is called with, and what is blocked meanwhile.
@pytest.mark.parametrize(
    ("previous", "output"),
    [("info", "arguments segv usr1 1 faults\n"), ("info-nodefer", "arguments usr1 1 faults\n"),
     ("plain", "1 faults\n"), ("jump", "1 faults\n")],
)
def test_the_handler_before_runs_and_the_program_goes_on(previous: str, output: str, crash: Callable[..., Crash]) -> None:
    for log in (False, True):
        done = crash("1", log=log, PREVIOUS=previous)
        assert (done.status, done.out) == (0, output), done
        assert done.err.count("hakmem: crash: SIGSEGV") == (1 if log else 0)


def test_a_handler_for_one_time_runs_once(crash: Callable[..., Crash]) -> None:
    for log in (False, True):
        assert crash("1", log=log, PREVIOUS="once").out == "1 faults\n"
        assert crash("2", log=log, PREVIOUS="once").signal == signal.SIGSEGV


@pytest.mark.parametrize("previous", ["info", "plain", "jump"])
def test_programs_that_crash_by_design_are_not_told_of_for_ever(previous: str, crash: Callable[..., Crash]) -> None:
    done = crash("100", PREVIOUS=previous)
    assert done.status == 0 and done.out.endswith("100 faults\n")
    assert done.err.count("hakmem: crash: SIGSEGV in thread") == 8
    assert done.err.count("hakmem: further crashes are not logged\n") == 1


@pytest.mark.parametrize("log", [False, True])
def test_an_ignored_signal_stays_ignored(log: bool, crash: Callable[..., Crash]) -> None:
    for done in (crash("raise", log=log, PREVIOUS="ignore"), crash("raise", log=log, shell="trap '' SEGV;")):
        assert (done.status, done.err) == (0, "")


def test_a_handler_of_the_programs_own_replaces_ours(crash: Callable[..., Crash]) -> None:
    done = crash("own")
    assert (os.WEXITSTATUS(done.status), done.out, done.err) == (7, "own handler\n", "")


def test_python_may_crash_with_its_own_handler(libhakmem: Path) -> None:
    """faulthandler keeps our handler as the one before its own, and calls it."""
    code = "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(16)"
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_CRASH_LOG="1")
    done = subprocess.run(["python3", "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGSEGV
    theirs, ours = done.stderr.index("Fatal Python error"), done.stderr.index("hakmem: crash: SIGSEGV")
    assert theirs < ours
    assert "sent by the program itself" in done.stderr  # faulthandler raises it again
