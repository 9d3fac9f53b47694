"""Samples a driver with `perf record`: which event and which kind of call graph work here, and a recorder
that a Laboratory runs its drivers under.

The drivers are built without frame pointers, and so are Debian's libraries, so that stacks can't be
followed by them: of larson's samples 98% lost their caller, against 1% when perf copies a piece of each
stack and unwinds it afterwards by the tables that every library has (.eh_frame). 2 KiB of stack hold all
frames of the drivers; larger pieces found no more. At up to 20,000 samples that is about 45 MB, which
lie in a scratch folder and are gone at the end, and perf reads them in a few seconds.
"""
from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.counters import PerfStat
from runner.errors import UsageError
from runner.execute import Outcome, run_program
from runner.interrupts import Interrupts
from runner.records import Counters, CounterSetup

CALL_GRAPHS = ("dwarf,2048", "fp")  # the first that works is taken
MAX_SAMPLES = 20_000
_FREQUENCIES = (2999, 1999, 997, 499, 199, 99, 49)  # odd, so as not to run in step with what is measured
_EVENTS = ("cycles", "cpu-clock")
_USER_MODE = re.compile(r"[:/][A-Za-z]*u[A-Za-z]*$")  # as in cycles:u and cpu_core/cycles/u
_PROBE_SECONDS = 30.0
# A listener for programs loaded into the kernel would make every recording end half a second late, and
# perf's cache would keep a copy of every library in the user's home.
_RECORD = ("record", "-q", "--no-bpf-event", "--no-buildid-cache")
_MAX_DATA = "500M"  # where perf ends a recording early, should all else fail to keep it small
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


@dataclass(frozen=True)
class Sampling:
    """How samples are taken. `event` is as perf names it; its user mode alone is meant where it ends
    in `:u`. `unit` is what the samples' periods count."""

    event: str
    call_graph: str
    unit: str  # cycles | ns

    @property
    def with_kernel(self) -> bool:
        """True if what the kernel does for the process is sampled too."""
        return _USER_MODE.search(self.event) is None

    def notes(self) -> list[str]:
        """Return what a reader must know, one sentence each."""
        found: list[str] = []
        if self.unit != "cycles":
            found.append(
                "This machine has no counter of cycles that perf can use: the processor time was sampled "
                "by the software's clock, and costs are nanoseconds."
            )
        if not self.with_kernel:
            found.append(
                "Only user mode was sampled; for the kernel's share allow it with: "
                "sysctl kernel.perf_event_paranoid=1"
            )
        if self.call_graph == "fp":
            found.append(
                "This perf can't unwind stacks, so callers are missing wherever code was built "
                "without frame pointers; the time in each function itself is right."
            )
        return found


def choose_sampling(environment: Mapping[str, str], scratch: Path, interrupts: Interrupts) -> Sampling:
    """Find out by trying how perf can sample here. Raises UsageError with what to install or to set."""
    perf = find_perf()
    outcome: Optional[Outcome] = None
    data = scratch / "probe.data"
    for call_graph in CALL_GRAPHS:
        for event in _EVENTS:
            outcome = run_program(
                [perf, *_RECORD, "-e", event, "-F", "99", "--call-graph", call_graph, "-o", str(data),
                 "--", "true"],
                PerfStat.environment(environment), _PROBE_SECONDS, interrupts,
            )
            if outcome.status == 0 and data.is_file() and data.stat().st_size > 0:
                # perf turns to the clock, or to user mode, by itself, and only says so in the file.
                taken = _event_taken(perf, data, environment, interrupts) or event
                return Sampling(taken, call_graph, "cycles" if "cycles" in taken else "ns")
    assert outcome is not None
    raise UsageError(_why_not(outcome, perf))


def find_perf() -> str:
    """Return the path of perf; raises UsageError with what to install."""
    perf = shutil.which("perf")
    if perf is None:
        raise UsageError(
            "the program perf is not installed, so nothing can be sampled; install Debian's package "
            "linux-perf (Ubuntu: linux-tools-generic)."
        )
    return perf


def _event_taken(
    perf: str, data: Path, environment: Mapping[str, str], interrupts: Interrupts
) -> Optional[str]:
    outcome = run_program([perf, "evlist", "-i", str(data)], PerfStat.environment(environment),
                          _PROBE_SECONDS, interrupts)
    names = [line.strip() for line in outcome.output.decode("utf-8", "replace").splitlines()]
    events = [name for name in names if any(event in name for event in _EVENTS)]
    return ",".join(events) if outcome.status == 0 and events else None


def _why_not(outcome: Outcome, perf: str) -> str:
    try:
        level = int(_PARANOID.read_text("ascii"))
    except (OSError, ValueError):
        level = 0
    if level > 2 and os.geteuid() != 0:
        return (
            f"perf may not sample here: the kernel setting kernel.perf_event_paranoid is {level}; allow "
            "it with: sysctl kernel.perf_event_paranoid=2, or give perf the capability CAP_PERFMON "
            f"(setcap cap_perfmon=ep {os.path.realpath(perf)})."
        )
    lines = [line.strip() for line in outcome.error_lines if line.strip() not in ("Error:", "Warning:")]
    said = (outcome.start_error or next(iter(lines), "no message")).rstrip(".")
    return (
        f"perf record does not work here ({said}); in a container allow it the system call "
        "perf_event_open (docker run --cap-add PERFMON), elsewhere look whether perf fits the kernel."
    )


def choose_frequency(seconds: float, busy_threads: int) -> int:
    """Return how many samples a second to take of each thread, so that they are not more than
    MAX_SAMPLES in all."""
    most = MAX_SAMPLES / max(seconds, 0.01) / max(1, busy_threads)
    return next((frequency for frequency in _FREQUENCIES if frequency <= most), _FREQUENCIES[-1])


class Recorder(PerfStat):
    """Runs drivers under `perf record`, in the place of a Laboratory's `perf stat`."""

    def __init__(self, sampling: Sampling, data: Path) -> None:
        super().__init__(None, CounterSetup([], None))
        self.sampling = sampling
        self.data = data
        self.frequency = _FREQUENCIES[-1]
        self._variables: dict[str, str] = {}

    @property
    def active(self) -> bool:
        """Always: whatever runs is sampled."""
        return True

    def wrap(
        self, arguments: Sequence[str], variables: Optional[Mapping[str, str]] = None
    ) -> list[str]:
        """Return the command line that samples `arguments`. `variables` are set for perf too: a program
        between the two (env) that maps the C library before the driver does makes perf lose the callers
        of the C library's functions, in one recording of three (seen with perf 6.1)."""
        self._forget()
        self._variables = dict(variables or {})
        return [
            find_perf(), *_RECORD, "-e", self.sampling.event, "-F", str(self.frequency),
            "--call-graph", self.sampling.call_graph, f"--max-size={_MAX_DATA}", "-o", str(self.data),
            "--", *arguments,
        ]

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:  # type: ignore[override]
        """Return the environment of perf and the driver; follows `wrap`."""
        return {**PerfStat.environment(environment), **self._variables}

    def read(self) -> Optional[Counters]:
        """Return no numbers, but something if samples were recorded."""
        recorded = self.data.is_file() and self.data.stat().st_size > 0
        return Counters({}, 100.0) if recorded else None

    def close(self) -> None:
        """Remove what was recorded."""
        self._forget()
        super().close()

    def _forget(self) -> None:
        for path in (self.data, self.data.with_name(self.data.name + ".old")):
            if path.exists():
                path.unlink()
