"""Computes something in a process of its own, at the same time as the process that started it."""
from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any, Optional


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Helper:
    """A child process that computes `work` and hands the result back."""

    def __init__(self, work: Callable[[], Any]) -> None:
        """Start it. Raises OSError where no process can be had."""
        reading, writing = os.pipe()
        self._reading = reading
        try:
            self._pid: Optional[int] = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if self._pid == 0:
            _compute(work, writing)
        os.close(writing)

    def result(self) -> Any:
        """Wait for the result; raises ValueError where the work failed."""
        with os.fdopen(self._reading, "rb") as stream:
            data = stream.read()
        self._wait()
        if not data:
            raise ValueError("the helper found no result")
        try:
            return pickle.loads(data)  # written by our own child
        except (pickle.UnpicklingError, EOFError) as error:
            raise ValueError("the helper was stopped while it told its result") from error

    def stop(self) -> None:
        """End the child: its result is not wanted any more."""
        os.close(self._reading)
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        if self._pid is not None:
            os.waitpid(self._pid, 0)
            self._pid = None


def _compute(work: Callable[[], Any], writing: int) -> None:
    """In the child: nothing but the work is done, and nothing of the parent's is run at its end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        data = pickle.dumps(work(), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(writing, "wb") as stream:
            stream.write(data)
    except BaseException:  # noqa: B036  (the parent sees that nothing came)
        os._exit(1)
    os._exit(0)
