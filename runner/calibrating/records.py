"""The records of a calibration's file: JSON Lines, each on disk before the next thing begins.

The first is the plan; then come the slope of each cell, every comparison with its verdict, the rounds of
samples in short, the rates of the resampled comparisons, the checks, and an end. docs/calibration.md says
how to read them.
"""
from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

from runner.decode import DecodeError, decode
from runner.errors import UsageError, explain_os_error
from runner.records import Build, Cell, Git, Machine

SCHEMA = "hakmem-calibration"
SCHEMA_VERSION = 1
BLOCK, COMMAND = "block", "command"  # kinds of real comparisons


@dataclass(frozen=True)
class Plan:
    """What is to be done; the first record. Shares are shares (0.01 is 1%), times seconds."""

    schema: str
    schema_version: int
    id: str
    started: str
    command: list[str]
    machine: Machine
    git: Optional[Git]
    build: Build
    cells: list[Cell]
    slow_downs: list[float]  # of the test builds that are measured
    resampled_slow_downs: list[float]
    resampled_budgets: list[float]
    resamples: int  # comparisons of each cell, slow-down and budget
    effect: float  # what the comparisons ask for
    false_discovery_rate: float
    budget_each: float  # of a real comparison
    time_budget: float  # of everything
    sample_seconds: float
    order_seed: int
    quick: bool


@dataclass(frozen=True)
class SlopeFound:
    """What a round of burning costs in a cell, and how many rounds each slow-down takes: `rounds`,
    `expected`, `low` and `high` belong to the plan's slow-downs. `at`: seconds since the beginning."""

    cell: str
    per_round: float
    low_per_round: float
    high_per_round: float
    probe_rounds: int
    probe_slow_down: float
    pairs: int
    rounds: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]
    at: float


@dataclass(frozen=True)
class RoundMeasured:
    """Throughput in a round: of the build that burns nothing, of its copy, and of the slowed ones; None
    where the sample failed."""

    cell: str
    number: int
    block: int
    started: str
    ops_per_second: list[Optional[float]]


@dataclass(frozen=True)
class Outcome:
    """One real comparison. `slow_down` is what the build was made for, 0 for a copy of the same. The
    throughput is that of the whole run. `slower` and `faster` name every question so answered. `at`:
    seconds since the beginning of the calibration."""

    kind: str  # block: cut out of a recording; command: made by run.py and compare.py
    number: int
    cell: str
    slow_down: float
    budget: float
    seconds: float  # that it took of it
    pairs: int
    verdict: str  # of the throughput
    change_to_worse: float
    low: float
    high: float
    questions: int
    slower: list[str]
    faster: list[str]
    undecided: int
    at: float

    @property
    def errs(self) -> bool:
        """True if it calls anything different that is not: of a build with itself, anything at all; of a
        slowed one, anything faster."""
        return bool(self.faster or (self.slower and not self.slow_down))

    @property
    def detects(self) -> bool:
        """True if it calls the throughput slower."""
        return self.verdict == "slower"


@dataclass(frozen=True)
class Resampled:
    """A batch of comparisons of samples that were drawn again. `shifted`: the slow-down was put in by
    arithmetic, into pairs of a build with itself."""

    cell: str
    slow_down: float
    shifted: bool
    budget: float
    batch: int
    comparisons: int
    detected: int
    erring: int
    undecided: int
    pairs: float  # of a comparison, on average
    recorded_pairs: int  # that they were drawn from


@dataclass(frozen=True)
class ExactOutcome:
    """The comparison of exact instruction counts of a build that executes a little more."""

    cell: str
    number: int
    rounds: int
    expected_change: float
    base: float  # instructions per operation
    new: float
    verdict: str


@dataclass(frozen=True)
class Check:
    """A figure that was asked for, and what was found; `passed` is None where too little was measured."""

    name: str
    asked: str
    found: str
    passed: Optional[bool]


@dataclass(frozen=True)
class Finished:
    """The calibration ended: complete, or interrupted."""

    status: str
    ended: str
    seconds: float


