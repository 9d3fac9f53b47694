"""replay plays what was recorded: every call, in order, to the digit; and refuses what is no trace."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import driver_contract
from driver_run import run
from trace_writer import CLOCK_ORDER, TraceWriter

Program = Callable[..., Path]
Preload = Callable[[str], Path]


def replay(program: Program, trace: Path, *arguments: str) -> Dict[str, Any]:
    result = run(program("replay"), [str(trace), "--json", *arguments], timeout=60).json
    driver_contract.check(result)
    return result


def random_trace(threads: int, calls: int, seed: int) -> Tuple[TraceWriter, Dict[str, int]]:
    """A trace in which any thread frees and reallocates any block, and what must be counted in it."""
    choose, trace = random.Random(seed), TraceWriter()
    live: Dict[int, int] = {}
    count = {"calls": 0, "reallocs": 0, "allocated": 0, "peak_bytes": 0}
    for number in range(calls):
        thread = number if number < threads else choose.randrange(threads)
        size, fresh = choose.choice([0, 1, 24, 100, 5000, 70000]), 0x10000 + number * 0x20000
        what = choose.randrange(8)
        if live and what < 3:
            old = choose.choice(list(live))
            trace.free(thread, old)
            del live[old]
        elif live and what == 3:
            old = choose.choice(list(live))
            del live[old]
            live[fresh] = size or 1
            trace.realloc(thread, old, fresh, size or 1)
            count["reallocs"] += 1
        else:
            live[fresh] = size
            count["allocated"] += 1
            if what == 4:
                trace.calloc(thread, fresh, size)
            elif what == 5:
                trace.aligned(thread, fresh, size, choose.randrange(3, 14))
            elif what == 6:
                trace.realloc(thread, None, fresh, size)
            else:
                trace.malloc(thread, fresh, size)
        count["calls"] += 1
        count["peak_bytes"] = max(count["peak_bytes"], sum(live.values()))
    count["left_blocks"], count["left_bytes"] = len(live), sum(live.values())
    return trace, count


# ---- what is played -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads,calls", [(1, 4000), (2, 4000), (7, 3000), (1, 1), (3, 3)])
@pytest.mark.parametrize("extra", [[], ["--check"], ["--none"], ["--loops", "3", "--check", "--latency"]], ids=" ".join)
def test_counts_to_the_digit(program: Program, tmp_path: Path, threads: int, calls: int, extra: List[str]) -> None:
    trace, count = random_trace(threads, calls, seed=threads + calls)
    result = replay(program, trace.write(tmp_path / "t.trace"), *extra)
    figures, loops = result["figures"], 3 if "--loops" in extra else 1
    assert figures["recorded_calls"] == count["calls"] and figures["recorded_threads"] == threads
    assert figures["reallocs"] == count["reallocs"] and figures["loops"] == loops
    assert figures["peak_live_bytes"] == count["peak_bytes"]
    assert (figures["left_live_blocks"], figures["left_live_bytes"]) == (count["left_blocks"], count["left_bytes"])
    assert result["operations"] == loops * (count["calls"] + count["left_blocks"])
    quarters = [calls * n // 4 - calls * (n - 1) // 4 for n in range(1, 5)]
    assert [p["operations"] for p in result["phases"]] == [loops * n for n in [*quarters, count["left_blocks"]]]
    if result["check"]:
        assert result["check"]["blocks"] == loops * count["allocated"]
    last = result["memory"][-1]
    assert (last["operations"], last["live_bytes"]) == (calls, count["left_bytes"])


def test_calls_are_those_recorded(program: Program, preload: Preload, tmp_path: Path) -> None:
    trace = TraceWriter()
    for number in range(1000):
        trace.malloc(0, 0x1000 * (number + 1), 77)
    for number in range(1000):
        trace.free(0, 0x1000 * (number + 1))
    path, counts = trace.write(tmp_path / "t.trace"), tmp_path / "counts"
    run(program("replay"), [str(path), "--loops", "5"], preload=preload("counting"),
        environment={"COUNTING_OUT": str(counts)})
    words = counts.read_text(encoding="ascii").split()
    calls = dict(zip(words[::2], map(int, words[1::2])))
    assert 5000 <= calls["77"] <= 5003
    assert 5000 <= calls["malloc"] < 5100 and 5000 <= calls["free"] < 5100


def test_a_block_that_wanders_through_threads(program: Program, tmp_path: Path) -> None:
    """Reallocated by one thread after the other, with contents verified: each waits for the one before."""
    trace, threads = TraceWriter(), 4
    for block in range(50):
        place = 0x100000 * (block + 1)
        trace.malloc(block % threads, place, 10)
        for step in range(40):
            trace.realloc((block + step + 1) % threads, place, place + 0x100, 10 + 100 * (step % 7))
            place += 0x100
        trace.free((block + 2) % threads, place)
    result = replay(program, trace.write(tmp_path / "t.trace"), "--check", "--loops", "20")
    assert result["figures"]["crossing_calls"] == 50 * 42
    assert result["check"]["blocks"] == 20 * 50


def test_what_the_drain_frees_is_no_recorded_call(program: Program, tmp_path: Path) -> None:
    """A block that two threads touched and that is left: its free by the player crosses nothing recorded."""
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 16)
    trace.realloc(1, 0x1000, 0x1000, 24)
    result = replay(program, trace.write(tmp_path / "t.trace"))
    assert result["figures"]["crossing_calls"] == 2 and result["operations"] == 3


def test_producer_and_consumer(program: Program, tmp_path: Path) -> None:
    """One thread only allocates and the other only frees: shared slots are used again, so that the
    player stays small."""
    trace = TraceWriter()
    for number in range(60000):
        trace.malloc(0, 0x1000 + 64 * number, 48)
        if number >= 100:
            trace.free(1, 0x1000 + 64 * (number - 100))
    result = replay(program, trace.write(tmp_path / "t.trace"))
    assert result["figures"]["left_live_blocks"] == 100
    assert result["figures"]["player_bytes"] < 120000 * 16 + 64 * 15000


def test_more_threads_than_processors(program: Program, tmp_path: Path) -> None:
    trace, _ = random_trace(100, 3000, seed=5)
    assert replay(program, trace.write(tmp_path / "t.trace"), "--check", "--loops", "3")["figures"]["loops"] == 3


def test_what_is_not_played_is_said(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 8)
    trace.free(0, 0x9000)  # a block from before the recording
    trace.realloc(0, 0x8000, 0x7000, 30)  # another
    trace.fail(0, 1 << 60)
    trace.free_null(0)
    trace.free(0, 0x7000)
    path = trace.write(tmp_path / "t.trace")
    figures = replay(program, path)["figures"]
    assert figures["recorded_calls"] == 4 and figures["frees_of_null"] == 1
    assert (figures["skipped_inherited"], figures["skipped_failed"], figures["inherited_resized"]) == (1, 1, 1)
    assert figures["left_live_bytes"] == 8
    assert "1 frees of blocks from before the recording, 1 calls that failed" in run(program("replay"), [str(path)]).out


def test_realloc_to_nothing(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 8)
    trace.realloc_to_nothing(0, 0x1000)
    result = replay(program, trace.write(tmp_path / "t.trace"), "--check")
    assert result["operations"] == 2 and result["check"]["blocks"] == 1


def test_a_block_larger_than_64_MiB(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 100 << 20)
    trace.realloc(0, 0x1000, 0x2000, 200 << 20)
    trace.free(0, 0x2000)
    assert replay(program, trace.write(tmp_path / "t.trace"))["figures"]["peak_live_bytes"] == 200 << 20
    assert replay(program, tmp_path / "t.trace", "--none")["peak_rss_bytes"] < 10 << 20


@pytest.mark.parametrize("touch,pages", [("ends", (1, 40)), ("pages", (256, 330)), ("all", (256, 330))])
def test_touch(program: Program, tmp_path: Path, touch: str, pages: Tuple[int, int]) -> None:
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 1 << 20)
    result = replay(program, trace.write(tmp_path / "t.trace"), "--touch", touch, "--points", "0")
    assert pages[0] <= result["minor_faults"] <= pages[1]


# ---- time ---------------------------------------------------------------------------------------


def test_recorded_timing(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter(step=3_000_000)
    for number in range(50):
        trace.malloc(number % 2, 0x1000 * (number + 1), 16)
    path = trace.write(tmp_path / "t.trace")
    assert 0.147 <= replay(program, path, "--timed")["wall_seconds"]
    fast = replay(program, path, "--timed", "--speed", "3")
    assert 0.049 <= fast["wall_seconds"] and fast["figures"]["recorded_seconds"] == 0.147
    assert min(replay(program, path)["wall_seconds"] for _ in range(3)) < 0.04


def test_no_timing_where_none_was_recorded(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter(step=1, clock=CLOCK_ORDER)
    trace.malloc(0, 0x1000, 16)
    trace.free(0, 0x1000)
    path = trace.write(tmp_path / "t.trace")
    assert "has no times" in refused(program, str(path), "--timed")
    assert replay(program, path)["figures"]["recorded_seconds"] == 0


def test_seconds_play_whole_loops(program: Program, tmp_path: Path) -> None:
    trace, count = random_trace(2, 2000, seed=9)
    result = replay(program, trace.write(tmp_path / "t.trace"), "--seconds", "0.1")
    loops = result["figures"]["loops"]
    assert loops > 1 and result["wall_seconds"] >= 0.1
    assert result["operations"] == loops * (count["calls"] + count["left_blocks"])
    assert result["checksum"] is None


# ---- files --------------------------------------------------------------------------------------


def test_compressed_and_piped(program: Program, tmp_path: Path) -> None:
    trace, count = random_trace(1, 500, seed=3)
    folder = tmp_path / "a folder"
    folder.mkdir()
    plain = trace.write(folder / "t.trace")
    packed = [plain, folder / "t.gz", folder / "no ending"]
    packed[1].write_bytes(gzip.compress(plain.read_bytes()))
    packed[2].write_bytes(lzma.compress(plain.read_bytes()))
    if shutil.which("xz") is None:
        packed.pop()
    sums = {replay(program, path)["checksum"] for path in packed}
    for path in packed:
        with open(path, "rb") as stream:
            done = subprocess.run([str(program("replay")), "-"], stdin=stream, capture_output=True, text=True,
                                  check=True, timeout=60)
        assert f"note         {count['calls']} recorded calls of 1 thread" in done.stdout
    assert len(sums) == 1


def refused(program: Program, *arguments: str) -> str:
    done = run(program("replay"), list(arguments))
    assert done.status == 2 and done.out == "", done.err
    assert re.fullmatch(r"replay: [^\n]+\n", done.err), done.err
    return done.err


def test_files_that_are_no_traces(program: Program, tmp_path: Path) -> None:
    good = random_trace(2, 300, seed=1)[0].contents()
    wrong = tmp_path / "w"
    for contents in (b"", b"x", b"x" * 10000, good[:100], good[:4096], b"\x1f\x8b broken", b"\xfd7zXZ\0 broken",
                     good[:8] + b"\xff" * 4 + good[12:], gzip.compress(good)[:500]):
        wrong.write_bytes(contents)
        assert str(wrong) in refused(program, str(wrong))
    assert "there" in refused(program, str(tmp_path / "missing"))
    assert "directory" in refused(program, str(tmp_path))
    assert "no-such-trace" in refused(program, "no-such-trace")


def test_a_trace_without_calls(program: Program, tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.free(0, 0x1000)
    assert "no call" in refused(program, str(trace.write(tmp_path / "t.trace")))


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_are_refused_or_played(program: Program, tmp_path: Path, seed: int) -> None:
    """Whatever stands in the file: an end with a sentence, never a crash or a hang."""
    contents = bytearray(random_trace(3, 400, seed=2)[0].contents())
    choose = random.Random(seed)
    for _ in range(choose.randrange(1, 6)):
        contents[choose.randrange(len(contents))] = choose.randrange(256)
    path = tmp_path / "t.trace"
    path.write_bytes(contents)
    done = run(program("replay"), [str(path), "--touch", "ends"], timeout=30)
    assert done.status in (0, 1, 2), done.err
    assert done.status == 0 or done.err.startswith("replay: ")


@pytest.mark.parametrize("arguments,words", [
    ([], "no TRACE"), (["a", "b"], "takes 1 positional"), (["x", "--touch", "some"], "--touch takes"),
    (["x", "--timed", "--speed", "0"], "--speed takes"), (["x", "--speed", "2"], "give --timed"),
    (["x", "--timed", "--speed", "1e3"], "--speed takes"), (["x", "--loops", "0"], "--loops takes"),
    (["x", "--loops", "2", "--seconds", "1"], "exclude"), (["x", "--points", "257"], "--points takes"),
])
def test_wrong_arguments(program: Program, arguments: List[str], words: str) -> None:
    assert words in refused(program, *arguments)


@pytest.mark.parametrize("variable", ["GCC_WORK", "REDIS_REQUESTS"])
def test_how_much_is_recorded_must_be_a_number(variable: str) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts/record_traces.sh"
    done = subprocess.run([str(script), "gcc"], env={**os.environ, variable: "1x"}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"record_traces.sh: {variable}=1x is no whole number from 1 to 999999999\n"


# ---- broken allocators --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["overlap", "scribble", "twice"])
def test_check_finds_a_broken_allocator(program: Program, preload: Preload, tmp_path: Path, fault: str) -> None:
    trace = TraceWriter()
    for number in range(5000):
        trace.malloc(0, 0x1000 * (number + 1), 48)
        if number >= 20:
            trace.free(0, 0x1000 * (number - 19))
    path = str(trace.write(tmp_path / "t.trace"))
    done = run(program("replay"), [path, "--check"], preload=preload(fault))
    assert done.status == 1 and "--check found an error in the block" in done.err
    assert run(program("replay"), [path, "--check"], preload=preload("good")).status == 0


@pytest.mark.parametrize("call,words", [
    ("calloc", "calloc left 0x"), ("realloc", "found an error in the block"), ("aligned", "asked for with alignment"),
])
def test_check_knows_what_each_call_promises(
    program: Program, preload: Preload, tmp_path: Path, call: str, words: str
) -> None:
    trace = TraceWriter()
    trace.malloc(0, 0x1000, 100)
    if call == "calloc":
        trace.calloc(0, 0x2000, 100)
    elif call == "realloc":
        trace.realloc(0, 0x1000, 0x2000, 200)
    else:
        trace.aligned(0, 0x2000, 100, 12)
    path = str(trace.write(tmp_path / "t.trace"))
    done = run(program("replay"), [path, "--check"], preload=preload("promises"))
    assert done.status == 1 and words in done.err, done.err
