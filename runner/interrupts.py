"""Ctrl-C and its like: the first ends the driver that runs and lets the run stop in good order,
the second quits at once."""
from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Optional

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The run was asked to stop while something ran."""


class Interrupts:
    """Knows whether the run was asked to stop, and kills the running driver when it is.

    The handler only kills and remembers, so that no record is ever left half written; whoever
    runs something asks `requested` afterwards.
    """

    def __init__(self) -> None:
        self.requested: Optional[int] = None
        self._group: Optional[int] = None

    def install(self) -> None:
        """Take over the signals. Only the main thread may call it."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._handle)

    def guard(self, process_group: int) -> None:
        """From now on an interrupt kills this process group; at once if one came already."""
        self._group = process_group
        if self.requested is not None:
            self._kill()

    def release(self) -> None:
        """The guarded process group has ended."""
        self._group = None

    def check(self) -> None:
        """Raise Interrupted if the run was asked to stop."""
        if self.requested is not None:
            raise Interrupted()

    @property
    def exit_status(self) -> int:
        """The shell's status for a program that a signal ended."""
        return 128 + (self.requested or signal.SIGINT)

    def _handle(self, number: int, _frame: Optional[FrameType]) -> None:
        self._kill()
        if self.requested is not None:
            os._exit(128 + number)
        self.requested = number

    def _kill(self) -> None:
        if self._group is not None:
            try:
                os.killpg(self._group, signal.SIGKILL)
            except ProcessLookupError:
                pass