Entry = Union[Plan, SlopeFound, RoundMeasured, Outcome, Resampled, ExactOutcome, Check, Finished]
_TYPES: dict[str, type] = {
    "calibration": Plan, "slope": SlopeFound, "round": RoundMeasured, "comparison": Outcome,
    "resampled": Resampled, "exact": ExactOutcome, "check": Check, "end": Finished,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


class Records:
    """All that a file holds. `kept_bytes` are those of whole lines."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self.entries: list[Entry] = [plan]
        self.kept_bytes = 0
        self.cut_bytes = 0

    def of(self, cls: type) -> list[Any]:
        """Return the records of one type, in their order."""
        return [entry for entry in self.entries if isinstance(entry, cls)]

    @property
    def complete(self) -> bool:
        """True if the last thing that happened was that everything was done."""
        last = self.entries[-1]
        return isinstance(last, Finished) and last.status == "complete"

    @property
    def spent(self) -> float:
        """Seconds that went into what is there."""
        times = [e.at for e in self.entries if isinstance(e, (SlopeFound, Outcome))]
        return max([0.0, *times, *(e.seconds for e in self.of(Finished))])


def read_records(path: Path) -> Records:
    """Return what is in a calibration's file; a last line that was cut off is left out. Raises
    UsageError naming what is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    lines = data.split(b"\n")
    tail = lines.pop()
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(_parse(line))
        except ValueError as error:
            raise UsageError(
                f"{path}:{number}: this is no line of a calibration ({error}); give the .jsonl file that "
                "runner/calibrate.py wrote, or restore it from a copy."
            ) from error
    if not entries or not isinstance(entries[0], Plan):
        raise UsageError(f"'{path}' does not begin with the plan of a calibration; calibrate again.")
    records = Records(path, entries[0])
    records.entries = entries
    records.cut_bytes, records.kept_bytes = len(tail), len(data) - len(tail)
    return records


def _parse(line: bytes) -> Entry:
    value = json.loads(line.decode("utf-8"))
    cls = _TYPES.get(str(value.get("record"))) if isinstance(value, dict) else None
    if cls is None:
        raise DecodeError("unknown kind of record")
    if cls is Plan and (value.get("schema"), value.get("schema_version")) != (SCHEMA, SCHEMA_VERSION):
        raise DecodeError(
            f"it is version {value.get('schema_version')!r} of {value.get('schema')!r}, not version "
            f"{SCHEMA_VERSION} of '{SCHEMA}'"
        )
    entry: Entry = decode(cls, value)
    return entry


class RecordsWriter:
    """Appends to a calibration's file; each record is on disk before `write` returns. Holds a lock."""

    def __init__(self, records: Records, stream: BinaryIO) -> None:
        self.records = records
        self._stream = stream

    @classmethod
    def create(cls, path: Path, plan: Plan) -> RecordsWriter:
        """Make a new file; one that exists is never overwritten. Raises UsageError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = open(path, "xb", buffering=0)
        except FileExistsError as error:
            raise UsageError(
                f"'{path}' exists; choose another --output, or go on with it by --resume."
            ) from error
        except OSError as error:
            raise UsageError(explain_os_error(error, path)) from error
        writer = cls(Records(path, plan), stream)
        writer.records.entries = []
        writer._lock()
        writer.write(plan)
        return writer

    @classmethod
    def reopen(cls, path: Path) -> RecordsWriter:
        """Go on with a file; what was cut off at its end is removed. Raises UsageError."""
        read_records(path)  # what is no calibration is not touched
        try:
            stream = open(path, "r+b", buffering=0)
        except OSError as error:
            raise UsageError(explain_os_error(error, path)) from error
        writer = cls(read_records(path), stream)
        writer._lock()
        writer.records = read_records(path)  # again: until it was locked another one could write it
        stream.truncate(writer.records.kept_bytes)
        stream.seek(writer.records.kept_bytes)
        return writer

    def write(self, *entries: Entry) -> None:
        """Append records, all or none of them. Raises UsageError; what was there stays."""
        text = "".join(
            json.dumps({"record": _NAMES[type(entry)], **dataclasses.asdict(entry)}, allow_nan=False,
                       separators=(",", ":")) + "\n"
            for entry in entries
        )
        place = self._stream.tell()
        try:
            rest = memoryview(text.encode("ascii"))
            while rest:
                rest = rest[self._stream.write(rest):]
            os.fsync(self._stream.fileno())
        except OSError as error:
            try:
                self._stream.truncate(place)
                self._stream.seek(place)
            except OSError:
                pass  # readers cope with a cut last line
            raise UsageError(explain_os_error(error, self.records.path)) from error
        self.records.entries.extend(entries)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stream.close()
            raise UsageError(
                f"'{self.records.path}' is being written by another calibration; wait for its end."
            ) from error
        except OSError:
            pass  # a file system without locks
