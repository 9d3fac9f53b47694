"""pareto, large and growth: their distributions, what they touch, and what a broken realloc loses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import driver_contract
from driver_run import run

Program = Callable[..., Path]
Preload = Callable[[str], Path]


def phases(result: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    return {phase["name"]: phase for phase in result["phases"]}


def counted(program: Path, arguments: List[str], preload: Path, tmp_path: Path) -> Tuple[Dict[str, Any], Dict[str, int]]:
    out = tmp_path / "counts"
    result = run(program, [*arguments, "--json"], preload=preload, environment={"COUNTING_OUT": str(out)}).json
    words = out.read_text(encoding="ascii").split()
    return result, dict(zip(words[::2], map(int, words[1::2])))


# ---- pareto -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_sizes_follow_the_power_law(program: Program, preload: Preload, tmp_path: Path, alpha: float) -> None:
    arguments = ["1", "400000", "2000000", "--min", "20", "--max", "4000", "--alpha", str(alpha)]
    _, calls = counted(program("pareto"), arguments, preload("counting"), tmp_path)
    seen = {int(name): number for name, number in calls.items() if name.isdigit() and 20 <= int(name) <= 4000}
    total = sum(seen.values())
    for size in (30, 60, 200, 1000, 3000):
        expected = (size**-alpha - 4001**-alpha) / (20**-alpha - 4001**-alpha)
        share = sum(number for other, number in seen.items() if other >= size) / total
        assert abs(share - expected) < 6 * (expected / total) ** 0.5 + 0.0005, size


@pytest.mark.parametrize(
    "arguments",
    [
        ["1", "300000", "10000000"],
        ["1", "300000", "10000000", "--life-alpha", "1"],
        ["1", "300000", "1000000", "--life-alpha", "0.5"],
        ["4", "100000", "8000000", "--life-alpha", "3"],
        ["1", "300000", "2000", "--min", "16", "--max", "64"],
    ],
    ids=" ".join,
)
def test_the_live_set_is_as_large_as_said_and_stays_so(program: Program, arguments: List[str]) -> None:
    """Live blocks at the start, at the end: fill and drain are as many calls. They come and go in a random
    manner whose variance is at most their number."""
    result = run(program("pareto"), [*arguments, "--json"]).json
    parts, threads = phases(result), int(arguments[0])
    least, most, alpha = result["arguments"]["min"], result["arguments"]["max"], result["arguments"]["alpha"]
    assert alpha == 1
    law = [1 / size - 1 / (size + 1) for size in range(least, most + 1)]
    mean = sum(size * share for size, share in zip(range(least, most + 1), law)) / sum(law)
    blocks = int(arguments[2]) / mean
    assert abs(parts["fill"]["operations"] / blocks - 1) < 0.01 + threads / blocks
    assert abs(parts["drain"]["operations"] - blocks) < 6 * blocks**0.5 + 0.01 * blocks + threads
    # Every step allocates one block, and in a steady state frees one, too.
    assert abs(parts["churn"]["operations"] - 2 * threads * int(arguments[1])) < 12 * blocks**0.5 + 0.02 * blocks + threads


def lives(text: str) -> Tuple[int, int]:
    found = re.search(r"for (\d+) to (\d+) steps", text)
    assert found is not None, text
    return int(found.group(1)), int(found.group(2))


def test_lifetimes_have_the_bounds_that_the_mean_asks_for(program: Program) -> None:
    """A mean of 10,000 steps: blocks of 100 bytes, 1,000,000 bytes alive."""
    fixed = ["1", "100", "1000000", "--min", "100", "--max", "100"]
    shortest, longest = lives(run(program("pareto"), fixed).out)
    assert shortest == 1 and 100_000 < longest < 640_000
    shortest, longest = lives(run(program("pareto"), [*fixed, "--life-alpha", "0.5"]).out)
    # mean = sqrt(shortest * longest) where the exponent is 1/2
    assert longest == 640_000 and abs(shortest - 156) < 5
    assert lives(run(program("pareto"), ["1", "100", "100", "--min", "100", "--max", "100"]).out) == (1, 1)


def test_lifetimes_follow_the_power_law(program: Program, preload: Preload, tmp_path: Path) -> None:
    """How long blocks lived, in steps, is seen from outside: each malloc of their size is a step."""
    out = tmp_path / "lives"
    arguments = ["1", "300000", "300000", "--min", "100", "--max", "100", "--life-alpha", "0.5", "--json"]
    run(program("pareto"), arguments, preload=preload("ages"), environment={"AGES_OUT": str(out)}).json
    ages = [int(word) for word in out.read_text(encoding="ascii").split()]
    # Of the blocks allocated in the first third of the steps all that live 100,000 steps or less were freed. A
    # mean of 3000 steps lies between 46.9 = 3000 / 64 and 192,000 = 3000 * 64.
    assert len(ages) > 90_000
    for age in (60, 200, 1000, 10_000):
        expected = (age**-0.5 - 192_001**-0.5) / (47**-0.5 - 192_001**-0.5)
        share = sum(other >= age for other in ages) / len(ages)
        assert abs(share - expected) < 0.015, age


def test_pareto_stays_the_same_over_long_runs(program: Program) -> None:
    """More steps than the lowest two wheels have slots, twice over; the same sequence both times."""
    twice = [run(program("pareto"), ["1", "2000000", "300000", "--check", "--json"]).json for _ in range(2)]
    driver_contract.check(twice[0])
    assert twice[0]["checksum"] == twice[1]["checksum"] and twice[0]["checksum"] is not None
    assert [p["operations"] for p in twice[0]["phases"]] == [p["operations"] for p in twice[1]["phases"]]


# ---- large --------------------------------------------------------------------------------------


@pytest.mark.parametrize("touch", ["none", "first", "pages", "all"])
def test_how_much_is_touched(program: Program, touch: str) -> None:
    """What is touched of four blocks of 8 MiB is resident, with small pages and with huge ones."""
    arguments = ["--operations", "1", "--min", "8388608", "--max", "8388608", "--slots", "4", "--touch", touch]
    resident = phases(run(program("large"), [*arguments, "--json"]).json)["fill"]["rss_bytes"]
    if touch in ("pages", "all"):
        assert resident > 4 * 8388608
    else:
        assert resident < 4 * (2 << 20) + (5 << 20)


def test_large_replaces_blocks(program: Program, preload: Preload, tmp_path: Path) -> None:
    arguments = ["--threads", "2", "--operations", "5000", "--slots", "5", "--min", "1000", "--max", "1009"]
    result, calls = counted(program("large"), arguments, preload("counting"), tmp_path)
    parts = phases(result)
    assert [parts[name]["operations"] for name in ("fill", "churn", "drain")] == [10, 20000, 10]
    for size in range(1000, 1010):
        assert abs(calls[str(size)] - 1001) < 6 * 30


def test_large_times_every_call(program: Program) -> None:
    result = run(program("large"), ["2", "50", "100000", "--latency", "--json"]).json
    driver_contract.check(result)
    assert result["latency"]["sample_every"] == 1
    assert result["latency"]["malloc"]["samples"] == result["latency"]["free"]["samples"] == 100


# ---- growth -------------------------------------------------------------------------------------


def steps_of(least: int, most: int, factor: float) -> int:
    steps, size = 0, least
    while size < most:
        size = min(max(size + 8, int(size * factor)), most)
        steps += 1
    return steps


@pytest.mark.parametrize("factor", ["1.5", "1.001", "2", "37.5"])
def test_a_step_is_one_realloc(program: Program, preload: Preload, tmp_path: Path, factor: str) -> None:
    steps = steps_of(8, 10000, float(factor))
    arguments = ["2", str(3 * steps + 1), "10000", "--factor", factor, "--with-others", "2"]
    result, calls = counted(program("growth"), arguments, preload("counting"), tmp_path)
    parts = phases(result)
    assert parts["fill"]["operations"] == 2 * steps
    assert parts["grow"]["operations"] == 2 * (3 * steps + 1)
    assert calls["realloc"] == result["operations"] == 2 * (4 * steps + 1)
    # Each thread begins five blocks, and two others before each step.
    blocks = 2 * 5 + 2 * result["operations"]
    assert blocks <= calls["malloc"] < blocks + 200
    assert blocks <= calls["free"] < blocks + 200


@pytest.mark.parametrize("forget", ["tail", "half", "shift"])
def test_a_realloc_that_loses_bytes_is_caught(program: Program, preload: Preload, forget: str) -> None:
    done = run(program("growth"), ["1", "2000", "100000", "--check"], preload=preload("forgetful"),
               environment={"FORGET": forget})
    assert done.status == 1 and done.out == ""
    found = re.fullmatch(
        r"growth: --check found an error in the block at 0x[0-9a-f]+ of (\d+) bytes: at offset (\d+) there is "
        r"0x[0-9a-f]{2} where 0x[0-9a-f]{2} was written; realloc did not keep it[^\n]+\n", done.err)
    assert found is not None, done.err
    size, offset = int(found.group(1)), int(found.group(2))
    if forget == "tail":
        assert offset == size - 1
    elif forget == "half":
        assert size / 2 - 1 <= offset < size
    else:
        assert offset < 20


def test_no_memory_in_realloc(program: Program) -> None:
    """Larger than the address space that is left."""
    done = run(Path("/bin/sh"), ["-c", 'ulimit -v 400000 && exec "$0" 1 1000 1073741824', str(program("growth"))])
    assert done.status == 1 and done.out == ""
    assert re.fullmatch(r"growth: out of memory: realloc\(\d+\) returned NULL; [^\n]+\n", done.err), done.err


def test_times_of_realloc(program: Program) -> None:
    result = run(program("growth"), ["2", "22000", "5000", "--latency", "--json"]).json
    driver_contract.check(result)
    times = result["latency"]
    assert times["sample_every"] == 11
    assert abs(times["malloc"]["samples"] - 4000) < 100
    assert abs(times["free"]["samples"] - 4000 / steps_of(8, 5000, 1.5)) < 100


@pytest.mark.parametrize("allocator", ["hakmem", "mimalloc", "jemalloc", "tcmalloc", "tbbmalloc"])
def test_all_of_it_is_kept(program: Program, allocator: str) -> None:
    """From the smallest block to a mapping of its own, growing where it is or not."""
    for extra in ([], ["--with-others", "20"]):
        result = run(program("growth", allocator), ["2", "90", "3000000", "--check", "--json", *extra]).json
        driver_contract.check(result)
        assert result["provider"]["name"] == allocator


def test_what_was_freed_is_grown_into(program: Program) -> None:
    """hakmem keeps the freed block's pages: three more growths to 64 MiB fault in less than one of them has."""
    steps = steps_of(8, 64 << 20, 1.5)
    for arguments in ([], ["--with-others", "5"]):
        result = run(program("growth", "hakmem"), ["--operations", str(3 * steps), "--json", *arguments]).json
        parts = phases(result)
        assert parts["fill"]["minor_faults"] > 512
        assert parts["grow"]["minor_faults"] < 8192
        assert result["peak_rss_bytes"] < 80 << 20


def test_freed_blocks_of_other_sizes_are_cut_and_grown(program: Program) -> None:
    """hakmem maps for few of 300 blocks; what was cut off or added is nobody else's, says --check."""
    arguments = ["--threads", "2", "--operations", "150", "--slots", "3", "--min", "1100000", "--max", "6000000"]
    done = run(program("large", "hakmem"), [*arguments, "--check", "--json"], environment={"HAKMEM_STATS": "json"})
    driver_contract.check(done.json)
    counters = json.loads(done.err)["counters"]
    assert counters["huge_mapped"] < 60 and counters["huge_reused"] > 240
