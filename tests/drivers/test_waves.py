"""mstress and thread_churn: objects outlive threads, threads leave nothing behind, and leaks are seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

import driver_contract
from driver_run import run

Program = Callable[..., Path]
Preload = Callable[[str], Path]


def phases(result: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    return {phase["name"]: phase for phase in result["phases"]}


# ---- mstress --------------------------------------------------------------------------------------


def test_waves_are_counted(program: Program) -> None:
    result = run(program("mstress"), ["3", "500", "20", "--json"]).json
    driver_contract.check(result)
    figures, parts = result["figures"], phases(result)
    assert (figures["waves"], figures["threads_started"]) == (20, 60)
    filled = parts["fill"]["operations"]
    assert abs(filled - 500) < 6 * 16  # each of 1000 slots with probability 1/2: six standard deviations
    assert result["operations"] == 2 * (3 * 500 * 20 + filled)
    # Exchanges: a quarter of the objects; at first half of the slots hold one, later more or less.
    assert 0.1 * 0.25 * 30000 < figures["objects_received"] <= 0.25 * 30000 + 6 * 75
    assert close_to(figures["wave_us"] * 20 / 1e6, parts["wave"]["wall_seconds"])
    assert parts["between"]["operations"] > 0 and parts["drain"]["operations"] > 0


def close_to(left: float, right: float) -> bool:
    return abs(left - right) <= 0.001 * right + 1e-6


def foreign_frees(program: Program, preload: Preload, tmp_path: Path, arguments: List[str]) -> int:
    out = tmp_path / "foreign"
    run(program("mstress"), [*arguments, "--json"], preload=preload("foreign"),
        environment={"COUNTING_OUT": str(out)}).json
    return int(out.read_text(encoding="ascii").split()[1])


def test_objects_are_freed_by_other_threads(program: Program, preload: Preload, tmp_path: Path) -> None:
    """Even where one thread runs at a time: what it finds in the slots is of those before it."""
    for threads in ("1", "2"):
        shared = foreign_frees(program, preload, tmp_path, [threads, "2000", "20"])
        assert shared > 0.01 * int(threads) * 2000 * 20
    alone = foreign_frees(program, preload, tmp_path, ["1", "2000", "20", "--exchange", "0"])
    assert alone <= 1000  # what the main thread filled the slots with stays its own


def test_check_sees_a_fault_in_passing_on(program: Program, preload: Preload) -> None:
    """Broken is only what another thread freed; the two who then have one block are found out."""
    arguments = ["2", "5000", "40", "--min", "48", "--max", "48", "--large", "0", "--check", "--json"]
    done = run(program("mstress"), arguments, preload=preload("foreign"), environment={"FOREIGN_TWICE": "1"})
    assert done.status == 1 and done.out == ""
    assert re.fullmatch(r"mstress: --check found an error in the block at 0x[0-9a-f]+ of 48 bytes: [^\n]+\n", done.err)
    good = run(program("mstress"), arguments, preload=preload("foreign"))
    driver_contract.check(good.json)


@pytest.mark.parametrize("extra", [[], ["--check"], ["--none"], ["--none", "--check"]], ids=" ".join)
@pytest.mark.parametrize("slots,exchange", [("1", "90"), ("3", "50"), ("5000", "25")])
def test_any_number_of_slots(program: Program, slots: str, exchange: str, extra: List[str]) -> None:
    arguments = ["--threads", "8", "--scale", "300", "--waves", "10", "--slots", slots, "--exchange", exchange]
    result = run(program("mstress"), [*arguments, "--json", *extra]).json
    driver_contract.check(result)
    assert result["operations"] == 2 * (8 * 300 * 10 + phases(result)["fill"]["operations"])


@pytest.mark.parametrize("extra", [["--check"], ["--check", "--none"]], ids=" ".join)
def test_a_wave_that_is_cut_short_leaves_nothing(program: Program, extra: List[str]) -> None:
    """The contract's check counts that every object was verified, and so freed."""
    arguments = ["--threads", "3", "--scale", "1000000", "--seconds", "0.02", "--json", *extra]
    result = run(program("mstress"), arguments).json
    driver_contract.check(result)
    assert result["figures"]["waves"] == 1 and result["operations"] < 2 * 3 * 1000000
    assert phases(result)["drain"]["operations"] > 1000


