"""The records of a results file: what each line holds.

The fields, their units and meanings are described in docs/results-schema.md, and formally in
results.schema.json beside this file. All byte counts are bytes, all times seconds, unless the
name says otherwise.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional, Union

SCHEMA_NAME = "hakmem-results"
SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)  # in version 1 there were no programs, before version 3 no builds

Value = Union[int, float, str]


@dataclass(frozen=True)
class Provider:
    """The loaded object that served malloc, as the driver found it at run time."""

    name: str
    version: Optional[str]
    path: Optional[str]
    build_id: Optional[str]
    complete: bool


@dataclass(frozen=True)
class Phase:
    """One phase of a workload."""

    name: str
    operations: int
    wall_seconds: float
    cpu_seconds: float
    ops_per_second: float
    rss_bytes: int
    minor_faults: int


@dataclass(frozen=True)
class CallLatency:
    """Times of single calls, in nanoseconds; None where no call was sampled. The histogram holds each time
    that was seen, ascending, and how many calls took so long; results of earlier versions have none."""

    samples: int
    p50: Optional[float]
    p99: Optional[float]
    p999: Optional[float]
    max: Optional[float]
    histogram: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Latency:
    """Sampled latency of malloc and free."""

    unit: str
    sample_every: int
    clock_ns: float
    malloc: CallLatency
    free: CallLatency


@dataclass(frozen=True)
class Check:
    """What --check verified."""

    blocks: int
    errors: int


@dataclass(frozen=True)
class Process:
    """A process of a program that was measured from outside."""

    name: str
    cpu_seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Measurement:
    """The numbers of one sample, as the driver reported them."""

    operations: int
    wall_seconds: float
    cpu_user_seconds: float
    cpu_system_seconds: float
    ops_per_second: float
    peak_rss_bytes: int
    end_rss_bytes: int
    rss_halves_bytes: list[int]
    minor_faults: int
    major_faults: int
    checksum: Optional[str]
    phases: list[Phase]
    latency: Optional[Latency]
    check: Optional[Check]
    arguments: dict[str, Any]
    processes: list[Process] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_seconds(self) -> float:
        """Processor time in user mode and in the kernel."""
        return self.cpu_user_seconds + self.cpu_system_seconds


@dataclass(frozen=True)
class Counters:
    """Hardware counters of the whole driver process in user mode."""

    events: dict[str, float]
    running_percent: float


@dataclass(frozen=True)
class Failure:
    """Why a sample has no numbers."""

    kind: str
    reason: str
    stderr: list[str]


@dataclass(frozen=True)
class Sample:
    """One run of one driver."""

    round: int
    position: int
    warmup: bool
    cell: str
    workload: str
    allocator: str
    status: str
    started: str
    elapsed_seconds: float
    arguments: list[str]
    load_average: Optional[float]
    provider: Optional[Provider]
    measured: Optional[Measurement]
    counters: Optional[Counters]
    failure: Optional[Failure]
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if the sample has numbers."""
        return self.status == "ok"


@dataclass(frozen=True)
class Cell:
    """One workload with one set of parameters; measured once per allocator and round."""

    id: str
    workload: str
    parameters: dict[str, Value]
    concurrency: int
    calibrated: bool = False
    measure: str = "throughput"  # or "cpu_time": of a program, which does the same work each time
    units: Optional[int] = None
    input_sha256: Optional[str] = None

    @property
    def is_program(self) -> bool:
        """True for a real program, whose processor time counts."""
        return self.measure == "cpu_time"


@dataclass(frozen=True)
class ProgramFile:
    """A file that the numbers depend on."""

    path: str
    sha256: str


@dataclass(frozen=True)
class AllocatorEntry:
    """An allocator that takes part in the run."""

    name: str
    kind: str
    library: Optional[ProgramFile]
    version: Optional[str]
    build_id: Optional[str]
    drivers: dict[str, ProgramFile]


@dataclass(frozen=True)
class ProgramEntry:
    """A real program that takes part in the run."""

    path: str
    sha256: str
    version: str
    units: str


