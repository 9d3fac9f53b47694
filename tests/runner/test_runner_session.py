"""Tests of whole runs: interleaving, warm-up, budget, signals, and going on."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.results_file import read_run


def test_rounds_are_interleaved_in_random_order(bench, small) -> None:
    assert bench.run(*small, "--repeat", "6", "--order-seed", "5").returncode == 0
    samples = bench.records("sample")
    warmups = [s for s in samples if s["warmup"]]
    assert {s["allocator"] for s in warmups} == {"hakmem", "mimalloc", "system"}
    assert samples[:3] == warmups and all(s["round"] == 0 for s in warmups)
    assert [s["position"] for s in samples] == list(range(len(samples)))
    orders = []
    for number in range(1, 7):
        order = [(s["cell"], s["allocator"]) for s in samples if s["round"] == number]
        assert len(order) == len(set(order)) == 6
        orders.append(tuple(order))
    assert len(set(orders)) > 3
    assert [s["round"] for s in samples] == sorted(s["round"] for s in samples)
    first = samples
    bench.results = bench.results.with_name("again.jsonl")
    bench.run(*small, "--repeat", "6", "--order-seed", "5")
    again = bench.records("sample")
    assert [(s["cell"], s["allocator"]) for s in first] == [(s["cell"], s["allocator"]) for s in again]


def test_all_allocators_get_the_same_calibrated_work(bench) -> None:
    done = bench.run("--workloads", "random_mixed", "--duration", "0.05", "--repeat", "2")
    assert done.returncode == 0
    for cell in bench.records("run")[0]["cells"]:
        assert cell["calibrated"]
        given = {
            s["arguments"][s["arguments"].index("--operations") + 1]
            for s in bench.records("sample") if s["cell"] == cell["id"]
        }
        # The fake driver does a million operations a second.
        assert given == {str(cell["parameters"]["operations"])} == {"50000"}


def test_a_budget_ends_the_run_between_rounds(bench) -> None:
    bench.behave(other=["sleep=0.05"])
    begin = time.monotonic()
    done = bench.run("--workloads", "larson", "--matrix", "threads=1", "--duration", "0.05",
                     "--allocators", "hakmem,system", "--time-budget", "4s")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 30
    samples = [s for s in bench.records("sample") if not s["warmup"]]
    rounds = [s["round"] for s in samples]
    assert max(rounds) >= 2
    spent = sum(s["elapsed_seconds"] for s in bench.records("sample"))
    assert spent <= 4.0
    assert bench.records("end")[-1]["status"] == "complete"


def _start(bench, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        bench.command(*arguments, "--output", str(bench.results), "--no-plots"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )


def _wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_is_finished_and_the_run_goes_on(
    bench, small, tmp_path: Path, number: signal.Signals
) -> None:
    flag = tmp_path / "flag"
    bench.behave(larson_mimalloc=[f"@5 hang={flag}"])
    process = _start(bench, *small, "--repeat", "3")
    _wait_for(flag.exists)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert f"--resume '{bench.results}'" in output and "Traceback" not in errors
    before = bench.records()
    assert before[-1]["record"] == "end" and before[-1]["status"] == "interrupted"
    kept = [r for r in before if r["record"] == "sample"]
    assert kept and all(s["status"] == "ok" for s in kept)
    assert not read_run(bench.results).complete

    done = bench.run("--resume", str(bench.results), "--no-plots", new=False)
    assert done.returncode == 0, done.stderr
    after = bench.records()
    assert after[: len(before)] == before
    keys = [(s["round"], s["cell"], s["allocator"]) for s in after if s["record"] == "sample"]
    assert len(keys) == len(set(keys)) == 3 + 3 * 6
    assert after[-1]["status"] == "complete"


def test_a_second_signal_quits_at_once(bench, small, tmp_path: Path) -> None:
    """The first can't be obeyed at once here: the disk is asked to store a record for ever."""
    flag = tmp_path / "flag"
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(bench.root)!r})\n"
        "from runner import results_file\n"
        "from runner.main import main\n"
        "calls = []\n"
        "def stuck(descriptor):\n"
        "    calls.append(descriptor)\n"
        "    if len(calls) == 5:\n"  # the file's trial, the header, two samples come before
        f"        open({str(flag)!r}, 'w').close()\n"
        "        end = time.monotonic() + 60\n"
        "        while time.monotonic() < end: time.sleep(0.1)\n"
        "results_file.os.fdatasync = stuck\n"
        "sys.exit(main(sys.argv[1:]))\n", "utf-8",
    )
    command = bench.command(*small, "--repeat", "3", "--output", str(bench.results), "--no-plots")
    command[1] = str(script)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(flag.exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert len(read_run(bench.results).samples) >= 2


def test_an_interrupt_before_the_first_sample_leaves_no_file(bench, small, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    bench.behave(larson_hakmem=[f"@1 hang={flag}"])
    process = _start(bench, *small)
    _wait_for(flag.exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Interrupted before" in errors
    assert not bench.results.exists()


def test_a_run_that_was_killed_goes_on(bench, small, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    bench.behave(larson_mimalloc=[f"@5 hang={flag}"])
    process = _start(bench, *small, "--repeat", "3")
    _wait_for(flag.exists)
    process.kill()
    process.communicate(timeout=30)
    assert not bench.records("end")
    done = bench.run("--resume", str(bench.results), "--no-plots", new=False)
    assert done.returncode == 0
    assert len(bench.records("sample")) == 3 + 3 * 6
    for entry in Path("/proc").iterdir():  # what the killed runner could not clean up
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(bench.folder).encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.fixture
def interrupted(bench, small) -> None:
    """A results file with a part of a run."""
    assert bench.run(*small, "--repeat", "2", "--allocators", "hakmem,system").returncode == 0
    lines = bench.results.read_text("ascii").splitlines(keepends=True)
    bench.results.write_text("".join(lines[:5]), "ascii")


@pytest.mark.parametrize("arguments", [
    ["--matrix", "threads=1,4"], ["--workloads", "xmalloc"], ["--allocators", "hakmem"],
    ["--repeat", "3"], ["--duration", "2"], ["--seed", "1"], ["--check"], ["--latency"],
    ["--quick"], ["--time-budget", "3m"],
])
def test_going_on_differently_is_refused(bench, interrupted, arguments: list[str]) -> None:
    before = bench.results.read_bytes()
    done = bench.run("--resume", str(bench.results), *arguments, new=False)
    assert done.returncode == 2 and f"another {arguments[0]}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert bench.results.read_bytes() == before


def test_going_on_with_the_same_options_spelled_out(bench, small, interrupted) -> None:
    done = bench.run("--resume", str(bench.results), *small, "--repeat", "2", "--allocators",
                     "hakmem,system", "--no-plots", new=False)
    assert done.returncode == 0, done.stderr


def test_going_on_with_other_drivers_is_refused(bench, interrupted) -> None:
    with open(bench.folder / "larson_system", "a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    done = bench.run("--resume", str(bench.results), new=False)
    assert done.returncode == 2 and "larson_system" in done.stderr and "no longer the file" in done.stderr


def test_going_on_on_another_machine_is_refused(bench, interrupted) -> None:
    lines = bench.results.read_text("ascii").splitlines(keepends=True)
    header = json.loads(lines[0])
    header["machine"]["cpu_model"] = "another"
    bench.results.write_text(json.dumps(header) + "\n" + "".join(lines[1:]), "ascii")
    done = bench.run("--resume", str(bench.results), new=False)
    assert done.returncode == 2 and "another processor" in done.stderr


def test_a_complete_run_has_nothing_to_go_on_with(bench, small) -> None:
    bench.run(*small, "--repeat", "1")
    before = bench.results.read_bytes()
    done = bench.run("--resume", str(bench.results), "--no-plots", new=False)
    assert done.returncode == 0 and "nothing to go on with" in done.stderr
    assert "larson: throughput" in done.stdout
    assert bench.results.read_bytes() == before


def test_the_loop_without_an_allocator(bench, small) -> None:
    done = bench.run(*small, "--repeat", "1", "--allocators", "hakmem,system,none")
    assert done.returncode == 0, done.stderr
    words = [s["arguments"] for s in bench.records("sample") if s["allocator"] == "none"]
    assert words and all("--none" in arguments for arguments in words)
    assert "hakmem / best baseline" in done.stdout and "/ none" not in done.stdout


def test_a_library_whose_path_has_a_space(bench, small, whole_allocator: Path, tmp_path: Path) -> None:
    path = tmp_path / "my own: $LIB" / "lib mine.so"
    path.parent.mkdir()
    shutil.copy(whole_allocator, path)
    done = bench.run(*small, "--repeat", "1", "--allocators", f"system,mine={path}")
    assert done.returncode == 0, done.stderr
    header = bench.records("run")[0]
    entry = next(a for a in header["allocators"] if a["name"] == "mine")
    assert entry["kind"] == "preloaded" and entry["library"]["path"] == str(path.resolve())
    assert "mine / best baseline" in done.stdout


def test_a_preloaded_library_of_the_callers_own_is_not_measured(
    bench, small, whole_allocator: Path
) -> None:
    done = bench.run(*small, "--repeat", "1", "--allocators", "system",
                     env={**os.environ, "LD_PRELOAD": str(whole_allocator), "MALLOC_ARENA_MAX": "3"})
    assert done.returncode == 0, done.stderr
    assert bench.records("sample")[0]["provider"]["path"] == "/lib/system.so"
    assert bench.records("run")[0]["environment"] == {"MALLOC_ARENA_MAX": "3"}


def test_table_and_summary_say_the_same(bench, small) -> None:
    done = bench.run(*small, "--repeat", "5")
    summary = bench.results.with_suffix(".md").read_text("utf-8")
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("1 "))
    for word in row.split()[1:3]:
        assert word in summary
    assert "--order-seed" in summary and "--output" not in summary
    assert "Against the fastest baseline" in summary and "Against the fastest baseline" in done.stdout
    assert f"Results: {bench.results}" in done.stdout
    assert f"Summary: {bench.results.with_suffix('.md')}" in done.stdout


def test_the_files_of_a_round_are_moved_in_memory_before_it(bench, small) -> None:
    """Seen from outside, by the calls that ask for it: once a round for each driver."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    seen = bench.folder / "calls"
    done = subprocess.run(
        [strace, "-f", "-e", "trace=fadvise64", "-y", "-o", str(seen),
         *bench.command(*small, "--allocators", "mimalloc,system", "--repeat", "3",
                        "--output", str(bench.results), "--no-plots")],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("no program may be traced here")
    assert done.returncode == 0, done.stderr
    forgotten = [line for line in seen.read_text("utf-8", "replace").splitlines() if "POSIX_FADV_DONTNEED" in line]
    for driver in ("larson_mimalloc", "larson_system"):
        # a warm-up and three rounds of two cells
        assert sum(f"/{driver}>" in line for line in forgotten) == 4, forgotten