def test_large_objects_have_their_share(program: Program, preload: Preload, tmp_path: Path) -> None:
    out = tmp_path / "counts"
    run(program("mstress"), ["1", "20000", "10", "--large", "100", "--max", "64", "--large-max", "4096", "--json"],
        preload=preload("counting"), environment={"COUNTING_OUT": str(out)}).json
    words = out.read_text(encoding="ascii").split()
    seen = {int(name): int(number) for name, number in zip(words[::2], words[1::2]) if name.isdigit()}
    total = sum(seen.values())
    assert abs(total - 200500) < 1000
    assert abs(sum(n for size, n in seen.items() if size > 64) / total - 0.1) < 0.01
    for low in (8, 16, 32):  # a third of the others for each doubling
        share = sum(n for size, n in seen.items() if low <= size < 2 * low) / total
        assert abs(share - 0.3) < 0.015, (low, share)


# ---- thread_churn ---------------------------------------------------------------------------------


def test_threads_are_counted(program: Program) -> None:
    result = run(program("thread_churn"), ["3", "40", "50", "--json"]).json
    driver_contract.check(result)
    figures = result["figures"]
    assert figures["threads_started"] == 3 * 40
    assert phases(result)["fill"]["operations"] == 3 * 2 * 50
    assert phases(result)["churn"]["operations"] == 3 * 40 * 2 * 50
    assert 0 < figures["thread_us_p50"] <= figures["thread_us_p99"] <= figures["thread_us_max"]
    # All lanes are busy until their last thread has ended.
    lives = figures["thread_us_mean"] * 120 / 3 / 1e6
    assert lives <= phases(result)["churn"]["wall_seconds"] * 1.001
    assert 0 < figures["rss_tenth_bytes"] <= result["peak_rss_bytes"]
    assert "120 threads" in run(program("thread_churn"), ["3", "40", "50"]).out


def test_a_leak_for_each_thread_is_seen(program: Program, preload: Preload) -> None:
    arguments = ["2", "600", "10", "--json"]
    leaking = run(program("thread_churn"), arguments, preload=preload("leaking")).json
    driver_contract.check(leaking)
    assert 3500 < leaking["figures"]["rss_growth_bytes_per_thread"] < 6000
    clean = run(program("thread_churn"), arguments).json
    assert abs(clean["figures"]["rss_growth_bytes_per_thread"]) < 1000
    text = run(program("thread_churn"), arguments[:-1], preload=preload("leaking")).out
    found = re.search(r"MiB after a tenth, .* at the end: \+(\d+) bytes a thread", text)
    assert found is not None and int(found.group(1)) > 3500


def test_the_tenth_of_a_time(program: Program, preload: Preload) -> None:
    """About nine tenths of the threads come after it; of three tries one must be without a long interruption."""
    arguments = ["--seconds", "0.3", "--threads", "1", "--blocks", "5", "--json"]
    later = []
    for _ in range(3):
        figures = run(program("thread_churn"), arguments, preload=preload("leaking")).json["figures"]
        grown = figures["rss_end_bytes"] - figures["rss_tenth_bytes"]
        assert grown > 0
        later.append(grown / figures["rss_growth_bytes_per_thread"] / figures["threads_started"])
        if 0.7 < later[-1] < 1:
            return
    raise AssertionError(later)


def test_large_threads_stop_in_time(program: Program) -> None:
    arguments = ["--seconds", "0.05", "--threads", "2", "--blocks", "3000000", "--max", "16", "--check", "--json"]
    result = run(program("thread_churn"), arguments).json
    driver_contract.check(result)
    assert result["operations"] < 10 * 2 * 2 * 3000000


@pytest.mark.parametrize("allocator", ["hakmem", "mimalloc", "jemalloc", "system"])
@pytest.mark.parametrize("workload", ["mstress", "thread_churn"])
def test_other_allocators_pass_the_check(program: Program, workload: str, allocator: str) -> None:
    arguments = {"mstress": ["4", "2000", "10"], "thread_churn": ["4", "50", "200"]}[workload]
    result = run(program(workload, allocator), [*arguments, "--check", "--json"]).json
    driver_contract.check(result)
    assert result["provider"]["name"] == allocator
