"""cache_thrash and cache_scratch find false sharing where an allocator makes it, and none where it makes none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import pytest

import driver_contract
from driver_run import run

Program = Callable[..., Path]
Preload = Callable[[str], Path]

SHORT = ["--operations", "2000", "--repetitions", "10"]
LINE = 64


def figures(
    program: Path, library: Path, way: str, spacing: int, threads: int, arguments: List[str], size: int = 8
) -> Dict[str, Any]:
    """What a driver finds with the library lines.c."""
    result = run(
        program, ["--threads", str(threads), "--size", str(size), *arguments, "--json"], preload=library,
        environment={"LINES": way, "LINES_SPACING": str(spacing)},
    ).json
    driver_contract.check(result)
    found = result["figures"]
    assert isinstance(found, dict)
    if found["line_bytes"] != LINE:
        pytest.skip(f"the cache lines of this machine have {found['line_bytes']} bytes")
    return found


def lines_of(threads: int, spacing: int, size: int) -> List[Set[int]]:
    """The lines that each of the objects in a row touches."""
    return [set(range(n * spacing // LINE, (n * spacing + size - 1) // LINE + 1)) for n in range(threads)]


def sharing(lines: List[Set[int]]) -> int:
    return sum(any(one & other for k, other in enumerate(lines) if k != n) for n, one in enumerate(lines))


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
@pytest.mark.parametrize(
    "threads,spacing,size",
    [(1, 8, 8), (2, 8, 8), (3, 8, 1), (9, 8, 8), (4, 16, 8), (4, 32, 1), (5, 48, 8), (7, 60, 8), (4, 63, 2),
     (4, 64, 8), (3, 128, 8)],
)
def test_objects_in_one_row(
    program: Program, preload: Preload, workload: str, threads: int, spacing: int, size: int
) -> None:
    """All threads' objects fill one row without a gap, so that it is known who shares a line with whom."""
    found = figures(program(workload), preload("lines"), "packed", spacing, threads, SHORT, size)
    lines = lines_of(threads, spacing, size)
    for phase in ("fill", "churn"):
        assert found[f"{phase}_shared_objects"] == sharing(lines)
        assert found[f"{phase}_lines"] == len(set().union(*lines))
    if sharing(lines) == 0:
        assert found["churn_shared_percent"] == 0


@pytest.mark.parametrize(
    "workload,way,filled,churned",
    [
        ("cache_thrash", "keep", 0, 0),
        ("cache_thrash", "home", 0, 0),
        ("cache_scratch", "keep", 4, 4),  # passive: a thread goes on with the piece that it was given
        ("cache_scratch", "home", 4, 0),
    ],
)
def test_active_and_passive(
    program: Program, preload: Preload, workload: str, way: str, filled: int, churned: int
) -> None:
    found = figures(program(workload), preload("lines"), way, 16, 4, SHORT)
    assert (found["fill_shared_objects"], found["churn_shared_objects"]) == (filled, churned)
    assert found["fill_lines"] == (1 if filled else 4)
    assert found["churn_lines"] == (1 if churned else 4)


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
def test_samples_during_churn(program: Program, preload: Preload, workload: str) -> None:
    """Each of some hundred samples meets another thread's object, but where that one is being replaced."""
    arguments = ["--seconds", "0.3", "--repetitions", "5000"]
    near = figures(program(workload), preload("lines"), "packed", 8, 2, arguments)
    assert near["churn_samples"] > 20 and near["churn_shared_percent"] > 50
    apart = figures(program(workload), preload("lines"), "packed", 64, 2, arguments)
    assert apart["churn_samples"] > 20 and apart["churn_shared_percent"] == 0


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
def test_none_shares_nothing(program: Program, workload: str) -> None:
    result = run(program(workload), [*SHORT, "--threads", "5", "--size", "1", "--none", "--json"]).json
    found = result["figures"]
    assert found["fill_shared_objects"] == found["churn_shared_objects"] == 0
    assert found["fill_lines"] == found["churn_lines"] == 5


def test_what_is_shared_stands_in_the_table(program: Program, preload: Preload) -> None:
    done = run(
        program("cache_scratch"), ["--threads", "4", *SHORT], preload=preload("lines"),
        environment={"LINES": "home", "LINES_SPACING": "16"},
    )
    assert "of 4 objects 4 shared a cache line of 64 bytes" in done.out and " 0 at the end of churn" in done.out


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
@pytest.mark.parametrize("operations,repetitions", [(1, 1), (7, 5), (3, 70000)])
def test_every_byte_is_written_each_time(
    program: Program, preload: Preload, tmp_path: Path, workload: str, operations: int, repetitions: int
) -> None:
    """The allocator gives the same piece each time and does not touch it. The first and the last byte are set to
    the size when it is allocated, the others keep what they had."""
    out = tmp_path / "bytes"
    done = run(
        program(workload), ["1", str(operations), "8", str(repetitions)], preload=preload("lines"),
        environment={"LINES": "keep", "LINES_OUT": str(out)},
    )
    assert done.status == 0
    end, middle = (8 + repetitions) % 256, operations * repetitions % 256
    assert out.read_text("ascii").split() == [str(byte) for byte in [end, *[middle] * 6, end]]


def test_no_write_is_left_out(program: Program) -> None:
    """A thousand times the repetitions take their time, in processor time: no compiler made one addition of them."""
    few, many = (
        run(program("cache_thrash"), ["1", "100", "8", str(count), "--json"]).json["phases"][1]["cpu_seconds"]
        for count in (200, 200000)
    )
    assert many > 20 * few


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
def test_counts(program: Program, workload: str) -> None:
    result = run(program(workload), ["3", "1001", "8", "5", "--check", "--json"]).json
    driver_contract.check(result)
    assert [phase["operations"] for phase in result["phases"]] == [3, 2 * 3 * 1001, 3]


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
def test_a_long_object_ends_with_the_time(program: Program, workload: str) -> None:
    """One object would be written for hours; what was written of it is checked all the same."""
    arguments = ["--seconds", "0.2", "--size", "65536", "--repetitions", "1000000000", "--check", "--json"]
    result = run(program(workload), arguments, timeout=60).json
    driver_contract.check(result)
    assert 0.2 <= result["phases"][1]["wall_seconds"] < 10


@pytest.mark.parametrize("workload", ["cache_thrash", "cache_scratch"])
def test_hakmem_parts_the_threads(program: Program, workload: str) -> None:
    """What a thread was given in a line that others use goes home when it frees it, and is not handed out to it
    again."""
    arguments = ["--threads", "4", "--size", "8", *SHORT, "--json"]
    found = run(program(workload, "hakmem"), arguments).json["figures"]
    assert found["churn_shared_objects"] == 0