@dataclass(frozen=True)
class BuildEntry:
    """A build of hakmem that a comparison measures. `allocator` is its name among the run's allocators,
    which is also its role: base, new, new2 ...; `given` is what the user named it by."""

    allocator: str
    given: str
    kind: str  # revision | directory | library
    commit: Optional[str]
    dirty: bool
    subject: Optional[str]  # the first line of the commit's message


@dataclass(frozen=True)
class Cache:
    """A level of the processor's caches for data, as the first processor has it."""

    level: int
    bytes: int
    shared_by: int  # processors


@dataclass(frozen=True)
class Machine:
    """The machine, as far as it matters for the numbers. Holds no host name."""

    cpu_model: str
    architecture: str
    cores_available: int
    cores_total: int
    cpu_quota_cores: Optional[float]
    threads_per_core: Optional[int]
    memory_bytes: Optional[int]
    page_bytes: int
    kernel: str
    system: Optional[str]
    governor: Optional[str]
    transparent_hugepages: Optional[str]
    virtualization: Optional[str]
    load_average: Optional[float]
    python: str
    caches: list[Cache] = field(default_factory=list)  # the smallest level first


@dataclass(frozen=True)
class Build:
    """How the drivers were compiled."""

    variant: str
    compiler: str
    flags: str


@dataclass(frozen=True)
class Git:
    """The state of the source tree."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class CounterSetup:
    """Which hardware counters are read, or why none."""

    events: list[str]
    note: Optional[str]


@dataclass(frozen=True)
class Settings:
    """How the run was measured."""

    duration_seconds: float
    rounds: Optional[int]
    budget_seconds: Optional[float]
    check: bool
    latency: bool
    quick: bool
    workload_seed: int
    order_seed: int
    sample_limit_seconds: Optional[float]
    effect: Optional[float] = None  # of a comparison: the share that its intervals are to be narrower than


@dataclass(frozen=True)
class RunHeader:
    """The first record of a file: everything that holds for the whole run."""

    schema: str
    schema_version: int
    id: str
    started: str
    command: list[str]
    environment: dict[str, str]
    machine: Machine
    build: Build
    git: Optional[Git]
    counters: CounterSetup
    settings: Settings
    matrix: dict[str, list[Value]]
    workloads: list[str]
    allocators: list[AllocatorEntry]
    skipped: dict[str, str]
    cells: list[Cell]
    programs: dict[str, ProgramEntry] = field(default_factory=dict)
    builds: list[BuildEntry] = field(default_factory=list)  # of a comparison: the base comes first


@dataclass(frozen=True)
class ExactCount:
    """Instructions that a fixed small run executed in user mode, counted one by one by a simulator, and
    divided by its operations after what starting and ending cost was taken away."""

    cell: str
    workload: str
    allocator: str
    tool: str
    instructions_per_operation: float
    operations: int
    started: str
    elapsed_seconds: float
    arguments: list[str]
    failure: Optional[Failure] = None


@dataclass(frozen=True)
class Resume:
    """Written when an interrupted run goes on."""

    started: str
    cut_bytes: int
    load_average: Optional[float]


@dataclass(frozen=True)
class End:
    """Written when the measuring ended, for whatever reason."""

    status: str
    reason: Optional[str]
    ended: str
    samples: int
    failed: int
    outside_percent: Optional[float] = None  # of the wall time: what passed while no driver ran


Record = Union[RunHeader, Sample, ExactCount, Resume, End]

RECORD_TYPES: dict[str, type] = {
    "run": RunHeader, "sample": Sample, "exact": ExactCount, "resume": Resume, "end": End,
}
_NAMES = {cls: name for name, cls in RECORD_TYPES.items()}


def to_json(record: Record) -> dict[str, Any]:
    """Return the JSON object of a record; its first member, `record`, names its type. Raises ValueError for
    what is no JSON, such as infinity."""
    value: dict[str, Any] = json.loads(to_line(record))
    return value


def to_line(record: Record) -> str:
    """Return the record as a line of a file, without its end. Several times as fast as by
    `dataclasses.asdict`, since it is done between samples. Raises ValueError like `to_json`."""
    value = {"record": _NAMES[type(record)], **vars(record)}
    return json.dumps(value, default=vars, allow_nan=False, separators=(",", ":"))
