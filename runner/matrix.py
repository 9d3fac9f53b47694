"""The workloads, the keys of their matrix, and the cells that a matrix makes of them.

A cell is one workload with one set of parameters. The table WORKLOADS says which keys a workload
has and what it is measured with where the matrix says nothing:

  larson              8 to 1000 bytes, 5000 blocks a thread, 100 rounds before a hand-over: the
                      arguments that larson is most often published with
  bench_random_mixed  sizes up to 1024 bytes in 8192 slots, some MB of live blocks, or as many slots
                      as a level of the caches takes (working_set.py); its number of operations is
                      calibrated, since it has no bound in time
  xmalloc             the mix of sizes
  cache_thrash, cache_scratch   objects of 8 bytes, each written 1000 times
  mstress             10,000 objects for each thread of a wave, of 8 to 1024 bytes, one in 100 larger
  thread_churn        threads that allocate 100 blocks of 8 to 512 bytes
  pareto              128 MiB of live blocks in all threads together, 16 bytes to 32 KiB each
  large               blocks of 5 to 25 MiB in 8 slots a thread, a byte written in each page
  growth              a block that realloc makes larger by half from 8 bytes to 64 MiB
  replay              each recorded trace, as fast as it can, in whole loops
  redis, sqlite, gcc, python   real programs with a fixed amount of work; see programs.py
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from runner.errors import UsageError, nearest
from runner.matrix_values import MAX_CELLS, Key, parse_values
from runner.programs import FULL_WORK, PROGRAMS, work_seconds
from runner.records import Cell, Value
from runner.traces import recorded_traces
from runner.working_set import LEVELS, slots_of

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("threads", "integer", 1, 4096, "threads; xmalloc divides them into both kinds"),
        Key("size", "size", 1, 2**30, "bytes of the largest block; xmalloc takes 'mix' too"),
        Key("sizes", "distribution", 0, 0, "uniform, pareto or a histogram file"),
        Key("seed", "integer", 0, 2**64 - 1, "start of the random numbers"),
        Key("operations", "integer", 1, 10**15, "operations of a thread, instead of seconds"),
        Key("seconds", "decimal", 0, 86400, "seconds a sample"),
        Key("slots", "integer", 1, 10**8, "slots of the table of blocks"),
        Key("fits", "level", 0, 0, f"instead of slots: so many that the live blocks fit {', '.join(LEVELS)}"),
        Key("chunks", "integer", 1, 10**8, "blocks a thread"),
        Key("rounds", "integer", 1, 10**9, "rounds before a thread hands over its blocks"),
        Key("min", "integer", 1, 2**30, "bytes of the smallest block"),
        Key("max", "integer", 1, 2**30, "bytes of the largest block"),
        Key("allocators", "integer", 1, 4096, "threads that only allocate"),
        Key("releasers", "integer", 1, 4096, "threads that only free"),
        Key("repetitions", "integer", 1, 10**9, "how often an object is written"),
        Key("scale", "integer", 1, 10**8, "objects that a thread allocates in its wave"),
        Key("keep", "integer", 0, 100, "per cent of the objects that a thread keeps until it ends"),
        Key("exchange", "integer", 0, 100, "objects passed through a shared slot, per cent"),
        Key("large", "integer", 0, 1000, "large objects among 1000"),
        Key("blocks", "integer", 1, 10**8, "blocks that a short thread allocates"),
        Key("batch", "integer", 1, 65536, "blocks passed on at once"),
        Key("live", "integer", 1, 2**46, "bytes of all blocks that live at a time"),
        Key("alpha", "decimal", 0.01, 10, "exponent of the distribution of sizes"),
        Key("life-alpha", "decimal", 0.01, 10, "exponent of the distribution of lifetimes"),
        Key("factor", "decimal", 1.001, 1000, "by which a block grows in a step"),
        Key("with-others", "integer", 0, 10**6, "small blocks allocated before each step"),
        Key("touch", "choice", 0, 0, "none, first, pages or all: what is written to a large block",
            ("none", "first", "pages", "all")),
        Key("trace", "trace", 0, 0, "of replay: a recorded trace (redis, gcc, python) or a file"),
        Key("loops", "integer", 1, 10**9, "how often a trace is played, instead of seconds"),
        Key("work", "integer", 1, 1000, "size of a program's work, per cent"),
    )
}


@dataclass(frozen=True)
class Workload:
    """What a workload can be asked for. `timed`: its length can be given in seconds."""

    name: str
    keys: tuple[str, ...]
    defaults: dict[str, Value]
    timed: bool
    probe: tuple[str, ...]  # arguments of the shortest run that still uses the allocator
    steady: str = ""  # the phase that a calibrated length is meant for, "" where it is the whole run
    program: bool = False  # a real program: a fixed amount of work, no threads of ours
    default: bool = True  # measured where no workloads are named
    figures: tuple[str, ...] = ()  # of the driver's own figures, those that the tables show
    most: dict[str, int] = field(default_factory=dict)  # of keys, where it is less than KEYS says


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            "larson",
            ("threads", "min", "max", "chunks", "rounds", "seconds", "operations", "seed"),
            {"min": 8, "max": 1000, "chunks": 5000, "rounds": 100},
            True,
            ("--threads", "1", "--operations", "2000", "--chunks", "100"),
        ),
        Workload(
            "bench_random_mixed",
            ("threads", "size", "sizes", "slots", "fits", "operations", "seed"),
            {"size": 1024, "slots": 8192},
            False,
            ("--threads", "1", "--operations", "2000", "--slots", "100"),
            steady="churn",
        ),
        Workload(
            "xmalloc",
            ("threads", "allocators", "releasers", "size", "batch", "seconds", "operations", "seed"),
            {"size": "mix"},
            True,
            ("--threads", "1", "--operations", "2000"),
        ),
        *(
            Workload(
                name,
                ("threads", "size", "repetitions", "seconds", "operations", "seed"),
                {"size": 8, "repetitions": 1000},
                True,
                ("--threads", "1", "--operations", "2000", "--repetitions", "1"),
                default=False,
                most={"size": 65536},
                figures=("fill_shared_objects", "churn_shared_objects", "churn_shared_percent"),
            )
            for name in ("cache_thrash", "cache_scratch")
        ),
        Workload(
            "mstress",
            ("threads", "scale", "slots", "keep", "exchange", "min", "max", "large", "seconds", "operations",
             "seed"),
            {"scale": 10_000},
            True,
            ("--threads", "1", "--operations", "2000"),
            default=False,
            figures=("wave_us",),
        ),
        Workload(
            "thread_churn",
            ("threads", "blocks", "min", "max", "seconds", "operations", "seed"),
            {"blocks": 100},
            True,
            ("--threads", "1", "--operations", "2000"),
            default=False,
            figures=("thread_us_p50", "thread_us_p99", "rss_growth_bytes_per_thread"),
        ),
        Workload(
            "pareto",
            ("threads", "live", "min", "max", "alpha", "life-alpha", "seconds", "operations", "seed"),
            {"live": 128 << 20, "min": 16, "max": 32768},
            True,
            ("--threads", "1", "--operations", "2000", "--live", "100000"),
            default=False,
        ),
        Workload(
            "large",
            ("threads", "min", "max", "slots", "touch", "seconds", "operations", "seed"),
            {"min": 5 << 20, "max": 25 << 20, "slots": 8},
            True,
            ("--threads", "1", "--operations", "20", "--slots", "2"),
            default=False,
        ),
        Workload(
            "growth",
            ("threads", "min", "max", "factor", "with-others", "touch", "seconds", "operations", "seed"),
            {"min": 8, "max": 64 << 20, "factor": 1.5, "with-others": 0},
            True,
            ("--threads", "1", "--operations", "100", "--max", "1000000"),
            default=False,
        ),
        Workload(
            "replay",
            ("trace", "loops", "seconds", "seed"),
            {},
            True,
            ("--trace", "python", "--loops", "1", "--points", "0"),
            default=False,
        ),
        *(Workload(name, ("work", "seed"), {}, False, (), program=True, default=False) for name in PROGRAMS),
    )
}
DRIVERS = [workload.name for workload in WORKLOADS.values() if not workload.program]
DEFAULT_WORKLOADS = [workload.name for workload in WORKLOADS.values() if workload.default]
ALIASES = {"random_mixed": "bench_random_mixed"}


def shown_figures(workload: str) -> tuple[str, ...]:
    """Return which of a driver's own figures the tables show; none of a workload that is unknown."""
    return WORKLOADS[workload].figures if workload in WORKLOADS else ()


