"""What a run reports: its phases, its sequence, its time, its table."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

import driver_contract
from driver_run import SHORT, WORKLOADS, run

Program = Callable[..., Path]


def phases(result: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    return {phase["name"]: phase for phase in result["phases"]}


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    "extra", [[], ["--check"], ["--latency"], ["--none"], ["--none", "--check", "--latency"], ["--check", "--latency"]],
    ids=" ".join,
)
def test_contract_and_checksum(program: Program, workload: str, extra: List[str]) -> None:
    """Every combination of modes keeps the contract and makes the same choices."""
    plain = run(program(workload), [*SHORT[workload], "--json"]).json
    result = run(program(workload), [*SHORT[workload], "--json", *extra]).json
    driver_contract.check(result)
    assert result["checksum"] == plain["checksum"]
    assert result["operations"] == plain["operations"]


@pytest.mark.parametrize(
    "workload,arguments",
    [
        ("larson", ["--threads", "4", "--operations", "30000"]),
        ("bench_random_mixed", ["--operations", "50000", "--threads", "3"]),
        ("bench_random_mixed", ["--operations", "50000", "--sizes", "pareto"]),
        ("xmalloc", ["--threads", "4", "--operations", "30000"]),
        ("mstress", ["--threads", "4", "--operations", "30000"]),
        ("thread_churn", ["--threads", "4", "--operations", "3000"]),
        ("pareto", ["--operations", "30000", "--threads", "3", "--live", "2000000"]),
        ("large", ["--operations", "1000", "--threads", "3", "--max", "100000"]),
        ("growth", ["--operations", "1000", "--threads", "3", "--max", "10000", "--with-others", "2"]),
    ],
)
def test_a_seed_fixes_the_sequence(program: Program, workload: str, arguments: List[str]) -> None:
    sums = {}
    for seed in ("1", "2", "18446744073709551615"):
        twice = [run(program(workload), [*arguments, "--seed", seed, "--json"]).json for _ in range(2)]
        assert twice[0]["checksum"] == twice[1]["checksum"]
        sums[seed] = twice[0]["checksum"]
    assert len(set(sums.values())) == 3


def test_an_argument_changes_the_sequence(program: Program) -> None:
    one, other = (run(program("bench_random_mixed"), ["1000", size, "1", "--json"]).json["checksum"] for size in ("64", "65"))
    assert one != other


def test_larson_counts(program: Program) -> None:
    arguments = ["--threads", "3", "--operations", "20001", "--chunks", "100", "--rounds", "10"]
    result = run(program("larson"), [*arguments, "--json"]).json
    parts = phases(result)
    assert parts["fill"]["operations"] == parts["drain"]["operations"] == 300
    # 10,001 replacements a slot: a thread makes 1000 of them; the last of 11 threads makes one.
    assert parts["churn"]["operations"] + parts["handover"]["operations"] == 3 * 20002
    assert parts["handover"]["operations"] == 3 * 2 * (9 * 100 + 1)
    assert parts["handover"]["wall_seconds"] > 0
    table = run(program("larson"), arguments).out
    assert "30 hand-overs" in table


def test_larson_without_handover(program: Program) -> None:
    arguments = ["--operations", "1000", "--chunks", "1000", "--rounds", "5", "--threads", "1", "--json"]
    result = run(program("larson"), arguments).json
    driver_contract.check(result)
    handover = phases(result)["handover"]
    assert handover["operations"] == 0 and handover["wall_seconds"] == 0


def test_larson_with_one_round_hands_over_after_each(program: Program) -> None:
    arguments = ["--operations", "2000", "--chunks", "100", "--rounds", "1", "--threads", "1", "--json"]
    parts = phases(run(program("larson"), arguments).json)
    assert parts["churn"]["operations"] == 200 and parts["handover"]["operations"] == 1800


def test_random_mixed_counts(program: Program) -> None:
    result = run(program("bench_random_mixed"), ["10001", "64", "3", "--slots", "500", "--threads", "2", "--json"]).json
    parts = phases(result)
    assert parts["churn"]["operations"] == 2 * 10001
    # Each slot is filled with probability 1/2: 1000 slots, six standard deviations.
    assert abs(parts["fill"]["operations"] - 500) < 6 * 16
    assert abs(parts["drain"]["operations"] - 500) < 6 * 16


def test_xmalloc_counts(program: Program) -> None:
    arguments = ["--allocators", "3", "--releasers", "2", "--operations", "5050", "--batch", "100"]
    result = run(program("xmalloc"), [*arguments, "--json"]).json
    parts = phases(result)
    assert result["operations"] == 2 * 3 * 5050
    # The ring has 32 cells; half of it is filled: 5 whole batches for each of 3 threads.
    assert parts["fill"]["operations"] == 3 * 5 * 100
    assert "the ring holds 32 batches" in run(program("xmalloc"), arguments).out


def test_xmalloc_with_fewer_blocks_than_a_batch(program: Program) -> None:
    result = run(program("xmalloc"), ["--allocators", "2", "--operations", "1", "--check", "--json"]).json
    driver_contract.check(result)
    assert result["operations"] == 4


@pytest.mark.parametrize("size", ["1", "mix", "100000"])
@pytest.mark.parametrize("threads", [(1, 1), (4, 1), (1, 4), (21, 21)])
def test_xmalloc_any_number_of_threads(program: Program, threads: "tuple[int, int]", size: str) -> None:
    allocators, releasers = threads
    result = run(
        program("xmalloc"),
        ["--allocators", str(allocators), "--releasers", str(releasers), "--size", size, "--operations", "3000",
         "--check", "--json"],
    ).json
    driver_contract.check(result)
    assert result["operations"] == 2 * 3000 * allocators


@pytest.mark.parametrize("workload,threads", [("larson", "42"), ("larson", "2"), ("xmalloc", "42"), ("xmalloc", "2"),
                                              ("mstress", "2"), ("thread_churn", "2")])
def test_stops_when_the_time_is_over(program: Program, workload: str, threads: str) -> None:
    """Within 1%; the best of three tries, since others may be using the machine."""
    seconds = 1.0 if threads == "42" else 0.5
    excess = []
    for _ in range(3):
        result = run(program(workload), ["--seconds", str(seconds), "--threads", threads, "--json"]).json
        driver_contract.check(result)
        parts = phases(result)
        steady = sum(part["wall_seconds"] for name, part in parts.items() if name not in ("fill", "drain"))
        assert steady >= seconds - 1e-6
        excess.append(steady / seconds - 1)
        if excess[-1] <= 0.01:
            return
    assert min(excess) <= 0.01, excess


def test_large_blocks_stop_in_time_too(program: Program) -> None:
    arguments = ["--seconds", "0.3", "--threads", "2", "--chunks", "20", "--min", "1000000", "--max", "5000000"]
    result = run(program("larson"), [*arguments, "--check", "--json"]).json
    assert sum(phases(result)[name]["wall_seconds"] for name in ("churn", "handover")) < 0.6


def test_memory_is_the_workloads(program: Program) -> None:
    """A live set of known size shows in the peak; the driver's own part is small."""
    small = run(program("bench_random_mixed"), ["1000", "64", "1", "--slots", "100", "--json"]).json
    assert small["peak_rss_bytes"] < 4 << 20
    # 20,000 of 40,000 slots in use, 1 KiB on average: 20 MB, all touched (pages are 4 KiB)
    large = run(program("bench_random_mixed"), ["100000", "2048", "1", "--slots", "40000", "--json"]).json
    assert 18e6 < large["peak_rss_bytes"] < 40e6
    assert large["minor_faults"] > 4000
    assert max(large["rss_halves_bytes"]) > 18e6


