"""Runs the steps of pr.py, each a program of the runner: its output goes on as it comes, and a Ctrl-C is
passed on to it once, so that it can stop in good order and keep what it has."""
from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, Optional

from runner.execute import signal_phrase
from runner.interrupts import Interrupted
from runner.schedule import in_words

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS = 15.0  # from being asked to end to being killed
_HURRY_SECONDS = 2.0  # the same at the second signal
_DRAIN_SECONDS = 2.0
_KEPT_CHARACTERS = 20_000  # of what a step said last
_MOST_CAPTURED = 256 << 20  # bytes of an answer


@dataclass(frozen=True)
class StepEnd:
    """How a step ended. `problem` is a phrase where it was ended by a signal or a time limit, or did not
    start; `status` is its exit status otherwise. `said` is the end of what it printed, as far as that did
    not go to a terminal directly; `answer` is its standard output where that was asked for."""

    status: Optional[int]
    problem: Optional[str]
    said: str
    answer: str
    seconds: float


class Relay:
    """Passes signals on to the step that runs: the first one, so that it stops in good order; at the
    second, too, it is killed soon; the third quits at once."""

    def __init__(self) -> None:
        self.requested: Optional[int] = None
        self._count = 0
        self._process: Optional[subprocess.Popen[bytes]] = None

    def install(self) -> None:
        """Take over the signals. Only the main thread may call it."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._handle)

    def watch(self, process: Optional[subprocess.Popen[bytes]]) -> None:
        """From now on signals go to this step (None: to none); one that came already goes at once."""
        self._process = process
        if process is not None and self.requested is not None:
            _signal(process, self.requested)

    def check(self) -> None:
        """Raise Interrupted if somebody asked to stop."""
        if self.requested is not None:
            raise Interrupted()

    @property
    def exit_status(self) -> int:
        """The shell's status for a program that a signal ended."""
        return 128 + (self.requested or signal.SIGINT)

    def _handle(self, number: int, _frame: Optional[FrameType]) -> None:
        self._count += 1
        self.requested = self.requested or number
        process = self._process
        if self._count > 2:
            if process is not None:
                _kill_group(process)
            os._exit(128 + number)
        if process is not None:
            _signal(process, number)
            if self._count > 1:
                _later(_HURRY_SECONDS, _kill_group, process)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a step that was not reaped yet, so that its number can't belong to anyone else."""
    if process.returncode is None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a step and all that it started in its group; the step must not be reaped yet."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _later(seconds: float, what: Any, *arguments: Any) -> threading.Timer:
    timer = threading.Timer(seconds, what, arguments)
    timer.daemon = True
    timer.start()
    return timer


class _Reader(threading.Thread):
    """Reads a step's stream to its end: keeps all of it, or passes it on and keeps its last words."""

    def __init__(self, stream: IO[bytes], target: Any, kept: Optional[deque[str]]) -> None:
        super().__init__(daemon=True)
        self._stream, self._target, self._kept = stream, target, kept
        self.data = bytearray()
        self.start()

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                piece = os.read(self._stream.fileno(), 1 << 16)
            except (OSError, ValueError):
                return
            if self._kept is None:
                self.data += piece[: _MOST_CAPTURED - len(self.data)]
            else:
                text = decoder.decode(piece, not piece)
                self._kept.append(text)
                self._target.write(text)
                self._target.flush()
            if not piece:
                return


def run_step(
    command: Sequence[str], relay: Relay, *, limit_seconds: Optional[float] = None,
    capture: bool = False, folder: Optional[str] = None,
) -> StepEnd:
    """Run a program of the runner as a step, in a process group of its own, which is dead when this
    returns, and in `folder` if one is given. With `capture` its standard output is the answer and is not
    shown. Raises Interrupted before it starts if somebody asked to stop; whoever calls looks again
    afterwards."""
    relay.check()
    begin = time.monotonic()
    sys.stdout.flush()
    passed_on = {name: capture and name == "stdout" or not getattr(sys, name).isatty()
                 for name in ("stdout", "stderr")}
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder,
            stdout=subprocess.PIPE if passed_on["stdout"] else None,
            stderr=subprocess.PIPE if passed_on["stderr"] else None,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return StepEnd(None, f"it could not be started: {reason}", "", "", 0.0)
    relay.watch(process)
    timed_out = threading.Event()
    timers: list[threading.Timer] = []
    if limit_seconds is not None:
        timers.append(_later(limit_seconds, _end, process, timed_out))
    kept: deque[str] = deque(maxlen=2000)
    readers = [
        _Reader(stream, getattr(sys, name), None if capture and name == "stdout" else kept)
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)) if stream is not None
    ]
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    _kill_group(process)
    status = process.wait()
    relay.watch(None)
    for timer in timers:
        timer.cancel()
    for reader in readers:
        reader.join(_DRAIN_SECONDS)
    answer = bytes(readers[0].data).decode("utf-8", "replace") if capture else ""
    problem: Optional[str] = None
    if timed_out.is_set():
        problem = f"it took more than {in_words(limit_seconds or 0)}"
    elif status < 0:
        problem = f"it was ended by {signal_phrase(-status)}"
    said = "".join(kept)[-_KEPT_CHARACTERS:]
    return StepEnd(status if status >= 0 and problem is None else None, problem, said, answer,
                   time.monotonic() - begin)


def _end(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    _signal(process, signal.SIGTERM)
    _later(_GRACE_SECONDS, _kill_group, process)