def parse_workloads(lists: Sequence[str]) -> list[str]:
    """Return the names of the workloads in comma lists; for no list, the default ones."""
    if not lists:
        return list(DEFAULT_WORKLOADS)
    names: list[str] = []
    for word in (word.strip() for text in lists for word in text.split(",")):
        name = ALIASES.get(word, word)
        if name not in WORKLOADS:
            raise UsageError(
                f"--workloads: '{word}' is no workload{nearest(word, [*WORKLOADS, *ALIASES])} "
                f"(there are {', '.join(WORKLOADS)})."
            )
        if name in names:
            raise UsageError(f"--workloads: '{name}' is named twice; name it once.")
        names.append(name)
    return names


def parse_matrix(texts: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values of each key of the --matrix options, in the order given."""
    matrix: dict[str, list[Value]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"--matrix {text}: write KEY=VALUES, for example threads=1..16.")
        key = KEYS.get(name)
        if key is None:
            raise UsageError(
                f"--matrix {text}: '{name}' is no key{nearest(name, KEYS)} "
                f"(there are {', '.join(KEYS)})."
            )
        if name in matrix:
            raise UsageError(
                f"--matrix {text}: the key '{name}' is given twice; put all its values into one "
                f"list, as in {name}=1,2,4."
            )
        matrix[name] = parse_values(key, values)
    return matrix


def make_cells(
    workloads: Sequence[str], matrix: dict[str, list[Value]], default_threads: Sequence[int],
    default_work: int = FULL_WORK,
) -> list[Cell]:
    """Return the cells of all workloads. A key applies to the workloads that have it; one that
    applies to none is an error, but for threads, which programs have as they like. Threads that the
    matrix leaves open are `default_threads` where the matrix is empty, else 1."""
    only_programs = all(WORKLOADS[workload].program for workload in workloads)
    for name in matrix:
        if name == "threads" and only_programs:
            continue
        if not any(name in WORKLOADS[workload].keys for workload in workloads):
            owners = [w.name for w in WORKLOADS.values() if name in w.keys]
            raise UsageError(
                f"--matrix: the key '{name}' applies to none of the chosen workloads; it belongs "
                f"to {', '.join(owners)}."
            )
    threads = list(default_threads) if not matrix else [1]
    return [
        cell for name in workloads
        for cell in _cells_of(WORKLOADS[name], matrix, threads, default_work)
    ]


def without_repeats(cells: Sequence[Cell]) -> tuple[list[Cell], list[tuple[Cell, Cell]]]:
    """Return the cells without those that run the same as a later one, and these with that one.

    xmalloc with one thread is one with two: one allocates, one frees."""
    latest: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        latest[_run_of(cell)] = cell
    repeated = [(c, latest[_run_of(c)]) for c in cells if latest[_run_of(c)] is not c]
    return [c for c in cells if latest[_run_of(c)] is c], repeated


def _run_of(cell: Cell) -> tuple[object, ...]:
    parameters = {name: value for name, value in cell.parameters.items() if name != "fits"}
    if cell.workload == "xmalloc" and "threads" in parameters:
        parameters["threads"] = max(2, int(parameters["threads"]))
    return (cell.workload, *sorted((name, str(value)) for name, value in parameters.items()))


def _cells_of(
    workload: Workload, matrix: dict[str, list[Value]], default_threads: list[int],
    default_work: int,
) -> list[Cell]:
    axes: dict[str, Sequence[Value]] = {
        name: values for name, values in matrix.items() if name in workload.keys
    }
    if "seconds" in axes and "operations" in axes:
        raise UsageError(
            f"--matrix: {workload.name} is bounded by seconds or by operations, not by both; "
            "give one of the two."
        )
    if "seconds" in axes and "loops" in axes:
        raise UsageError("--matrix: replay is bounded by seconds or by loops, not by both; give one of the two.")
    if "slots" in axes and "fits" in axes:
        raise UsageError("--matrix: fits already says how many slots there are; give one of the two.")
    by_kind = [name for name in ("allocators", "releasers") if name in axes]
    if by_kind and "threads" in axes:
        raise UsageError(
            f"--matrix: threads already says how many {by_kind[0]} {workload.name} has; give "
            "either threads or allocators and releasers."
        )
    if by_kind:
        axes.setdefault("allocators", [1])
        axes.setdefault("releasers", [1])
    elif "threads" in workload.keys:
        axes.setdefault("threads", default_threads)
    if "trace" in workload.keys:
        axes.setdefault("trace", recorded_traces())
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_CELLS:
        raise UsageError(
            f"--matrix: that makes {count} cells of {workload.name}; stay below {MAX_CELLS}."
        )
    return [
        _cell(workload, dict(zip(axes, combination)), default_work)
        for combination in itertools.product(*axes.values())
    ]


def _cell(workload: Workload, given: dict[str, Value], default_work: int) -> Cell:
    label = " ".join([workload.name, *(f"{name}={value}" for name, value in given.items())])
    if workload.program:
        return Cell(label, workload.name, {"work": default_work, **given}, 1, measure="cpu_time")
    parameters = {**given, **{k: v for k, v in workload.defaults.items() if k not in given}}
    if "size" not in given and parameters.get("sizes", "") not in ("", "uniform", "pareto"):
        del parameters["size"]  # a histogram file has a largest size of its own
    if {"min", "max"} <= set(parameters) and int(parameters["min"]) > int(parameters["max"]):
        raise UsageError(
            f"--matrix: min={parameters['min']} exceeds max={parameters['max']} in a cell of "
            f"{workload.name}; give both so that min is at most max."
        )
    for name, most in workload.most.items():
        if isinstance(parameters[name], int) and parameters[name] > most:
            raise UsageError(
                f"--matrix {name}={parameters[name]}: {workload.name} takes at most {most}."
            )
    if parameters.get("size") == "mix" and workload.name != "xmalloc":
        raise UsageError(
            f"--matrix size=mix: only xmalloc has it; {workload.name} needs a number, so choose "
            "--workloads xmalloc or name sizes in bytes."
        )
    if "fits" in parameters:
        parameters["slots"] = slots_of(parameters, label)
    return Cell(
        id=label,
        workload=workload.name,
        parameters=parameters,
        concurrency=_concurrency(workload, parameters),
    )


def _concurrency(workload: Workload, parameters: dict[str, Value]) -> int:
    """Return how many threads run at once."""
    if "trace" in parameters:
        return 1  # those of the recorded program, which do not work at the same time as a rule
    if workload.name != "xmalloc":
        return int(parameters["threads"])
    if "threads" in parameters:
        return max(2, int(parameters["threads"]))
    return int(parameters["allocators"]) + int(parameters["releasers"])


def with_operations(cell: Cell, operations: int) -> Cell:
    """Return the cell with a calibrated number of operations a thread."""
    return replace(
        cell, parameters={**cell.parameters, "operations": operations}, calibrated=True
    )


def needs_calibration(cell: Cell) -> bool:
    """True for a cell whose length is neither given nor can be given in seconds."""
    timed = cell.is_program or WORKLOADS[cell.workload].timed
    return not timed and "operations" not in cell.parameters


def sample_seconds(cell: Cell, duration: float) -> Optional[float]:
    """Return how long a sample of this cell measures, None where only its operations are known."""
    if cell.is_program:
        return work_seconds(cell.workload, int(cell.parameters["work"]))
    if "seconds" in cell.parameters:
        return float(cell.parameters["seconds"])
    if {"operations", "loops"} & set(cell.parameters) and not cell.calibrated:
        return None
    return duration


def driver_arguments(
    cell: Cell, *, duration: float, seed: int, check: bool, latency: bool, none: bool
) -> list[str]:
    """Return the arguments of the driver for one sample of a cell."""
    parameters = dict(cell.parameters)
    if WORKLOADS[cell.workload].timed and not {"operations", "loops"} & set(parameters):
        parameters.setdefault("seconds", duration)
    parameters.setdefault("seed", seed)
    arguments = ["--json"]
    for name, value in parameters.items():
        if name == "fits":
            continue  # the slots that came of it say it to the driver
        arguments += [f"--{name}", f"{value:.6g}" if isinstance(value, float) else str(value)]
    for flag, wanted in (("--check", check), ("--latency", latency), ("--none", none)):
        if wanted:
            arguments.append(flag)
    return arguments


def axis_names(matrix: dict[str, list[Value]], cells: Sequence[Cell]) -> list[str]:
    """Return the parameters that name a cell among others of its workload, in display order."""
    names: list[str] = []
    for name in ("threads", "allocators", "releasers", *matrix):
        given = name in matrix or any(
            f" {name}=" in cell.id for cell in cells
        )
        if given and name not in names and any(name in cell.parameters for cell in cells):
            names.append(name)
    return names
