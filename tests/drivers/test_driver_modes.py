"""--check finds what is broken, --none calls nothing, --latency measures what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import driver_contract
from driver_run import SHORT, WORKLOADS, run
from trace_writer import made_trace

Program = Callable[..., Path]
Preload = Callable[[str], Path]

# ---- --check ------------------------------------------------------------------------------------

FIXED_SIZE: Dict[str, List[str]] = {
    "larson": ["--threads", "2", "--operations", "50000", "--min", "48", "--max", "48"],
    "bench_random_mixed": ["100000", "2", "42"],
    "xmalloc": ["--size", "48", "--operations", "50000"],
    "cache_thrash": ["2", "50000", "48", "1"],
    "cache_scratch": ["2", "50000", "48", "1"],
    "mstress": ["--threads", "2", "--operations", "50000", "--min", "48", "--max", "48", "--large", "0"],
    "thread_churn": ["--threads", "2", "--operations", "50000", "--min", "48", "--max", "48", "--blocks", "2000"],
    "pareto": ["2", "20000", "1000000", "--min", "48", "--max", "48"],
    "large": ["2", "10000", "48", "--min", "48"],
    "growth": ["2", "6000", "20000"],
    "replay": [str(made_trace("fixed", 48, 48))],
}
# Of these a thread has one block at a time, so that only other threads' blocks can overlap with it.
ONE_BLOCK = ("cache_thrash", "cache_scratch")
BROKEN: List[Tuple[str, str, Dict[str, List[str]]]] = [
    (workload, fault, arguments)
    for workload in WORKLOADS
    for fault, arguments in (
        [("one_for_all", SHORT), ("one_for_all", FIXED_SIZE)] if workload in ONE_BLOCK
        else [("overlap", SHORT), ("scribble", SHORT), ("forgetful", FIXED_SIZE)] if workload == "growth"
        else [("overlap", SHORT), ("scribble", SHORT), ("twice", FIXED_SIZE)]
    )
]
MESSAGE = (
    r"{}: --check found an error in the block at 0x[0-9a-f]+ of (\d+) bytes: at offset (\d+) there is "
    r"0x([0-9a-f]{{2}}) where 0x([0-9a-f]{{2}}) was written; [^\n]+\n"
)


@pytest.mark.parametrize("workload,fault,arguments", BROKEN, ids=lambda v: v if isinstance(v, str) else "")
def test_check_finds_a_broken_allocator(
    program: Program, preload: Preload, workload: str, fault: str, arguments: Dict[str, List[str]]
) -> None:
    done = run(program(workload), [*arguments[workload], "--check", "--json"], preload=preload(fault))
    assert done.status == 1 and done.out == ""
    found = re.fullmatch(MESSAGE.format(workload), done.err)
    assert found is not None, done.err
    size, offset = int(found.group(1)), int(found.group(2))
    assert 0 <= offset < size
    assert found.group(3) != found.group(4)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_same_allocator_without_the_fault_passes(program: Program, preload: Preload, workload: str) -> None:
    for arguments in (SHORT, FIXED_SIZE):
        done = run(program(workload), [*arguments[workload], "--check", "--json"], preload=preload("good"))
        driver_contract.check(done.json)
        assert done.json["check"]["blocks"] > 0


def test_scribble_is_found_at_its_place(program: Program, preload: Preload) -> None:
    arguments = ["--threads", "1", "--operations", "50000", "--min", "100", "--max", "100", "--check"]
    done = run(program("larson"), arguments, preload=preload("scribble"))
    found = re.fullmatch(MESSAGE.format("larson"), done.err)
    assert found is not None and (found.group(1), found.group(2)) == ("100", "50")
    assert int(found.group(3), 16) ^ int(found.group(4), 16) == 0x40


# ---- out of memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_out_of_memory(program: Program, preload: Preload, workload: str) -> None:
    done = run(program(workload), [*SHORT[workload], "--json"], preload=preload("exhausted"))
    assert done.status == 1 and done.out == ""
    assert re.fullmatch(rf"{workload}: out of memory: malloc\(\d+\) returned NULL; [^\n]+\n", done.err)


# ---- which calls are made -----------------------------------------------------------------------


def count(program: Path, arguments: List[str], preload: Path, tmp_path: Path) -> Tuple[Dict[str, Any], Dict[str, int]]:
    out = tmp_path / "counts"
    result = run(program, [*arguments, "--json"], preload=preload, environment={"COUNTING_OUT": str(out)}).json
    words = out.read_text(encoding="ascii").split()
    return result, dict(zip(words[::2], map(int, words[1::2])))


@pytest.mark.parametrize("extra", [[], ["--check"], ["--latency"]], ids=" ".join)
@pytest.mark.parametrize("workload", [workload for workload in WORKLOADS if workload != "growth"])
def test_an_operation_is_one_call(
    program: Program, preload: Preload, tmp_path: Path, workload: str, extra: List[str]
) -> None:
    """Blocks are allocated and freed as often as is said; what is more (the C library's threads and
    the linker's own needs) is little."""
    result, calls = count(program(workload), [*SHORT[workload], *extra], preload("counting"), tmp_path)
    half = result["operations"] // 2
    assert half <= calls["malloc"] < half + 200
    assert half <= calls["free"] < half + 200


@pytest.mark.parametrize("workload", WORKLOADS)
def test_none_calls_nothing(program: Program, preload: Preload, tmp_path: Path, workload: str) -> None:
    result, calls = count(program(workload), [*SHORT[workload], "--none"], preload("counting"), tmp_path)
    assert result["mode"] == "none" and result["operations"] > 10000
    assert calls["malloc"] < 100 and calls["free"] < 100


# ---- sizes ------------------------------------------------------------------------------------------


def sizes_of(calls: Dict[str, int]) -> Dict[int, int]:
    return {int(name): number for name, number in calls.items() if name.isdigit()}


def assert_shares(seen: Dict[int, int], shares: Dict[int, float], slack: int = 60) -> None:
    """Each size has its share, within six standard deviations and `slack` calls of someone else."""
    total = sum(seen.values())
    for size, share in shares.items():
        expected = total * share
        assert abs(seen.get(size, 0) - expected) <= 6 * (expected * (1 - share)) ** 0.5 + slack, size


def test_uniform_sizes(program: Program, preload: Preload, tmp_path: Path) -> None:
    _, calls = count(program("bench_random_mixed"), ["400000", "50", "9"], preload("counting"), tmp_path)
    assert_shares(sizes_of(calls), {size: 1 / 50 for size in range(1, 51)})


def test_larson_sizes(program: Program, preload: Preload, tmp_path: Path) -> None:
    arguments = ["--threads", "2", "--operations", "400000", "--min", "10", "--max", "29"]
    _, calls = count(program("larson"), arguments, preload("counting"), tmp_path)
    assert_shares(sizes_of(calls), {size: 1 / 20 for size in range(10, 30)})


def test_pareto_sizes(program: Program, preload: Preload, tmp_path: Path) -> None:
    arguments = ["1000000", "4000", "9", "--sizes", "pareto"]
    _, calls = count(program("bench_random_mixed"), arguments, preload("counting"), tmp_path)
    seen = sizes_of(calls)
    total = sum(number for size, number in seen.items() if size >= 8)
    share = 1 / 8 - 1 / 4001
    for limit in (8, 16, 64, 256, 1024, 3999):
        expected = (1 / 8 - 1 / (limit + 1)) / share
        below = sum(number for size, number in seen.items() if 8 <= size <= limit) / total
        assert abs(below - expected) < 0.005, limit


def test_histogram_sizes(program: Program, preload: Preload, tmp_path: Path) -> None:
    histogram = tmp_path / "sizes of mine.txt"
    histogram.write_text("# sizes\n16 700\n\n24 200 # rare\r\n  4000\t1\n100 99\n77 0", encoding="ascii")
    arguments = ["--operations", "1000000", "--sizes", str(histogram)]
    result, calls = count(program("bench_random_mixed"), arguments, preload("counting"), tmp_path)
    driver_contract.check(result)
    assert result["arguments"]["sizes"] == str(histogram)
    assert result["arguments"]["size"] == 4000
    seen = sizes_of(calls)
    assert_shares(seen, {16: 0.7, 24: 0.2, 100: 0.099, 4000: 0.001})
    assert seen[4000] > 300 and seen.get(77, 0) < 60


def test_mix_sizes(program: Program, preload: Preload, tmp_path: Path) -> None:
    shares = {8: 10, 16: 20, 24: 10, 32: 15, 48: 10, 64: 12, 96: 6, 128: 6, 192: 4, 256: 3, 512: 2, 1024: 1, 4096: 1}
    _, calls = count(program("xmalloc"), ["--operations", "300000"], preload("counting"), tmp_path)
    assert_shares(sizes_of(calls), {size: share / 100 for size, share in shares.items()})


@pytest.mark.parametrize(
    "text,line,problem",
    [
        ("16 10\n16\n", 2, "SIZE COUNT"),
        ("16 10 3\n", 1, "SIZE COUNT"),
        ("# only\n\n0 5\n", 3, "SIZE must"),
        ("16 10\n-16 10\n", 2, "SIZE must"),
        ("16 10\n16x 10\n", 2, "SIZE must"),
        ("1073741825 1\n", 1, "SIZE must"),
        ("16 -1\n", 1, "COUNT must"),
        ("16 1.5\n", 1, "COUNT must"),
        ("16 99999999999999999999\n", 1, "COUNT must"),
        ("16,10\n", 1, "SIZE COUNT"),
        ("16 10\n1\x006 10\n", 2, "in text"),
        ("", None, "holds no line"),
        ("# nothing\n", None, "holds no line"),
        ("16 0\n", None, "holds no line"),
        ("16 1\n" * 65537, 65537, "more than 65536 sizes"),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_bad_histogram(program: Program, tmp_path: Path, text: str, line: "int | None", problem: str) -> None:
    histogram = tmp_path / "bad.txt"
    histogram.write_text(text, encoding="ascii")
    done = run(program("bench_random_mixed"), ["--operations", "10", "--sizes", str(histogram)])
    assert done.status == 2 and done.out == "" and done.err.count("\n") == 1
    assert problem in done.err
    assert (f"{histogram}:{line}:" if line is not None else str(histogram)) in done.err


def test_histogram_beyond_the_size(program: Program, tmp_path: Path) -> None:
    histogram = tmp_path / "sizes.txt"
    histogram.write_text("16 1\n300 1\n", encoding="ascii")
    done = run(program("bench_random_mixed"), ["10", "256", "1", "--sizes", str(histogram)])
    assert done.status == 2 and "sizes.txt:2:" in done.err and "1 to 256" in done.err


# ---- --latency ----------------------------------------------------------------------------------------

LONGER: Dict[str, List[str]] = {
    "larson": ["--threads", "2", "--operations", "4000000", "--max", "256"],
    "bench_random_mixed": ["4000000", "256", "42"],
    "xmalloc": ["--operations", "2000000", "--size", "64"],
    "cache_thrash": ["2", "1000000", "8", "1"],
    "cache_scratch": ["2", "1000000", "8", "1"],
    "mstress": ["--threads", "2", "--operations", "1500000"],
    "thread_churn": ["--threads", "2", "--operations", "1500000", "--blocks", "5000"],
    "pareto": ["2", "1000000", "4000000"],
    "large": ["2", "1000", "30000", "--min", "20000"],
    "replay": [*SHORT["replay"], "--loops", "150"],
}


@pytest.mark.parametrize("workload", LONGER)
def test_latency(program: Program, workload: str) -> None:
    result = run(program(workload), [*LONGER[workload], "--latency", "--json"]).json
    driver_contract.check(result)
    latency = result["latency"]
    steady = sum(p["operations"] for p in result["phases"] if p["name"] not in ("fill", "drain"))
    expected = steady / 2 / latency["sample_every"]
    assert expected > 300
    for kind in ("malloc", "free"):
        times = latency[kind]
        # Distances are uniform from half to one and a half of the mean: six standard deviations.
        assert abs(times["samples"] - expected) < 6 * expected**0.5
        assert latency["clock_ns"] * 0.5 <= times["p50"] < 20000
        assert times["max"] < 5e9


def test_latency_of_nothing_is_the_clock(program: Program) -> None:
    """Of several runs one must agree: on a shared machine the processor may change its pace between the calls and
    the reading of the clock's own cost."""
    seen = []
    for _ in range(8):
        result = run(program("bench_random_mixed"), ["4000000", "64", "42", "--latency", "--none", "--json"]).json
        clock = result["latency"]["clock_ns"]
        medians = [result["latency"][kind]["p50"] for kind in ("malloc", "free")]
        if all(abs(median - clock) < 15 + clock * 0.5 for median in medians):
            return
        seen.append((clock, medians))
    raise AssertionError(f"the clock's own cost and the medians of calls that do nothing: {seen}")


def test_latency_without_a_sample(program: Program) -> None:
    result = run(program("bench_random_mixed"), ["10", "64", "42", "--latency", "--json"]).json
    driver_contract.check(result)
    assert result["latency"]["malloc"] == {
        "samples": 0, "p50": None, "p99": None, "p999": None, "max": None, "histogram": [],
    }
    assert " - " in run(program("bench_random_mixed"), ["10", "64", "42", "--latency"]).out


# ---- the code of the loops --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "workload,function,calls",
    [
        ("larson", "replace_0", ["free", "malloc"]),
        ("bench_random_mixed", "churn_0", ["free", "malloc"]),
        ("xmalloc", "allocate_0", ["malloc"]),
        ("xmalloc", "release_0", ["free"]),
        ("cache_thrash", "churn_0", ["free", "malloc"]),
        ("cache_scratch", "churn_0", ["free", "malloc"]),
        ("cache_thrash", "churn_1", []),
        ("mstress", "work_0", ["free", "malloc"]),
        ("thread_churn", "allocate_0", ["malloc"]),
        ("pareto", "churn_0", ["free", "malloc"]),
        ("growth", "grow_0", ["free", "malloc", "realloc"]),
        ("replay", "play_0", ["free", "malloc"]),
        ("replay", "play_1", []),
        ("larson", "replace_1", []),
        ("pareto", "churn_1", []),
        ("growth", "grow_1", []),
        ("bench_random_mixed", "churn_1", []),
        ("xmalloc", "allocate_1", []),
        ("xmalloc", "release_1", []),
        ("mstress", "work_1", []),
        ("thread_churn", "release_1", []),
    ],
)
def test_the_loop_calls_the_allocator_and_does_not_divide(
    program: Program, objdump: str, workload: str, function: str, calls: List[str]
) -> None:
    command = [objdump, "-d", "--no-show-raw-insn", f"--disassemble={function}", str(program(workload))]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body = [line for line in code.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line)]
    assert body, f"{function} is not a function of its own"
    targets = set(re.findall(r"<(malloc|calloc|realloc|free)(?:@[^>]*)?>", "\n".join(body)))
    assert targets == set(calls)
    assert not [line for line in body if re.search(r"\t[a-z0-9 ]*i?div", line)]
    assert not [line for line in body if re.search(r"\t(lock |rdtsc|lfence)", line)]
