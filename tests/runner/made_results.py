"""Writes synthetic results files, valid and with known effects, for the tests of what reads results."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional, Union

from runner.records import (
    SCHEMA_NAME, SCHEMA_VERSION, AllocatorEntry, Build, BuildEntry, Cell, CounterSetup, Git, Machine,
    ProgramEntry, ProgramFile, RunHeader, Settings, to_json,
)

Record = dict[str, Any]
Effect = Union[float, Mapping[tuple[str, str, str], float]]

# Phases of each workload: name, share of the sample's time, operations a second of one thread.
PHASES: dict[str, list[tuple[str, float, float]]] = {
    "larson": [("fill", 0.0086, 2.3e6), ("churn", 0.92, 60e6), ("handover", 0.07, 9e6),
               ("drain", 0.0014, 22e6)],
    "bench_random_mixed": [("fill", 0.014, 4e6), ("churn", 0.984, 34e6), ("drain", 0.002, 31e6)],
    "xmalloc": [("fill", 0.001, 4.5e6), ("exchange", 0.998, 4.6e6), ("drain", 0.001, 8e6)],
}
UNITS = {"redis": "commands", "sqlite": "statements", "gcc": "functions", "python": "rounds"}
SUBJECTS = ("hakmem", "new")
COMMITS = {"base": "1" * 40, "new": "2" * 40, "new2": "3" * 40}
_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
_SPEEDS = {"mimalloc": 0.95, "jemalloc": 0.9, "tcmalloc": 0.85, "tbbmalloc": 0.8, "system": 0.6,
           "floor": 1.25, "none": 2.0}


def make_run(
    path: Path, *, builds: Union[bool, int] = True, workloads: Sequence[str] = ("larson",),
    threads: Sequence[int] = (1,), rounds: int = 20, effect: Effect = 0.0, noise: float = 0.01,
    seed: int = 1, latency: bool = False, allocators: Optional[Sequence[str]] = None,
    exact: bool = False, counters: bool = False, session: float = 0.0, drift: float = 0.0,
    outliers: float = 0.0, neighbours: bool = False, count_noise: float = 0.0,
    seconds: float = 0.25, fail: Iterable[tuple[int, str]] = (), schema_version: int = SCHEMA_VERSION,
    effect_asked: Optional[float] = 0.02, complete: bool = True,
    machine: Optional[Mapping[str, Any]] = None, build: Optional[Mapping[str, Any]] = None,
    settings: Optional[Mapping[str, Any]] = None, commit: str = "a" * 40,
) -> Path:
    """Write a results file to `path` and return it.

    `builds`: a comparison of builds: allocators base, new (an int: so many new ones: new2 ...), their
    samples of a cell and round side by side; False: a matrix of `allocators` (default hakmem,
    mimalloc, system). With builds, `allocators` are measured beside them (default none).
    `workloads` may hold programs (redis, sqlite, gcc, python). xmalloc runs with 2 threads or more.
    `effect`: by which share `new` (without builds: hakmem) is worse: 0.02 is 2% less throughput; a
    mapping (workload, phase, metric): share holds for one phase ("" is the whole run), and for one
    of the metrics of runner.verdict.comparison.
    `noise`: standard deviation of a sample's log speed; `count_noise` the same of memory and faults.
    `session`: log speed of everything in this file; `drift`: log change of it from first to last round;
    `outliers`: share of samples that lose up to half; `neighbours`: for some seconds at a time all
    samples lose half their speed. `fail`: (round, allocator) of samples that fail in every cell.
    `latency`, `counters`, `exact` add what these are called after. `machine`, `build` and `settings`
    replace fields of the header's. `complete=False` leaves out the record of the end.
    """
    names = _names(builds, allocators)
    header = _header(names, builds, workloads, threads, rounds, latency, counters, seconds,
                     schema_version, effect_asked, machine, build, settings, commit, effect, path, seed)
    maker = _Maker(random.Random(seed), _effects(effect), noise, count_noise, session, drift, outliers,
                   neighbours, latency, counters, seconds, rounds, "hakmem" if not builds else "new")
    records: list[Record] = [to_json(header)]
    failing = set(fail)
    for cell in header.cells:  # one warm-up of each
        for name in names:
            records.append(maker.sample(cell, name, 0, len(records) - 1, False))
    for number in range(1, rounds + 1):
        for cell, name in _order(header.cells, names, bool(builds), maker.random):
            failed = (number, name) in failing
            records.append(maker.sample(cell, name, number, len(records) - 1, failed))
    failures = sum(record.get("status") == "failed" for record in records)
    samples = len(records) - 1
    if exact:
        records += [maker.exact(cell, name) for cell in header.cells for name in names]
    if complete:
        records.append({"record": "end", "status": "complete", "reason": None, "ended": maker.clock(),
                        "samples": samples, "failed": failures})
    return write_records(path, records)


def write_records(path: Path, records: Iterable[Record]) -> Path:
    """Write records, a line each, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii") as stream:
        for record in records:
            stream.write(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n")
    return path


def read_records(path: Path) -> list[Record]:
    """Return all records of a file."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def edit_records(path: Path, change: Callable[[Record], Optional[Record]]) -> Path:
    """Rewrite a file with `change` of each record; None leaves it out."""
    changed = [change(record) for record in read_records(path)]
    return write_records(path, [record for record in changed if record is not None])


def _names(builds: Union[bool, int], allocators: Optional[Sequence[str]]) -> list[str]:
    if builds is False:
        return list(("hakmem", "mimalloc", "system") if allocators is None else allocators)
    new = ["new" if n == 1 else f"new{n}" for n in range(1, int(builds) + 1)]
    return ["base", *new, *(name for name in allocators or () if name != "hakmem")]


def _effects(effect: Effect) -> dict[tuple[str, str, str], float]:
    if isinstance(effect, Mapping):
        return dict(effect)
    return {("", "", "ops_per_second"): effect}


def _order(
    cells: Sequence[Cell], names: Sequence[str], side_by_side: bool, generator: random.Random
) -> list[tuple[Cell, str]]:
    """The order of a round: pairs side by side in a comparison, else all mixed."""
    if not side_by_side:
        pairs = [(cell, name) for cell in cells for name in names]
        generator.shuffle(pairs)
        return pairs
    return [
        (cell, name)
        for cell in generator.sample(list(cells), len(cells))
        for name in generator.sample(list(names), len(names))
    ]


class _Maker:
    """Makes the samples of a run, one after the other."""

    def __init__(
        self, generator: random.Random, effects: dict[tuple[str, str, str], float], noise: float,
        count_noise: float, session: float, drift: float, outliers: float, neighbours: bool,
        latency: bool, counters: bool, seconds: float, rounds: int, subject: str,
    ) -> None:
        self.random, self.effects, self.noise, self.count_noise = generator, effects, noise, count_noise
        self.session, self.drift, self.outliers, self.neighbours = session, drift, outliers, neighbours
        self.latency, self.counters, self.seconds, self.rounds = latency, counters, seconds, rounds
        self.subject = subject
        self.now = _START
        self._busy_until = self.now
        self._quiet_until = self.now + timedelta(seconds=generator.expovariate(1 / 8))

    def clock(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def worse(self, cell: Cell, name: str, phase: str, metric: str) -> float:
        """By which share this is worse; an effect of the whole run holds in each phase."""
        if name != self.subject:
            return 0.0
        keys = [(w, p, metric) for w in (cell.workload, "") for p in {phase, ""}]
        return next((self.effects[key] for key in keys if key in self.effects), 0.0)

    def _log_speed(self, number: int) -> float:
        """What this sample's time and the machine do to its speed."""
        log = self.session + self.random.gauss(0, self.noise)
        log += self.drift * (number - 1) / max(1, self.rounds - 1) if number else 0.0
        if self.random.random() < self.outliers:
            log -= self.random.uniform(0.05, 0.7)
        if self.neighbours and self.now >= self._quiet_until:
            self._busy_until = self.now + timedelta(seconds=self.random.expovariate(1 / 3))
            self._quiet_until = self._busy_until + timedelta(seconds=self.random.expovariate(1 / 8))
        return log - (0.69 if self.neighbours and self.now < self._busy_until else 0.0)

    def _count(self, value: float, worse: float) -> int:
        return max(1, round(value * (1 + worse) * 2.718281828 ** self.random.gauss(0, self.count_noise)))

    def sample(self, cell: Cell, name: str, number: int, position: int, failed: bool) -> Record:
        """Return one sample."""
        self.now += timedelta(seconds=self.seconds + 0.02)
        record: Record = {
            "record": "sample", "round": number, "position": position, "warmup": number == 0,
            "cell": cell.id, "workload": cell.workload, "allocator": name,
            "status": "failed" if failed else "ok", "started": self.clock(),
            "elapsed_seconds": self.seconds + 0.02, "arguments": ["--json", "--seed", "42"],
            "load_average": 0.5, "provider": {
                "name": "hakmem", "version": "0.1.0", "path": f"builds/{name}/libhakmem.so",
                "build_id": "00ff", "complete": True},
            "measured": None, "counters": None, "failure": None, "notes": [],
        }
        if failed:
            record["failure"] = {"kind": "crash", "reason": "killed by signal 11 (Segmentation fault)",
                                 "stderr": []}
        else:
            record["measured"] = self._measured(cell, name, number)
            if self.counters:
                record["counters"] = self._counted(cell, name, record["measured"]["operations"])
        return record

    def _measured(self, cell: Cell, name: str, number: int) -> Record:
        speed = 2.718281828 ** self._log_speed(number) * _SPEEDS.get(name, 1.0)
        faults = self._count(2900, self.worse(cell, name, "", "minor_faults"))
        peak = 4096 * self._count(2000, self.worse(cell, name, "", "peak_rss_bytes"))
        phases = [self._phase(cell, name, speed, *phase) for phase in _phases(cell)]
        operations = sum(phase["operations"] for phase in phases)
        wall = sum(phase["wall_seconds"] for phase in phases)
        cpu = sum(phase["cpu_seconds"] for phase in phases)
        cpu *= 1 + self.worse(cell, name, "", "cpu_ns_per_op")
        return {
            "operations": operations, "wall_seconds": wall, "cpu_user_seconds": round(cpu * 0.9, 6),
            "cpu_system_seconds": round(cpu * 0.1, 6), "ops_per_second": round(operations / wall, 1),
            "peak_rss_bytes": peak, "end_rss_bytes": peak,
            "rss_halves_bytes": [] if cell.is_program else [peak, peak], "minor_faults": faults,
            "major_faults": 0, "checksum": None, "phases": phases,
            "latency": self._latency(cell, name, speed) if self.latency else None, "check": None,
            "arguments": {"threads": cell.concurrency, "seed": 42},
            "processes": [{"name": cell.workload, "cpu_seconds": cpu, "peak_rss_bytes": peak}]
            if cell.is_program else [],
        }

    def _phase(
        self, cell: Cell, name: str, speed: float, phase: str, share: float, rate: float
    ) -> Record:
        """A driver's phase takes a fixed time, a program does fixed work."""
        rate *= cell.concurrency * speed * (1 - self.worse(cell, name, phase, "ops_per_second"))
        if cell.is_program:
            operations, wall = cell.units or 1, (cell.units or 1) / rate
        else:
            wall = self.seconds * share
            operations = max(1, round(rate * wall))
        return {"name": phase, "operations": operations, "wall_seconds": wall,
                "cpu_seconds": wall * cell.concurrency * 0.98, "ops_per_second": round(operations / wall, 1),
                "rss_bytes": 8192000, "minor_faults": 100}

    def _latency(self, cell: Cell, name: str, speed: float) -> Record:
        calls = {}
        for call in ("malloc", "free"):
            values = {
                quantile: round(value / speed * (1 + self.worse(cell, name, "", f"{call}_{quantile}"))
                                * 2.718281828 ** self.random.gauss(0, 2 * self.noise), 2)
                for quantile, value in (("p50", 25.0), ("p99", 120.0), ("p999", 900.0))
            }
            shares = zip([*values.values(), 50000.0], (9899, 90, 10, 1))  # what has these percentiles
            calls[call] = {"samples": 10000, **values, "max": 50000.0,
                           "histogram": [[time, count] for time, count in shares]}
        return {"unit": "ns", "sample_every": 1024, "clock_ns": 20.0, **calls}

    def _counted(self, cell: Cell, name: str, operations: int) -> Record:
        per_operation = {"instructions": (60.0, 0.0002), "cycles": (45.0, self.noise)}
        events = {
            event: operations * value * (1 + self.worse(cell, name, "", f"{event}_per_op"))
            * 2.718281828 ** self.random.gauss(0, spread)
            for event, (value, spread) in per_operation.items()
        }
        return {"events": events, "running_percent": 100.0}

    def exact(self, cell: Cell, name: str) -> Record:
        """Return an exact count."""
        worse = self.worse(cell, name, "", "exact_instructions_per_op")
        return {"record": "exact", "cell": cell.id, "workload": cell.workload, "allocator": name,
                "tool": "callgrind 3.19", "instructions_per_operation": 61.25 * (1 + worse),
                "operations": 200000, "started": self.clock(), "elapsed_seconds": 2.0,
                "arguments": ["--operations", "200000"], "failure": None}


def _phases(cell: Cell) -> list[tuple[str, float, float]]:
    if cell.is_program:
        return [("run", 1.0, float(cell.units or 1))]  # a second of work
    return PHASES[cell.workload]


def _cells(workloads: Sequence[str], threads: Sequence[int]) -> list[Cell]:
    cells: list[Cell] = []
    for workload in workloads:
        if workload in UNITS:
            cells.append(Cell(workload, workload, {"work": 100}, 1, measure="cpu_time", units=1000,
                              input_sha256="c" * 64))
            continue
        cells += [
            Cell(f"{workload} threads={count}", workload, {"threads": count}, count)
            for count in threads if workload != "xmalloc" or count > 1 or len(threads) == 1
        ]
    return cells


def _header(
    names: Sequence[str], builds: Union[bool, int], workloads: Sequence[str], threads: Sequence[int],
    rounds: int, latency: bool, counters: bool, seconds: float, schema_version: int,
    effect_asked: Optional[float], machine: Optional[Mapping[str, Any]],
    build: Optional[Mapping[str, Any]], settings: Optional[Mapping[str, Any]], commit: str,
    effect: Effect, path: Path, seed: int,
) -> RunHeader:
    events = ["cycles", "instructions"] if counters else []
    roles = list(COMMITS)[: 1 + int(builds)] if builds else []
    header = RunHeader(
        schema=SCHEMA_NAME, schema_version=schema_version, id=f"20260102T030405Z-{_hash(str(path), seed)[:6]}",
        started="2026-01-02T03:04:05Z", command=["runner/run.py", "--matrix", "threads=1"],
        environment={},
        machine=Machine("Made Processor", "x86_64", 2, 2, None, 1, 8 << 30, 4096, "Linux 6.1", "Debian",
                        None, "madvise", None, 0.3, "CPython 3.11.2"),
        build=Build("release", "gcc 12.2.0", "-std=c11 -O2 -g"), git=Git(commit, False),
        counters=CounterSetup(events, None if counters else "perf is not installed"),
        settings=Settings(seconds, rounds, None, False, latency, False, 42, 7, None,
                          effect_asked if builds else None),
        matrix={"threads": list(threads)}, workloads=list(workloads),
        allocators=[_allocator(name, workloads, effect) for name in names], skipped={},
        cells=_cells(workloads, threads),
        programs={name: ProgramEntry(f"/usr/bin/{name}", "d" * 64, "1.0", UNITS[name])
                  for name in workloads if name in UNITS},
        builds=[BuildEntry(role, "HEAD~1" if role == "base" else "HEAD", "revision", COMMITS[role], False,
                           f"Change {role}") for role in roles],
    )
    return dataclasses.replace(
        header, machine=dataclasses.replace(header.machine, **(machine or {})),
        build=dataclasses.replace(header.build, **(build or {})),
        settings=dataclasses.replace(header.settings, **(settings or {})),
    )


def _hash(*what: Any) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _allocator(name: str, workloads: Sequence[str], effect: Effect) -> AllocatorEntry:
    """A subject with another effect is another library; the others are the same in all files."""
    preloaded = name.startswith(("base", "new"))
    return AllocatorEntry(
        name, "none" if name == "none" else "preloaded" if preloaded else "linked",
        ProgramFile(f"builds/{name}/libhakmem.so", _hash(name, effect if name in SUBJECTS else "")), "0.1.0", "00ff",
        {workload: ProgramFile(f"out/release/{workload}_system", "f" * 64) for workload in workloads},
    )
