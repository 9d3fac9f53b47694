"""Runs programs with hakmem preloaded, proves that it served them, and lets no process outlive a run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, List, Optional, Set, Tuple, Type, TypeVar

import pytest

from guardian import end_processes_with

LONG = os.environ.get("HAKMEM_REAL_LONG", "0") not in ("", "0")
T = TypeVar("T")


def size(short: T, long: T) -> T:
    """What the short form takes, and what the long form takes."""
    return long if LONG else short


def find(program: str, package: str) -> str:
    """The program's path; without it the test is skipped, naming the Debian package."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed (package {package}; tests/real/setup.sh installs it)")
    return path


@dataclass(frozen=True)
class Preload:
    """What is preloaded: paths without spaces, which LD_PRELOAD can't name, that every user may read."""

    folder: Path
    library: Path
    witness: Path


@dataclass
class Done:
    """A program that has ended."""

    status: int
    stdout: bytes
    stderr: bytes


def same(found: bytes, expected: bytes) -> None:
    """Fails where they differ; for data too large to be shown."""
    if found != expected:
        pairs = enumerate(zip(found, expected))
        place = next((i for i, (a, b) in pairs if a != b), min(len(found), len(expected)))
        raise AssertionError(
            f"{len(found)} bytes instead of {len(expected)}; from byte {place} on "
            f"{found[place:place + 60]!r} instead of {expected[place:place + 60]!r}"
        )


def start_guardian(made: Preload) -> subprocess.Popen:
    """What cleans up when its standard input ends: when it is closed, and when these tests are killed."""
    program = Path(__file__).with_name("guardian.py")
    command = [sys.executable, str(program), str(made.folder), str(made.witness)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def tail(text: bytes) -> str:
    return text[-1500:].decode("utf-8", "replace")


def complaints(text: bytes) -> List[bytes]:
    """What hakmem itself said: a line of its own, wherever it begins."""
    return [line for line in text.splitlines() if b"hakmem: " in line or b"[OWNERSHIP ERROR]" in line]


class Run:
    """One attempt at a scenario: a folder, what was started in it, and what served that.

    With `hakmem=False` the same without hakmem: the control that says whether a failure is its.
    """

    def __init__(self, preload: Preload, hakmem: bool = True) -> None:
        self.preload = preload
        self.hakmem = hakmem
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=preload.folder))
        self.folder.chmod(0o777)
        self.journal = self.folder / "journal"
        self.journal.touch()
        self.journal.chmod(0o666)
        self._groups: List[int] = []
        self._started = 0

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        for group in self._groups:
            kill_group(group)
        end_processes_with(self.preload.witness)  # those that left their group
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, preloaded: bool = True) -> Dict[str, str]:
        """The caller's, HAKMEM_ options included: HAKMEM_CHECK=1 reaches the programs."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "HAKMEM_REAL_"))}
        environment.update(LC_ALL="C", HOME=str(self.folder), TMPDIR=str(self.folder))
        if preloaded:
            libraries = [self.preload.library] if self.hakmem else []
            environment["LD_PRELOAD"] = " ".join(map(str, [self.preload.witness, *libraries]))
            environment["HAKMEM_REAL_JOURNAL"] = str(self.journal)
        return environment

    def start(self, *command: str, env: Optional[Dict[str, str]] = None, cwd: Optional[Path] = None,
              stdin: Optional[bytes] = None, preloaded: bool = True) -> Started:
        """Starts a program in a process group of its own, its output in files."""
        self._started += 1
        base = self.folder / f"program-{self._started}"
        environment = dict(self.environment(preloaded), **(env or {}))
        source = subprocess.DEVNULL
        given = None
        if stdin is not None:
            (base.with_suffix(".in")).write_bytes(stdin)
            given = open(base.with_suffix(".in"), "rb")
        try:
            with open(base.with_suffix(".out"), "wb") as out, open(base.with_suffix(".err"), "wb") as err:
                process = subprocess.Popen(
                    command, env=environment, cwd=cwd or self.folder, stdin=given or source, stdout=out,
                    stderr=err, start_new_session=True,
                )
        finally:
            if given is not None:
                given.close()
        self._groups.append(process.pid)
        return Started(self, process, base, list(command))

    def program(self, *command: str, timeout: float = 0, status: int = 0, **options) -> Done:
        """Runs a program to its end, which must be that exit status, with nothing to complain about."""
        done = self.start(*command, **options).wait(timeout or size(60, 600))
        name = " ".join(command)[:200]
        assert done.status == status, f"{name}: ended with {done.status}: {tail(done.stderr + done.stdout)}"
        return done

    def plain(self, *command: str, **options) -> Done:
        """Runs a program that is not under test: it prepares data, or makes what to compare with."""
        return self.program(*command, preloaded=False, **options)

    def served(self, *programs: str, apart_from: Tuple[str, ...] = ()) -> None:
        """Fails unless hakmem was malloc in each of these programs (names or paths), and in every other
        one that was started, `apart_from` those that bring a malloc of their own. The control has nothing
        to prove."""
        if not self.hakmem:
            return
        seen: Set[str] = set()
        for line in self.journal.read_text("utf-8").splitlines():
            program, malloc = line.split("\t")
            name = Path(program).name
            if name not in apart_from:
                assert malloc == str(self.preload.library), f"{name} was served by {malloc}, not by hakmem"
            seen.add(name)
        for name in programs:
            # Some are started under the name of a link.
            names = {Path(name).name, Path(shutil.which(name) or name).resolve().name}
            assert seen & names, f"{name} was not preloaded; these were: {', '.join(sorted(seen))}"


@dataclass
class Started:
    """A program that runs: a server, or one that is waited for."""

    run: Run
    process: subprocess.Popen
    base: Path
    command: List[str] = field(default_factory=list)

    def wait(self, timeout: float) -> Done:
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_group(self.process.pid)
            self.process.wait()
            raise AssertionError(f"{self.command} did not end within {timeout:g} s: {tail(self.errors())}")
        done = Done(status, self.base.with_suffix(".out").read_bytes(), self.errors())
        assert not complaints(done.stderr), f"{self.command}: {complaints(done.stderr)}"
        return done

    def errors(self) -> bytes:
        return self.base.with_suffix(".err").read_bytes()

    def ready(self, check: Callable[[], T], timeout: float = 30) -> T:
        """Waits until `check` no longer raises an OSError or fails; hakmem is then in the process."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                found = check()
                break
            except (OSError, AssertionError) as error:
                assert self.process.poll() is None, f"{self.command} ended: {tail(self.errors())}"
                assert time.monotonic() < deadline, f"{self.command} is not ready after {timeout:g} s: {error}"
                time.sleep(0.02)
        if self.run.hakmem:
            maps = Path(f"/proc/{self.process.pid}/maps").read_text("utf-8")
            assert str(self.run.preload.library) in maps, f"hakmem is not in {self.command}"
        return found

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30, status: int = 0) -> Done:
        """Asks it to end, and checks how it did."""
        self.process.send_signal(how)
        done = self.wait(timeout)
        assert done.status == status, f"{self.command}: ended with {done.status}: {tail(done.stderr)}"
        return done


def kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass


def decide(preload: Preload, scenario: Callable[[Run], None]) -> None:
    """Runs the scenario with hakmem. If it fails, the same without says whether that counts."""
    try:
        with Run(preload) as run:
            scenario(run)
    except Exception:
        try:
            with Run(preload, hakmem=False) as run:
                scenario(run)
        except Exception as control:
            pytest.skip(f"fails without hakmem too, so it is not counted: {str(control)[:500]}")
        raise
