"""Turns a level of the memory hierarchy into slots of bench_random_mixed: the key `fits` of the matrix.

The working set is what lives on average: half of the slots hold a block of the mean size, and each slot
is a pointer. It is to be half of the level, so that the loop's own data and the allocator's have room
beside it; `memory` stands for four times the last level, where nearly every access misses all caches.

A level next to a core belongs to it: with more threads than cores each has it for itself in its turn of
milliseconds. The last level, and the memory, are divided among the threads.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner import machine
from runner.errors import UsageError, explain_os_error
from runner.records import Cache, Value

LEVELS = ("L1", "L2", "L3", "memory")
_SHARE = 0.5  # of the level
_BEYOND = 4  # times the last level
_MOST_BEYOND = 512 << 20  # bytes
_MEMORY_SHARE = 8  # of the machine's memory at most one part in so many
_POINTER = 8  # bytes a slot
_LEAST_PARETO = 8  # bytes, of `--sizes pareto`


def slots_of(parameters: Mapping[str, Value], cell: str) -> int:
    """Return the slots of each thread with which a cell's working set is of its level `fits`; raises
    UsageError where this machine has no such level, or a block alone is larger."""
    level, threads = str(parameters["fits"]), int(parameters.get("threads", 1))
    found = machine.caches()
    mean = _mean_size(parameters)
    room = _bytes_for(level, threads, found, machine.memory_bytes() or _MOST_BEYOND * _MEMORY_SHARE)
    if mean > room / _SHARE:
        raise UsageError(
            f"--matrix fits={level}: a block of {cell} has {mean:,.0f} bytes on average, and {level} gives a "
            f"thread {room / _SHARE:,.0f}; take smaller sizes or a larger level."
        )
    return max(2, int(room / (mean / 2 + _POINTER)))


def _bytes_for(level: str, threads: int, found: Sequence[Cache], memory: int) -> float:
    """Return how many bytes the working set of a thread may have."""
    if not found:
        raise UsageError(
            f"--matrix fits={level}: this system does not tell how large the caches are; name the number "
            "of slots instead, as in slots=1000."
        )
    last = max(found, key=lambda cache: cache.level)
    if level == "memory":
        return min(_BEYOND * last.bytes, _MOST_BEYOND, memory // _MEMORY_SHARE) / threads
    number = int(level[1:])
    cache = next((cache for cache in found if cache.level == number), None)
    if cache is None:
        levels = ", ".join(f"L{cache.level}" for cache in found)
        raise UsageError(
            f"--matrix fits={level}: this machine tells of no such cache; it has {levels}, and memory."
        )
    return _SHARE * cache.bytes / (threads if cache is last else min(threads, cache.shared_by))


def _mean_size(parameters: Mapping[str, Value]) -> float:
    """Return the mean of the sizes that are drawn, bytes."""
    sizes = str(parameters.get("sizes", "uniform"))
    if sizes not in ("uniform", "pareto"):
        return _mean_of_file(Path(sizes))
    largest = int(parameters["size"])
    if sizes == "uniform":
        return (1 + largest) / 2
    least = _LEAST_PARETO if largest >= _LEAST_PARETO else 1
    if largest == least:
        return float(largest)
    return math.log(largest / least) / (1 / least - 1 / largest)


def _mean_of_file(path: Path) -> float:
    count = total = 0.0
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: it is no text (byte {error.start}); write lines SIZE COUNT.") from error
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise UsageError(f"{path}:{number}: '{line.strip()}' is no line SIZE COUNT; correct it there.")
        total += int(words[0]) * int(words[1])
        count += int(words[1])
    if not total:
        raise UsageError(f"{path}: it names no size that occurs; write lines SIZE COUNT.")
    return total / count
