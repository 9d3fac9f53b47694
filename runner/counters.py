"""Hardware counters through `perf stat`, where the machine has them and lets us read them.

perf is asked once at the start what it can count. It writes into a file of its own, so that its
output never mixes with a driver's, and the events are few enough not to be multiplexed on most
processors. Only user mode is counted, which an ordinary user may do.
"""
from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from runner.execute import Outcome, run_program
from runner.interrupts import Interrupts
from runner.records import Counters, CounterSetup

EVENTS = (
    "cycles",
    "instructions",
    "cache-misses",
    "dTLB-load-misses",
    "branches",
    "branch-misses",
)
_PROBE_SECONDS = 20.0
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


class PerfStat:
    """Wraps a driver's command line into `perf stat`, and reads what it counted."""

    def __init__(self, perf: Optional[str], setup: CounterSetup) -> None:
        self._perf = perf
        self.setup = setup
        self._file: Optional[str] = None
        if setup.events:
            handle, self._file = tempfile.mkstemp(prefix="hakmem-perf-")
            os.close(handle)

    @classmethod
    def probe(cls, environment: Mapping[str, str], interrupts: Interrupts) -> PerfStat:
        """Find out which events can be counted here."""
        perf = shutil.which("perf")
        env = shutil.which("env")
        if perf is None or env is None:
            return cls(None, CounterSetup([], "the program perf is not installed (Debian: "
                                              "linux-perf, Ubuntu: linux-tools-generic)"))
        trial = cls(perf, CounterSetup(list(EVENTS), None))
        try:
            outcome = run_program(
                trial.wrap([env, "true"]), trial.environment(environment), _PROBE_SECONDS,
                interrupts,
            )
            counted, unsupported = _parse(trial._text())
        finally:
            trial.close()
        events = [name for name in EVENTS if name in counted]
        if events:
            return cls(perf, CounterSetup(events, None))
        return cls(None, CounterSetup([], _why_nothing(outcome, unsupported)))

    @classmethod
    def restore(cls, setup: CounterSetup) -> PerfStat:
        """Count the same events as a run that goes on, if perf is still there."""
        perf = shutil.which("perf")
        return cls(perf, setup if perf else CounterSetup([], setup.note))

    @property
    def active(self) -> bool:
        """True if samples are counted."""
        return self._file is not None

    def wrap(
        self, arguments: Sequence[str], variables: Optional[Mapping[str, str]] = None
    ) -> list[str]:
        """Return the command line that runs `arguments` under perf.

        `variables` are set for the driver alone, by `env`: an allocator that is preloaded must
        not serve perf too. All drivers go through `env`, so that all are counted alike.
        """
        assert self._perf is not None and self._file is not None
        with open(self._file, "w", encoding="ascii"):
            pass  # empty, so that numbers of the last sample are never taken for this one's
        events = ",".join(f"{name}:u" for name in self.setup.events)
        settings = [f"{name}={value}" for name, value in (variables or {}).items()]
        return [self._perf, "stat", "-x", ",", "-o", self._file, "-e", events, "--",
                "env", *settings, *arguments]

    @staticmethod
    def environment(environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which perf writes numbers and signals as we read them."""
        return {**environment, "LC_ALL": "C"}

    def read(self) -> Optional[Counters]:
        """Return what perf counted of the last sample, None if it counted nothing."""
        counted, _ = _parse(self._text())
        if not counted:
            return None
        return Counters(
            events={name: value for name, (value, _) in counted.items()},
            running_percent=min(percent for _, percent in counted.values()),
        )

    def close(self) -> None:
        """Remove the file that perf writes to."""
        if self._file is not None:
            os.unlink(self._file)
            self._file = None

    def _text(self) -> str:
        if self._file is None:
            return ""
        try:
            return Path(self._file).read_text("utf-8", "replace")
        except OSError:
            return ""


def _parse(text: str) -> tuple[dict[str, tuple[float, float]], set[str]]:
    """Return value and percentage of running time by event, and the events without a value.

    On processors with two kinds of cores an event comes once for each kind, as cpu_core/cycles/u:
    their values are added up.
    """
    counted: dict[str, tuple[float, float]] = {}
    missing: set[str] = set()
    for line in text.splitlines():
        fields = line.split(",")
        if line.startswith("#") or len(fields) < 5:
            continue
        match = re.fullmatch(r"(?:[a-z0-9_]+/)?([A-Za-z-]+)[/:u]*", fields[2])
        name = match[1] if match else fields[2]
        try:
            value, percent = float(fields[0]), float(fields[4])
        except ValueError:
            missing.add(name)
            continue
        if name in counted:
            before, least = counted[name]
            value, percent = before + value, min(least, percent)
        counted[name] = (value, percent)
    return counted, missing - set(counted)


def _why_nothing(outcome: Outcome, unsupported: set[str]) -> str:
    if unsupported:
        return (
            "perf finds no hardware counters (a virtual machine without them? then turn on its "
            "virtual PMU, or measure on the host)"
        )
    try:
        level = int(_PARANOID.read_text("ascii"))
    except (OSError, ValueError):
        level = 0
    if level > 2:
        return (
            f"the kernel setting kernel.perf_event_paranoid is {level} (allow it with: "
            "sysctl kernel.perf_event_paranoid=2)"
        )
    reason = outcome.start_error or (outcome.error_lines or ["no message"])[0]
    return f"perf stat does not work here ({reason.strip()})"


def crash_under_perf(outcome: Outcome) -> Optional[int]:
    """Return the signal that ended the driver under perf, None if none did.

    perf exits with 0 when its program crashes; it only prints the signal's meaning.
    """
    for line in reversed(outcome.error_lines):
        match = re.fullmatch(r"(?:\S*/)?env: (.+)", line)
        if match is None:
            continue
        for number in signal.valid_signals():
            if signal.strsignal(number) == match[1]:
                return int(number)
    return None
