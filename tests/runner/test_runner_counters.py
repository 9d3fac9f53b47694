"""Tests of hardware counters, with a stand-in for perf, and with the machine's own."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

FAKE_PERF = """#!{python} -ES
# Stands for `perf stat`: writes numbers into the file after -o, runs the program, and hides a
# crash behind status 0 as perf does.
import os, signal, subprocess, sys
words = sys.argv[1:]
output, events = words[words.index("-o") + 1], words[words.index("-e") + 1].split(",")
program = words[words.index("--") + 1:]
mode = os.environ.get("FAKE_PERF", "")
assert os.environ["LC_ALL"] == "C" and "LD_PRELOAD" not in os.environ
runs = os.environ["FAKE_PERF_RUNS"]
with open(runs, "a") as stream:
    stream.write("x")
if mode == "breaks" and os.path.getsize(runs) > 1:
    sys.stderr.write("perf: something broke\\n")
    sys.exit(255)
status = subprocess.run(program).returncode
if status < 0:
    sys.stderr.write(program[0] + ": " + signal.strsignal(-status) + "\\n")
with open(output, "w") as stream:
    stream.write("# started on a day\\n\\n")
    if mode != "silent" or os.path.getsize(runs) == 1:
        for n, event in enumerate(events):
            if event.startswith("dTLB") or mode == "unsupported":
                stream.write("<not supported>,," + event + ",0,100.00,,\\n")
            elif mode == "hybrid":
                for kind in ("cpu_core", "cpu_atom"):
                    stream.write("500,," + kind + "/" + event.replace(":u", "/u") + ",10,50.00,,\\n")
            else:
                stream.write(str(1000 * (n + 1)) + ",," + event + ",10,99.50,1.5,insn per cycle\\n")
sys.exit(max(0, status))
"""


@pytest.fixture
def perf(tmp_path: Path):
    """Puts the stand-in first on the PATH; returns the environment for a mode."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "perf"
    program.write_text(FAKE_PERF.format(python=sys.executable), "utf-8")
    program.chmod(0o755)

    def environment(mode: str = "") -> dict[str, str]:
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "FAKE_PERF": mode,
                "FAKE_PERF_RUNS": str(tmp_path / "perf.runs")}

    return environment


def test_counters_stand_in_the_samples(bench, small, perf) -> None:
    done = bench.run(*small, "--repeat", "1", env=perf())
    assert done.returncode == 0, done.stderr
    setup = bench.records("run")[0]["counters"]
    assert setup["note"] is None and "dTLB-load-misses" not in setup["events"]
    for sample in bench.records("sample"):
        assert sample["counters"]["events"]["cycles"] == 1000
        assert sample["counters"]["running_percent"] == 99.5
    assert "No hardware counters" not in done.stdout


def test_both_kinds_of_cores_are_added_up(bench, small, perf) -> None:
    bench.run(*small, "--repeat", "1", env=perf("hybrid"))
    counted = bench.records("sample")[0]["counters"]
    assert counted["events"]["instructions"] == 1000 and counted["running_percent"] == 50


def test_a_library_is_preloaded_into_the_driver_only(bench, small, perf, whole_allocator) -> None:
    """The stand-in fails if it is served by the library itself."""
    done = bench.run(*small, "--repeat", "1", "--allocators", f"mine={whole_allocator}", env=perf())
    assert done.returncode == 0, done.stderr
    assert all(s["counters"] for s in bench.records("sample"))


def test_a_crash_under_perf_keeps_its_signal(bench, small, perf) -> None:
    bench.behave(larson_hakmem=["crash"])
    done = bench.run(*small, "--repeat", "1", "--allocators", "hakmem,system", env=perf())
    assert done.returncode == 1
    reasons = {s["failure"]["reason"] for s in bench.records("sample") if s["failure"]}
    assert reasons == {"ended by SIGSEGV (segmentation fault)"}


@pytest.mark.parametrize("mode", ["breaks", "silent"])
def test_perf_failing_halfway_loses_no_sample(bench, small, perf, mode: str) -> None:
    done = bench.run(*small, "--repeat", "1", env=perf(mode))
    assert done.returncode == 0, done.stderr
    for sample in bench.records("sample"):
        assert sample["status"] == "ok" and sample["counters"] is None
        assert sample["notes"] == ["perf stat gave no numbers"]


def test_counters_that_do_not_exist_are_explained(bench, small, perf) -> None:
    done = bench.run(*small, "--repeat", "1", env=perf("unsupported"))
    assert done.returncode == 0
    setup = bench.records("run")[0]["counters"]
    assert setup["events"] == [] and "virtual" in setup["note"]
    assert "No hardware counters" in done.stdout and "No hardware counters" in done.stderr


def test_a_missing_perf_is_explained(bench, small, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    os.symlink("/usr/bin/env", folder / "env")
    done = bench.run(*small, "--repeat", "1", env={"PATH": str(folder)})
    assert done.returncode == 0, done.stderr
    assert "linux-perf" in bench.records("run")[0]["counters"]["note"]


def test_the_machines_own_perf_never_breaks_a_run(bench, small) -> None:
    assert bench.run(*small, "--repeat", "1").returncode == 0
    setup = bench.records("run")[0]["counters"]
    assert bool(setup["events"]) == (setup["note"] is None)
