"""Tells how much of the processors others used while something of ours ran."""
from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Optional

MUCH = 0.05  # of the processors: from here on it weighs on what N threads can do

_IDLE_COLUMNS = (3, 4)  # idle, iowait
_COUNTED_COLUMNS = 8  # up to steal; guest time is in user time already


def _read_stat() -> str:
    try:
        with open("/proc/stat", encoding="ascii") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return ""


class LoadWatch:
    """Begins to watch when it is made. Ours are the children that were waited for, and theirs."""

    def __init__(self, read_stat: Callable[[], str] = _read_stat) -> None:
        self._read = read_stat
        self._begin = self._look()

    def others(self) -> Optional[float]:
        """Return the share of the processors' time since the beginning that others used, which a virtual
        machine's neighbours are among; None where the system does not tell."""
        busy, total, ours = (now - then for now, then in zip(self._look(), self._begin))
        return max(0.0, min(1.0, (busy - ours) / total)) if total > 0 else None

    def _look(self) -> tuple[float, float, float]:
        """Seconds of busy and of all time of the processors that we may use, and seconds of ours."""
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        busy = total = 0.0
        for line in self._read().splitlines():
            name, *columns = line.split()
            if name in mine:
                times = [int(column) for column in columns[:_COUNTED_COLUMNS]]
                total += sum(times)
                busy += sum(times) - sum(times[n] for n in _IDLE_COLUMNS)
        ticks = os.sysconf("SC_CLK_TCK")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return busy / ticks, total / ticks, used.ru_utime + used.ru_stime
