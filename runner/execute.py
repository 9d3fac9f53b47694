"""Runs one program with a time limit and collects what it says and how it ended."""
from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Optional

from runner.interrupts import Interrupts

MAX_OUTPUT_BYTES = 4 << 20
_MAX_ERROR_BYTES = 16 << 10
_ERROR_LINES = 8
_DRAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a program ended. Exactly one of `status`, `signal_number` and `start_error` is set."""

    status: Optional[int]
    signal_number: Optional[int]
    start_error: Optional[str]
    timed_out: bool
    output: bytes
    output_cut: bool
    error_lines: list[str]
    elapsed_seconds: float


class _Collector(threading.Thread):
    """Reads a stream to its end, keeping its first or its last bytes."""

    def __init__(self, stream: IO[bytes], limit: int, keep_last: bool) -> None:
        super().__init__(daemon=True)
        self._stream, self._limit, self._keep_last = stream, limit, keep_last
        self.data = bytearray()
        self.cut = False
        self.start()

    def run(self) -> None:
        while True:
            try:
                piece = os.read(self._stream.fileno(), 1 << 16)
            except (OSError, ValueError):
                return
            if not piece:
                return
            self.data += piece
            if len(self.data) > self._limit:
                self.cut = True
                if self._keep_last:
                    del self.data[: -self._limit]
                else:
                    del self.data[self._limit:]


def run_program(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    limit_seconds: float,
    interrupts: Interrupts,
    error_lines: int = _ERROR_LINES,
) -> Outcome:
    """Run a program in a process group of its own, which is dead when this returns or raises; kill it
    after `limit_seconds`. The last `error_lines` lines that it said on standard error are kept. Raises
    Interrupted when the run was asked to stop meanwhile."""
    interrupts.check()
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            list(arguments),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        return Outcome(None, None, reason, False, b"", False, [], time.monotonic() - begin)
    assert process.stdout is not None and process.stderr is not None
    interrupts.guard(process.pid)
    try:
        output = _Collector(process.stdout, MAX_OUTPUT_BYTES, keep_last=False)
        errors = _Collector(process.stderr, _MAX_ERROR_BYTES, keep_last=True)
        ended = _wait(process.pid, limit_seconds)
        elapsed = time.monotonic() - begin
    finally:  # even where signals are left to Python, and KeyboardInterrupt comes
        # The leader is not reaped yet, so its group's number can't belong to anyone else.
        _kill_group(process.pid)
        returned = process.wait()
        interrupts.release()
    for collector in (output, errors):
        collector.join(_DRAIN_SECONDS)
    process.stdout.close()
    process.stderr.close()
    interrupts.check()
    text = bytes(errors.data).decode("utf-8", "replace")
    return Outcome(
        status=returned if returned >= 0 else None,
        signal_number=-returned if returned < 0 else None,
        start_error=None,
        timed_out=not ended,
        output=bytes(output.data),
        output_cut=output.cut,
        error_lines=[line[:400] for line in text.splitlines() if line.strip()][-error_lines:],
        elapsed_seconds=elapsed,
    )


def _wait(pid: int, limit_seconds: float) -> bool:
    """Wait until a child has ended, without reaping it; False if the limit came first."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return _wait_by_looking(pid, limit_seconds)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(min(max(0.0, limit_seconds) * 1000, 2**31 - 1)))
    finally:
        os.close(descriptor)


def _wait_by_looking(pid: int, limit_seconds: float) -> bool:
    """The same on systems without pidfd_open, at the price of up to 5 ms."""
    end = time.monotonic() + limit_seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.005)
    return False


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def signal_phrase(number: int) -> str:
    """Return the name and meaning of a signal, as in "SIGSEGV (segmentation fault)"."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    meaning = (signal.strsignal(number) or "").lower()
    if number == signal.SIGKILL:
        meaning = "killed by someone, perhaps the kernel because memory ran out"
    return f"{name} ({meaning})" if meaning else name
