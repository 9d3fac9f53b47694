"""--progress: lines on time, figures that grow, agree with the result, and come from the allocator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

import pytest

import driver_contract
from driver_run import SHORT, WORKLOADS, Result, find_library, run

Program = Callable[..., Path]

COUNTERS = ["claims", "claims_failed", "drains", "drained_blocks", "adopted"]
LONGER: Dict[str, List[str]] = {
    "larson": ["--seconds", "0.7", "--threads", "3", "--chunks", "200", "--rounds", "2", "--max", "128"],
    "bench_random_mixed": ["--operations", "20000000"],
    "xmalloc": ["--seconds", "0.7", "--threads", "3"],
    "cache_thrash": ["--seconds", "0.4", "--threads", "3"],
    "cache_scratch": ["--seconds", "0.4", "--threads", "3"],
    "mstress": ["--seconds", "0.7", "--threads", "3"],
    "thread_churn": ["--seconds", "0.7", "--threads", "3"],
    "pareto": ["--seconds", "0.7", "--threads", "3", "--live", "3000000"],
    "large": ["--seconds", "0.7", "--threads", "3", "--min", "50000", "--max", "500000"],
    "growth": ["--seconds", "0.7", "--threads", "3", "--max", "500000"],
    "replay": [*SHORT["replay"], "--seconds", "0.7"],
}


@dataclass(frozen=True)
class Line:
    """One line of --progress."""

    elapsed: float
    operations: int
    counters: Dict[str, int]


def first_of(workload: str, text: str) -> Dict[str, str]:
    found = re.match(
        rf"{workload}: progress allocator=(?P<name>\S+) version=(?P<version>.+) build=(?P<build>\w+) path=(?P<path>.+)\n",
        text,
    )
    assert found is not None, text
    return found.groupdict()


def lines_of(workload: str, text: str) -> List[Line]:
    lines = []
    for line in text.splitlines()[1:]:
        found = re.fullmatch(rf"{workload}: progress elapsed=(\d+\.\d{{3}}) operations=(\d+)((?: \w+=\d+)*)", line)
        assert found is not None, line
        counters = dict(word.split("=") for word in found.group(3).split())
        lines.append(Line(float(found.group(1)), int(found.group(2)), {k: int(v) for k, v in counters.items()}))
    return lines


def check(workload: str, done: Result, interval: float, least: int) -> List[Line]:
    result = done.json
    driver_contract.check(result)
    assert "progress" not in result["arguments"]
    first, lines = first_of(workload, done.err), lines_of(workload, done.err)
    assert first["name"] == result["provider"]["name"] and first["path"] == result["provider"]["path"]
    assert first["build"] == result["variant"]
    assert len(lines) >= least
    for before, after in zip(lines, lines[1:]):
        assert after.elapsed > before.elapsed
        assert after.operations >= before.operations
        assert all(after.counters[name] >= before.counters[name] for name in before.counters)
    assert lines[-2].operations < lines[-1].operations if len(lines) > 1 else True
    assert lines[-1].operations == result["operations"]
    assert abs(lines[-1].elapsed - result["wall_seconds"]) < 0.002
    assert len(lines) <= result["wall_seconds"] / interval + 2
    return lines


@pytest.mark.parametrize("allocator", ["system", "hakmem"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_linked(program: Program, workload: str, allocator: str) -> None:
    done = run(program(workload, allocator), [*LONGER[workload], "--progress", "0.1", "--json"])
    lines = check(workload, done, 0.1, 3)
    for line in lines:
        assert list(line.counters) == (COUNTERS if allocator == "hakmem" else [])
    if (workload, allocator) == ("larson", "hakmem"):
        last = lines[-1].counters
        assert last["claims"] > 0 and last["adopted"] > 0 and last["drained_blocks"] >= last["drains"] > 0


def test_preloaded(program: Program, libhakmem: Path) -> None:
    done = run(program("larson"), [*LONGER["larson"], "--progress", "0.2", "--json"], preload=libhakmem)
    lines = check("larson", done, 0.2, 2)
    assert done.json["provider"]["name"] == "hakmem"
    assert all(list(line.counters) == COUNTERS for line in lines) and lines[-1].counters["claims"] > 0


def test_counters_of_an_allocator_that_does_not_serve_are_not_shown(program: Program) -> None:
    """Linked against hakmem, and mimalloc preloaded: hakmem's counters would say nothing."""
    library: Optional[Path] = find_library("libmimalloc.so.2")
    if library is None:
        pytest.skip("libmimalloc.so.2 is not installed")
    done = run(program("larson", "hakmem"), [*LONGER["larson"], "--progress", "0.2", "--json"], preload=library)
    assert all(line.counters == {} for line in check("larson", done, 0.2, 2))
    assert done.json["provider"]["name"] == "mimalloc"


@pytest.mark.parametrize(
    "variant,workload", [*(("tsan", workload) for workload in WORKLOADS), ("asan", "larson"), ("guard", "larson")]
)
def test_other_builds(program: Program, workload: str, variant: str) -> None:
    slow = {"bench_random_mixed": ["--operations", "1000000", "--threads", "2"]}
    arguments = [*slow.get(workload, LONGER[workload]), "--progress", "0.1", "--json"]
    options = {"ASAN_OPTIONS": "halt_on_error=1:exitcode=66", "TSAN_OPTIONS": "halt_on_error=1:exitcode=66"}
    done = run(program(workload, "hakmem", variant), arguments, environment=options)
    for line in check(workload, done, 0.1, 2):
        assert list(line.counters) == COUNTERS


def test_on_time_where_threads_outnumber_the_processors(program: Program) -> None:
    arguments = ["--seconds", "1.5", "--threads", "64", "--max", "128", "--chunks", "200", "--rounds", "20"]
    done = run(program("larson", "hakmem"), [*arguments, "--progress", "0.25", "--json"])
    lines = check("larson", done, 0.25, 5)
    gaps = [after.elapsed - before.elapsed for before, after in zip(lines, lines[1:])]
    assert max(gaps) < 0.6, [line.elapsed for line in lines]


def test_a_short_run_has_its_last_line(program: Program) -> None:
    done = run(program("larson"), ["1", "100", "256", "--progress", "10", "--json"])
    assert len(check("larson", done, 10, 1)) == 1


@pytest.mark.parametrize("value", ["0", "0.001", "-1", "x", "1e3", "100000", "inf"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_wrong_intervals(program: Program, workload: str, value: str) -> None:
    done = run(program(workload), ["--progress", value])
    assert done.status == 2 and done.out == ""
    assert done.err == f"{workload}: --progress takes a number of seconds from 0.01 to 86400, not '{value}'\n"


@pytest.mark.parametrize("workload", WORKLOADS)
def test_without_it_nothing_is_said(program: Program, workload: str) -> None:
    done = run(program(workload, "hakmem"), LONGER[workload])
    assert done.status == 0 and done.err == ""
    assert "--progress" in run(program(workload), ["--help"]).out
