"""Runs a driver under `perf record` and makes a profile of what it recorded."""
from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import UsageError
from runner.profiles.folded_stacks import Profile, Served, add_up, merged
from runner.profiles.subjects import Subject
from runner.profiles.inlined import MISSING, PROGRAM, Lookup, inlined_functions
from runner.machine import cores_available
from runner.matrix import sample_seconds
from runner.measure import Laboratory, Ticket
from runner.paths import TREE
from runner.profiles.perf_script import name_frames, read_script, write_script
from runner.profiles.profiling import Recorder, Sampling, choose_frequency
from runner.records import Cell, Measurement, Provider, Sample, Settings

_UNKNOWN_SECONDS = 30.0
_FEW_SAMPLES = 200
_MUCH_LOST = 0.2
_WHOLE_STACKS = 0.9


@dataclass(frozen=True)
class Recording:
    """A profile, and the run (or the runs together) that it is of."""

    subject: Subject
    profile: Profile
    provider: Provider
    measured: Measurement
    arguments: list[str]
    frequency: int
    notes: list[str]


@dataclass(frozen=True)
class Studio:
    """What recording needs: where drivers run, how samples are taken, how they are read."""

    laboratory: Laboratory
    sampling: Sampling
    lookup: Lookup

    def record(self, subject: Subject, cell: Cell, settings: Settings, parts: int) -> Recording:
        """Sample one run, which is one of `parts`. Raises UsageError with what went wrong, and
        Interrupted."""
        recorder = Recorder(self.sampling, self.lookup.scratch / f"{subject.slug}.data")
        seconds = (sample_seconds(cell, settings.duration_seconds) or _UNKNOWN_SECONDS) * parts
        recorder.frequency = choose_frequency(seconds, min(cell.concurrency, cores_available()))
        self.laboratory.perf = recorder
        try:
            sample = self.laboratory.sample(Ticket(cell, subject.allocator, 0, 0, False), settings)
            measured, provider = _served(subject, sample)
            served = Served(
                subject.allocator.name, _real_path(provider), self.laboratory.driver(
                    subject.allocator, cell.workload),
            )
            profile = self._read(recorder.data, served)
        finally:
            recorder.close()
            self.laboratory.perf = None
        if not profile.samples:
            raise UsageError(
                f"{subject.given}: perf recorded no sample of the driver; let it run longer with --duration."
            )
        return Recording(subject, profile, provider, measured, sample.arguments, recorder.frequency, [])

    def _read(self, data: Path, served: Served) -> Profile:
        text = self.lookup.scratch / "script.txt"
        write_script(data, text, self.lookup.environment, self.lookup.interrupts)
        with open(text, encoding="utf-8", errors="replace") as lines:
            samples = list(read_script(lines))
        text.unlink()
        inlined = inlined_functions(samples, served.is_measured, self.lookup)
        return add_up(name_frames(samples, self.lookup.names, inlined), served)


def together(recordings: Sequence[Recording], sampling: Sampling) -> Recording:
    """Return the parts of one subject as one recording, with what an operation costs and with notes."""
    runs = [recording.measured for recording in recordings]
    first = recordings[0]
    measured = replace(
        first.measured,
        operations=sum(run.operations for run in runs),
        wall_seconds=sum(run.wall_seconds for run in runs),
        cpu_user_seconds=sum(run.cpu_user_seconds for run in runs),
        cpu_system_seconds=sum(run.cpu_system_seconds for run in runs),
        ops_per_second=sum(run.operations for run in runs) / sum(run.wall_seconds for run in runs),
    )
    profile = merged([recording.profile for recording in recordings])
    cpu = measured.cpu_seconds if sampling.with_kernel else measured.cpu_user_seconds
    whole = profile.weight if sampling.unit == "cycles" else cpu * 1e9
    profile.per_operation = whole / measured.operations
    notes = _notes(first.subject, profile, sampling, cpu)
    return replace(first, profile=profile, measured=measured, notes=notes)


def _served(subject: Subject, sample: Sample) -> tuple[Measurement, Provider]:
    """Return what the driver reported, if it is of this allocator and the samples are of that run."""
    if sample.failure is not None:
        told = "".join(f"\n    {line}" for line in sample.failure.stderr[-4:])
        raise UsageError(
            f"{subject.given} can't be profiled: the run under perf failed "
            f"({sample.failure.reason.rstrip('.')}).{told}"
        )
    assert sample.measured is not None and sample.provider is not None
    if sample.notes:  # it ran without perf at last
        raise UsageError(
            f"{subject.given} can't be profiled: the driver runs, but not under perf record; see whether "
            "perf record works by itself, and whether the disk of the temporary folder is full."
        )
    return sample.measured, sample.provider


def _real_path(provider: Provider) -> str | None:
    """Return where the provider lies: in results its path is relative to the source tree."""
    return None if provider.path is None else os.path.join(TREE, provider.path)


def _notes(subject: Subject, profile: Profile, sampling: Sampling, cpu: float) -> list[str]:
    """Return what makes this profile less than it should be, one sentence each."""
    found: list[str] = []
    if profile.samples < _FEW_SAMPLES:
        found.append(
            f"{subject.title}: only {profile.samples} samples were taken, so that small shares are "
            "guesses; let it run longer with --duration."
        )
    if sampling.unit == "ns" and cpu > 0 and profile.weight < (1 - _MUCH_LOST) * cpu * 1e9:
        found.append(
            f"{subject.title}: perf recorded {profile.weight / (cpu * 1e9):.0%} of the processor time; the "
            "rest is taken to be spent alike."
        )
    if shutil.which(PROGRAM) is None:
        found.append(MISSING)
    if profile.whole < _WHOLE_STACKS * profile.samples:
        found.append(
            f"{subject.title}: {1 - profile.whole / profile.samples:.0%} of the stacks could not be "
            "followed to their beginning; the time in each function itself is right all the same."
        )
    return found
