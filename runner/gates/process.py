"""Follows a program of the tree that may take long: shows its last line while it runs, ends it in good
order when the user or the time limit asks for it, and keeps its last lines.

Drivers are run by execute.py instead: nothing may disturb what is measured.
"""
from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.execute import signal_phrase
from runner.interrupts import Interrupted, Interrupts
from runner.schedule import in_words

KEPT_LINES = 12
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 15.0
_DRAIN_SECONDS = 2.0
_LINE_BYTES = 400


@dataclass(frozen=True)
class Ended:
    """How a program ended: `problem` is None for exit status 0, else a phrase. `status` is None where
    it was ended by a signal or did not start."""

    status: Optional[int]
    problem: Optional[str]
    lines: list[str]
    seconds: float


class _Lines:
    """The last lines of what was written, however it was cut into pieces."""

    def __init__(self) -> None:
        self.kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = b""

    def add(self, piece: bytes) -> Optional[str]:
        """Take in a piece; return the last line that it completed, None if there is none."""
        *whole, rest = (self._rest + piece).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[-_LINE_BYTES:]
        return self._keep(whole)

    def end(self) -> None:
        """Nothing more comes."""
        self._keep([self._rest])

    def _keep(self, pieces: list[bytes]) -> Optional[str]:
        found = [p[:_LINE_BYTES].decode("utf-8", "replace").rstrip() for p in pieces if p.strip()]
        self.kept.extend(found)
        return found[-1] if found else None


def follow(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    limit_seconds: float,
    interrupts: Interrupts,
    tell: Callable[[str], None],
) -> Ended:
    """Run a program in a process group of its own, which is dead when this returns. Its output goes
    line by line to `tell`. Raises Interrupted, when it has ended, if the user asked to stop."""
    interrupts.check()
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            list(command), cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        return Ended(None, f"'{command[0]}' could not be started: {reason}", [], 0.0)
    assert process.stdout is not None
    lines = _Lines()
    ended = _watch(process, lines, begin + limit_seconds, interrupts, tell)
    _signal_group(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
    _drain(process.stdout.fileno(), lines)
    process.stdout.close()
    status = process.wait()
    interrupts.check()
    problem: Optional[str] = None
    if not ended:
        problem = f"ended after its time limit of {in_words(limit_seconds)}"
    elif status < 0:
        problem = f"ended by {signal_phrase(-status)}"
    elif status > 0:
        problem = f"exit status {status}"
    return Ended(status if status >= 0 else None, problem, list(lines.kept), time.monotonic() - begin)


def _watch(
    process: subprocess.Popen[bytes], lines: _Lines, deadline: float, interrupts: Interrupts,
    tell: Callable[[str], None],
) -> bool:
    """Read until the program has ended; False if that was because of the time limit."""
    assert process.stdout is not None
    descriptor, open_ended = process.stdout.fileno(), True
    stopping: Optional[float] = None
    in_time, last = True, ""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = time.monotonic()
        if stopping is None and (interrupts.requested is not None or now > deadline):
            in_time = interrupts.requested is not None
            _signal_group(process.pid, interrupts.requested or signal.SIGTERM)
            stopping = now
        elif stopping is not None and now > stopping + _GRACE_SECONDS:
            _signal_group(process.pid, signal.SIGKILL)
        if open_ended and select.select([descriptor], [], [], _LOOK_SECONDS)[0]:
            piece = os.read(descriptor, 1 << 16)
            open_ended = bool(piece)
            last = lines.add(piece) or last
        elif not open_ended:
            time.sleep(_LOOK_SECONDS)
        tell(last)
    return in_time


def _drain(descriptor: int, lines: _Lines) -> None:
    """Read what is left; someone who fled from the group may hold the other end open for ever."""
    end = time.monotonic() + _DRAIN_SECONDS
    while select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            break
        lines.add(piece)
    lines.end()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


__all__ = ["Ended", "Interrupted", "follow"]
