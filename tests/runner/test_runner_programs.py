"""Tests of real programs as workloads: in the same session as the drivers, proved, compared."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UsageError
from runner.estimate import analyse
from runner.matrix import make_cells, parse_matrix, parse_workloads, sample_seconds
from runner.programs import PROGRAMS, find_program, program_environment
from runner.results_file import read_run
from runner.schedule import choose_effort
from workloads.programs import gcc_source, redis_commands, sqlite_script

SMALL = ("--workloads", "sqlite,gcc", "--matrix", "work=1", "--allocators", "hakmem,system")


@pytest.fixture
def programs(bench, tmp_path: Path) -> Any:
    """The bench with a fake launcher too, and a PATH on which every program is some program."""
    source = (bench.root / "tests" / "runner" / "fake_launcher.py").read_text("utf-8")
    launcher = bench.folder / "run_program"
    launcher.write_text(f"#!{sys.executable} -ES\n{source}", "utf-8")
    launcher.chmod(0o755)
    for name in ("libhakmem.so", "libwl_witness.so"):
        (bench.folder / name).write_bytes(b"")
    bench.path = tmp_path / "bin"
    bench.path.mkdir()
    for name in ("redis-server", "sqlite3", "gcc"):
        (bench.path / name).symlink_to("/bin/true")
    bench.environment = {**os.environ, "PATH": str(bench.path)}
    return bench


def run(programs, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return programs.run(*words, env=programs.environment, **options)


def table_row(text: str, title: str, label: str) -> list[str]:
    lines = iter(text.splitlines())
    next(line for line in lines if title in line)
    return next(line for line in lines if line.split()[:1] == [label]).split()


def test_programs_and_drivers_in_one_interleaved_session(programs) -> None:
    done = run(programs, "--workloads", "larson,sqlite,gcc", "--matrix", "threads=1,2", "--matrix",
               "work=1", "--duration", "0.01", "--repeat", "5", "--allocators", "hakmem,system")
    assert done.returncode == 0, done.stderr
    (header,) = programs.records("run")
    assert [cell["id"] for cell in header["cells"]] == [
        "larson threads=1", "larson threads=2", "sqlite work=1", "gcc work=1"
    ]
    samples = [s for s in programs.records("sample") if not s["warmup"]]
    for number in range(1, 6):
        done_in_round = [(s["cell"], s["allocator"]) for s in samples if s["round"] == number]
        assert len(done_in_round) == len(set(done_in_round)) == 8
    orders = {tuple((s["cell"], s["allocator"]) for s in samples if s["round"] == n) for n in range(1, 6)}
    assert len(orders) > 1
    assert header["schema_version"] == 3 and set(header["programs"]) == {"sqlite", "gcc"}
    cell = header["cells"][2]
    assert cell["measure"] == "cpu_time" and cell["units"] > 10 and len(cell["input_sha256"]) == 64
    # 0.55 of 1.1 units of time and 1.1 of the memory; and in the table less time is less.
    row = table_row(done.stdout, "processor time for the same work, seconds, lower is better", "sqlite")
    assert row[2] == "0.11" and row[4] == "0.22" and row[6:] == ["0.50", "(0.50-0.50)", "system"]
    row = table_row(done.stdout, "peak resident memory of the largest process", "gcc")
    assert row[2] == "11.0" and row[6:] == ["1.10", "(1.10-1.10)", "system"]
    analysis = analyse(read_run(programs.results).header, read_run(programs.results).samples)
    assert analysis.speed_means["gcc", "system"].value == pytest.approx(2.0)
    summary = programs.results.with_suffix(".md").read_text("utf-8")
    assert "lower is better" in summary and "true (GNU coreutils)" in summary
    for text in programs.results.read_text("ascii"), summary:
        assert "hakmem-programs-" not in text  # the scratch folder is nobody's business


def test_every_record_of_programs_keeps_the_schema(programs) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((programs.root / "runner" / "results.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    programs.behave(run_program=["@6 crash"])
    assert run(programs, *SMALL, "--repeat", "2").returncode == 1
    for line in programs.results.read_text("ascii").splitlines():
        validator.validate(json.loads(line))


def test_results_of_version_1_are_still_read(root: Path) -> None:
    found = read_run(root / "tests" / "runner" / "results_of_version_1.jsonl")
    assert found.header.schema_version == 1 and not found.header.programs
    assert not any(cell.is_program for cell in found.header.cells)
    assert found.complete and len(found.samples) == 12 and all(sample.measured for sample in found.samples)


@pytest.mark.parametrize(("behaviour", "kind", "words"), [
    ("crash", "crash", "SIGSEGV"),
    ("wrong", "exit", "the program's result is wrong"),
    ("ignore-preload", "provider", "served by system"),
    ("incomplete", "provider", "only a part"),
    ("idle", "output", "no processor time"),
])
def test_a_program_that_fails_once(programs, behaviour: str, kind: str, words: str) -> None:
    # The reference is the 1st run, the warm-ups the 2nd and 3rd, then two for each round.
    programs.behave(run_program=[f"@{n} {behaviour}" for n in (4, 5)])
    done = run(programs, "--workloads", "sqlite", "--matrix", "work=1", "--repeat", "2",
               "--allocators", "hakmem,system")
    assert done.returncode == 1, done.stderr
    failed = [s for s in programs.records("sample") if s["status"] == "failed"]
    # That the system's malloc serves is right for one of both.
    assert len(failed) == (1 if behaviour == "ignore-preload" else 2)
    assert {s["failure"]["kind"] for s in failed} == {kind} and failed[0]["round"] == 1
    assert words in failed[0]["failure"]["reason"] and failed[0]["measured"] is None
    assert "failed" in table_row(done.stdout, "processor time", "sqlite")


def test_a_program_that_does_not_work_at_all_is_one_sentence(programs) -> None:
    programs.behave(run_program=["crash"])
    done = run(programs, *SMALL)
    assert done.returncode == 2 and "fails even with the system's allocator" in done.stderr
    assert not programs.results.exists()


def test_threads_do_not_multiply_programs(programs) -> None:
    assert len(make_cells(["redis", "gcc"], parse_matrix(["threads=1..4"]), [1, 2])) == 2
    cells = make_cells(["larson", "redis"], {}, [1, 2, 4])
    assert [cell.id for cell in cells][3:] == ["redis"]
    with pytest.raises(UsageError, match="belongs to"):
        make_cells(["redis"], parse_matrix(["slots=5"]), [1])
    done = run(programs, *SMALL, "--matrix", "threads=1..4", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    assert "threads do not apply to sqlite, gcc" in done.stderr
    assert len(programs.records("run")[0]["cells"]) == 2


def test_a_missing_program_is_left_out_with_its_package(programs) -> None:
    (programs.path / "redis-server").unlink()
    done = run(programs, "--workloads", "redis,sqlite", "--matrix", "work=1", "--repeat", "1",
               "--allocators", "hakmem,system")
    assert done.returncode == 0, done.stderr
    sentence = "Left out: redis: redis-server is not installed; install Debian's package redis-tools"
    assert sentence in done.stderr and sentence in done.stdout
    assert programs.records("run")[0]["workloads"] == ["sqlite"]
    programs.results.unlink()
    none = run(programs, "--workloads", "redis")
    assert none.returncode == 2 and "package redis-tools" in none.stderr


def test_the_server_by_another_name(programs) -> None:
    """Debian's package redis-tools has the server's file without its name."""
    (programs.path / "redis-server").rename(programs.path / "redis-check-rdb")
    done = run(programs, "--workloads", "redis", "--matrix", "work=1", "--repeat", "1",
               "--allocators", "system")
    assert done.returncode == 0, done.stderr
    arguments = programs.records("sample")[-1]["arguments"]
    assert arguments[arguments.index("--") + 1] == str(programs.path / "redis-check-rdb")


def test_a_script_in_a_programs_place_is_passed_over(programs, monkeypatch) -> None:
    (programs.path / "sqlite3").unlink()
    (programs.path / "sqlite3").write_text("#!/bin/sh\nexec /usr/bin/sqlite3 \"$@\"\n")
    (programs.path / "sqlite3").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs.path))
    assert find_program(PROGRAMS["sqlite"]) is None
    assert find_program(PROGRAMS["gcc"]) == programs.path / "gcc"


def test_libraries_that_are_not_there(programs) -> None:
    (programs.folder / "libhakmem.so").unlink()
    named = run(programs, *SMALL)
    assert named.returncode == 2 and "libhakmem.so" in named.stderr and "make" in named.stderr
    free = run(programs, *SMALL[:4], "--repeat", "1")
    assert free.returncode == 0, free.stderr
    assert "Left out: hakmem" in free.stderr


def test_there_is_no_program_without_an_allocator(programs) -> None:
    done = run(programs, "--workloads", "sqlite", "--allocators", "none,system")
    assert done.returncode == 2 and "can't do without an allocator" in done.stderr


def _interrupted(programs, flag: Path) -> None:
    programs.behave(run_program=[f"@7 hang={flag}"])
    process = subprocess.Popen(
        programs.command(*SMALL, "--repeat", "3", "--output", str(programs.results), "--no-plots"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=programs.environment,
    )
    end = time.monotonic() + 30
    while not flag.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_a_run_of_programs_goes_on(programs, tmp_path: Path) -> None:
    _interrupted(programs, tmp_path / "flag")
    resume = ("--resume", str(programs.results), "--no-plots")
    assert run(programs, *resume, new=False).returncode == 0
    keys = [(s["round"], s["cell"], s["allocator"]) for s in programs.records("sample")]
    assert len(keys) == len(set(keys)) == 4 * 4


def test_a_run_with_another_input_or_program_does_not_go_on(programs, tmp_path: Path) -> None:
    _interrupted(programs, tmp_path / "flag")
    resume = ("--resume", str(programs.results), "--no-plots")
    text = programs.results.read_text("ascii")
    digest = programs.records("run")[0]["cells"][0]["input_sha256"]
    programs.results.write_text(text.replace(digest, "0" * 64))
    done = run(programs, *resume, new=False)
    assert done.returncode == 2 and "input of sqlite work=1 is made otherwise" in done.stderr
    programs.results.write_text(text)
    (programs.path / "sqlite3").unlink()
    (programs.path / "sqlite3").symlink_to("/bin/false")
    done = run(programs, *resume, new=False)
    assert done.returncode == 2 and "no longer the program" in done.stderr


def test_inputs_depend_on_nothing_but_the_seed_and_the_work(tmp_path: Path) -> None:
    for number, write in enumerate((
        redis_commands.write_conversation, sqlite_script.write_script, gcc_source.write_source
    )):
        files = [tmp_path / f"{number}-{n}" for n in range(4)]
        units = [write(files[0], 1, 2), write(files[1], 1, 2), write(files[2], 2, 2),
                 write(files[3], 1, 12)]
        texts = [file.read_bytes() for file in files]
        assert texts[0] == texts[1] != texts[2] and units[0] == units[1]
        assert units[3] > units[0] and len(texts[3]) > len(texts[0])


def test_a_program_sees_little_of_our_environment() -> None:
    ours = {"PATH": "/bin", "PYTHONPATH": "/x", "LD_PRELOAD": "/y", "CPATH": "/z", "MALLOC_ARENA_MAX": "1"}
    theirs = program_environment(PROGRAMS["python"], ours, {"MALLOC_ARENA_MAX": "1"}, Path("/scratch"))
    assert theirs["PYTHONMALLOC"] == "malloc" and theirs["MALLOC_ARENA_MAX"] == "1"
    assert not {"PYTHONPATH", "LD_PRELOAD", "CPATH"} & set(theirs)


def test_the_effort_with_samples_of_a_fixed_length() -> None:
    cells = make_cells(parse_workloads(["redis,sqlite,gcc,python"]), {}, [1])
    fixed = 5 * sum(sample_seconds(cell, 0.5) or 0 for cell in cells)
    assert choose_effort(0, quick=False, fixed_seconds=fixed).rounds == 15
    assert choose_effort(0, quick=False, fixed_seconds=100.0).rounds == 6
    both = choose_effort(10, quick=False, fixed_seconds=20.0)
    assert both.rounds and both.rounds * (10 * (both.duration_seconds + 0.04) + 20) <= 600
    with pytest.raises(UsageError, match="too short"):
        choose_effort(0, quick=False, budget=5.0, fixed_seconds=20.0)


def test_pictures_of_programs(programs) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    assert matplotlib
    assert run(programs, *SMALL, "--repeat", "2").returncode == 0
    folder = programs.results.with_name("pictures")
    done = subprocess.run(
        [sys.executable, str(programs.root / "plots" / "draw.py"), str(programs.results), "--out",
         str(folder)], capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.glob("*.svg")} == {"programs-time.svg", "programs-memory.svg"}
    text = (folder / "programs-time.svg").read_text("utf-8")
    assert "sqlite work=1" in text and "other / hakmem" in text


def test_real_programs_with_real_allocators(root: Path, tmp_path: Path) -> None:
    """Whatever is installed here, a fiftieth of the work."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    results = tmp_path / "programs.jsonl"
    done = subprocess.run(
        [sys.executable, str(root / "runner" / "run.py"), "--workloads", "redis,sqlite,gcc,python",
         "--matrix", "work=2", "--allocators", "hakmem,system", "--repeat", "1", "--no-plots",
         "--output", str(results)], capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    run_here = read_run(results)
    assert {"gcc", "python"} <= set(run_here.header.programs)
    for sample in run_here.samples:
        assert sample.ok and sample.provider is not None and sample.provider.complete
        assert sample.provider.name == sample.allocator
        assert sample.measured is not None and sample.measured.processes
        names = {process.name for process in sample.measured.processes}
        if sample.workload == "gcc":
            assert names >= {"cc1", "gcc"}