def test_a_short_run_has_two_halves(program: Program) -> None:
    """Memory that rises all the time, for a tenth of a second: what the first half had is seen in time."""
    result = run(program("bench_random_mixed", "hakmem"), ["200000", "3000000", "1", "--slots", "64", "--json"]).json
    first, second = result["rss_halves_bytes"]
    assert second / 8 < first < second


@pytest.mark.parametrize("workload", WORKLOADS)
def test_table(program: Program, workload: str) -> None:
    done = run(program(workload), [*SHORT[workload], "--latency", "--check"])
    assert done.status == 0 and done.err == ""
    allocating = "realloc" if workload == "growth" else "malloc"
    for word in [workload, "allocator    system", "checksum", "blocks verified", "total", "p99.9", allocating, "free",
                 *driver_contract.PHASES[workload]]:
        assert word in done.out, word
    # The line of the arguments is for copying, and as long as they are.
    assert max(len(line) for line in done.out.splitlines() if not line.startswith("arguments")) < 140


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_tables_arguments_give_the_same_run(program: Program, workload: str) -> None:
    done = run(program(workload), SHORT[workload])
    line = next(line for line in done.out.splitlines() if line.startswith("arguments"))
    again = run(program(workload), line.split()[1:])

    def pick(text: str) -> List[str]:
        return [row for row in text.splitlines() if row.startswith(("arguments", "checksum"))]

    assert pick(again.out) == pick(done.out)


def test_path_with_a_space(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "a \"quoted\" folder"
    folder.mkdir()
    copy = Path(shutil.copy(program("larson"), folder / "larson system"))
    result = run(copy, ["1", "1000", "64", "--json"]).json
    driver_contract.check(result)


def test_output_that_cannot_be_written(program: Program) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [str(program("larson")), "1", "1000", "64"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )
    assert done.returncode == 1 and "standard output" in done.stderr
