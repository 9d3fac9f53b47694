"""Tests of the history: what is added, by how many at once, what is refused, and what is shown."""
from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.trends.add import add_file
from runner.trends.machine import machine_key
from runner.trends.main import main
from runner.trends.store import APPLICATION_ID, open_to_read
from runner.results_file import read_run
from runner.sample_values import values_of
from tests.runner.made_results import make_run

MADE = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> MADE:
    """Makes the results file of run `number`, by default of a commit of its own."""

    def make(number: int, **options: Any) -> Path:
        path = tmp_path / "some runs" / f"{number:03d}.jsonl"
        path.parent.mkdir(exist_ok=True)
        options.setdefault("builds", False)
        options.setdefault("rounds", 3)
        options.setdefault("commit", f"{number:040x}")
        header = options.pop("header", {})
        make_run(path, seed=number, **options)
        first, _, rest = path.read_text("ascii").partition("\n")
        record = {**json.loads(first), "id": f"20260102T0304{number:02d}Z-{number:06x}",
                  "started": f"2026-01-02T03:{number:02d}:05Z", **header}
        path.write_text(f"{json.dumps(record)}\n{rest}", "ascii")
        return path

    return make


@pytest.fixture
def run(tmp_path: Path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs history.py on a database in this test's folder; returns status, output and errors."""

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", sys.stdout)
            patched.setattr(sys, "stderr", sys.stderr)
            words = [command, *map(str, arguments), "--db", str(tmp_path / "the history.sqlite")]
            status = main(words, lambda packages: None)
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "the history.sqlite"


def _count(database: Path, table: str) -> int:
    with open_to_read(database) as history:
        return history.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_run_is_added_once(made: MADE, run, database: Path) -> None:
    path = made(1, latency=True, exact=True)
    status, out, err = run("add", path)
    assert status == 0 and "was added" in out and not err
    before = database.read_bytes()
    status, out, _ = run("add", path)
    assert status == 0 and "already; nothing was added" in out
    assert database.read_bytes() == before
    assert not list(database.parent.glob("*-journal"))


def test_values_are_medians_and_quartiles_of_good_samples(made: MADE, run, database: Path) -> None:
    path = made(1, rounds=5, threads=(1, 2), fail=[(2, "system")])
    run("add", path)
    found = read_run(path)
    cells = {cell.id: cell for cell in found.header.cells}
    rows = [row for row in csv.DictReader(io.StringIO(run("export")[1]))]
    assert not any(row["allocator"] == "system" for row in rows)  # one of its samples failed
    with open_to_read(database) as history:
        failed = history.execute("SELECT count(*) FROM outcome WHERE failures = 1").fetchone()[0]
    assert failed == len(cells)
    checked = 0
    for row in rows:
        if row["baseline"]:
            continue
        values = sorted(
            values_of(s, cells[s.cell])[row["phase"], row["metric"]] for s in found.samples
            if s.ok and not s.warmup and (s.cell, s.allocator) == (row["cell"], row["allocator"])
        )
        assert [float(row[name]) for name in ("lowest", "lower_quartile", "median", "upper_quartile",
                                              "highest")] == pytest.approx(values)
        assert row["samples"] == "5"
        checked += 1
    assert checked > 20


def test_values_are_those_that_comparisons_use(made: MADE) -> None:
    recording = pytest.importorskip("runner.verdict.recording")
    for options in ({"latency": True, "counters": True}, {"workloads": ("redis",)}):
        found = read_run(made(1, **options))
        cells = {cell.id: cell for cell in found.header.cells}
        for (cell, allocator), series in recording.recording_of(found).series.items():
            samples = [s for s in found.samples
                       if not s.warmup and (s.cell, s.allocator) == (cell, allocator)]
            assert series.values
            for slot, values in series.values.items():
                ours = [values_of(sample, cells[cell])[slot] for sample in samples]
                assert ours == pytest.approx(list(values))


def test_each_build_of_a_comparison_is_an_entry(made: MADE, run, database: Path) -> None:
    status, out, err = run("add", made(1, builds=2))
    assert status == 0 and not err
    with open_to_read(database) as history:
        found = [tuple(row) for row in history.execute(
            "SELECT allocator, product, commit_id FROM entry ORDER BY allocator")]
    assert found == [("base", "hakmem", "1" * 40), ("new", "hakmem", "2" * 40),
                     ("new2", "hakmem", "3" * 40)]
    _, out, _ = run("list")
    assert all(f"{digit * 9}" in out for digit in "123") and "million operations" in out  # there are no baselines


def test_a_run_that_went_on_replaces_what_was_there(made: MADE, run, database: Path) -> None:
    whole = made(1, rounds=6)
    lines = whole.read_text().splitlines(keepends=True)
    whole.write_text("".join(lines[:-12]))
    run("add", whole)
    whole.write_text("".join(lines))
    _, out, _ = run("add", whole)
    assert "added again, with more samples" in out and _count(database, "run") == 1
    whole.write_text("".join(lines[:-12]))
    assert "nothing was added" in run("add", whole)[1]
    rows = list(csv.DictReader(io.StringIO(run("export")[1])))
    assert {row["samples"] for row in rows} == {"6"}


def test_a_file_that_was_changed_and_bad_ones_do_not_keep_others_out(
    made: MADE, run, database: Path, tmp_path: Path
) -> None:
    first, second = made(1), made(2)
    run("add", first)
    before = database.read_bytes()
    first.write_text(first.read_text().replace('"rounds": 3', '"rounds": 4', 1))
    (tmp_path / "none.jsonl").write_text("")
    status, out, err = run("add", first)
    assert status == 2 and "begin differently" in err and database.read_bytes() == before
    status, out, err = run("add", tmp_path / "none.jsonl", tmp_path / "absent", second)
    assert status == 2 and "was added" in out and len(err.strip().splitlines()) == 2
    assert _count(database, "run") == 2


def _newer(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")


def _stranger(database: Path) -> None:
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE something (a)")


def _damaged(database: Path) -> None:
    data = bytearray(database.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place:place + 60] = b"\xff" * 60
    database.write_bytes(data)


def _without_a_table(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE outcome")


@pytest.mark.parametrize(("spoil", "words"), [
    (_newer, "newer version 99"),
    (_stranger, "no history of runs"),
    (_damaged, "is damaged"),
    (_without_a_table, "lacks the table 'outcome'"),
    (lambda database: database.write_bytes(database.read_bytes()[:5000]), "is damaged"),
    (lambda database: database.write_text("not a database, " * 50), "no SQLite database"),
    (lambda database: database.write_bytes(b"SQLite"), "no SQLite database"),
])
def test_what_is_no_history_is_refused_and_left_as_it_is(
    made: MADE, run, database: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = made(1)
    run("add", path)
    spoil(database)
    before, names = database.read_bytes(), sorted(os.listdir(database.parent))
    for arguments in (["add", path], ["list"], ["trend", "--no-plots"], ["export"]):
        status, out, err = run(*arguments)
        assert status == 2 and words in err and "left as it is" in err, err
        assert "Traceback" not in err and not out and len(err.strip().splitlines()) == 1
    assert database.read_bytes() == before and sorted(os.listdir(database.parent)) == names


def test_an_empty_file_becomes_a_history(made: MADE, run, database: Path) -> None:
    database.touch()
    status, _, err = run("list")
    assert status == 2 and "there is no history" in err
    assert run("add", made(1))[0] == 0
    data = database.read_bytes()
    assert int.from_bytes(data[68:72], "big") == APPLICATION_ID


def _start(root: Path, database: Path, *paths: Path, code: str = "") -> subprocess.Popen[str]:
    script = (
        f"import sys, pathlib; sys.path.insert(0, {str(root)!r})\n"
        f"from runner.trends import add\n{code}\n"
        "for path in sys.argv[2:]:\n"
        f"    print(add.add_file(pathlib.Path(sys.argv[1]), pathlib.Path(path), "
        f"pathlib.Path({str(root)!r})))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-S", "-c", script, str(database), *map(str, paths)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def test_many_processes_add_at_once(made: MADE, database: Path, root: Path) -> None:
    paths = [made(number, rounds=1) for number in range(8)]
    started = [_start(root, database, *paths[place:], *paths[:place]) for place in range(8)]
    outputs = [process.communicate(timeout=120) for process in started]
    assert all(process.returncode == 0 for process in started), outputs
    text = "".join(out for out, _ in outputs)
    assert text.count("was added") == 8 + text.count("nothing was added") == 8 + 56
    assert _count(database, "run") == 8 and _count(database, "cell") == 8


def test_a_writer_that_is_killed_leaves_nothing_half(made: MADE, run, database: Path, root: Path) -> None:
    run("add", made(1))
    values = _count(database, "value")
    kill = (
        "import os, signal\n"
        "inner = add._insert_values\n"
        "def killed(connection, *rest):\n"
        "    connection.execute('PRAGMA cache_size = 1')\n"
        "    inner(connection, *rest)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "add._insert_values = killed\n"
    )
    process = _start(root, database, made(2, threads=(1, 2, 3, 4)), code=kill)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert Path(f"{database}-journal").stat().st_size > 0  # it was in the middle of writing
    assert run("list")[0] == 0
    assert _count(database, "value") == values and _count(database, "run") == 1
    assert "was added" in run("add", made(2, threads=(1, 2, 3, 4)))[1]


def test_adding_listing_and_exporting_need_no_library(made: MADE, tmp_path: Path, root: Path) -> None:
    database = tmp_path / "h.sqlite"
    for arguments in (["add", str(made(1)), str(made(2).parent)], ["list"], ["export"]):
        done = subprocess.run(
            [sys.executable, "-S", str(root / "runner" / "history.py"), *arguments, "--db", str(database)],
            capture_output=True, text=True, cwd="/", timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_the_list_is_relative_to_what_was_measured_beside(made: MADE, run) -> None:
    for number in range(4):
        run("add", made(number, session=number / 3, count_noise=0.001, threads=(1, 2) if number else (1,),
                        effect=0.2 if number == 3 else 0, noise=0.001))
    run("add", made(5, header={"git": {"commit": f"{5:040x}", "dirty": True}}, threads=(1, 2)))
    _, out, _ = run("list", "--last", "4")
    rows = [line.split() for line in out.splitlines() if line.startswith("  20")]
    assert [row[1] for row in rows] == ["000000000"] * 3 + ["000000000+"] or len(rows) == 4
    assert "relative to mimalloc, system" in out and "+ with changes" in out
    speeds = [float(row[-2].rstrip("~")) for row in rows]
    assert speeds[0] == pytest.approx(speeds[1], rel=0.01)  # although the session was slower
    assert speeds[2] == pytest.approx(0.8 * speeds[1], rel=0.02)
    _, out, _ = run("list")
    first = next(line for line in out.splitlines() if line.startswith("  20"))
    assert first.split()[-2].endswith("~") and "other cells" in out
    assert "million operations" in run("list", "--absolute")[1]


def test_machines_are_kept_apart(made: MADE, run, tmp_path: Path) -> None:
    machine = dataclasses.asdict(read_run(made(0)).header.machine)
    for number, change in ((1, {}), (2, {"cpu_model": "Another CPU"}), (3, {})):
        run("add", made(number, machine={**machine, **change}))
    _, out, _ = run("list")
    assert out.count("\n  20") == 2 and "Another CPU" in out and "other machines are left out" in out
    _, out, _ = run("list", "--machine", "another")
    assert out.count("\n  20") == 1
    status, _, err = run("list", "--machine", "nobody's")
    assert status == 2 and "no machine fits" in err and "Another CPU" in err


@pytest.mark.parametrize(("change", "same"), [
    ({"kernel": "Linux 9.9"}, True), ({"load_average": 9.0}, True), ({"governor": "powersave"}, True),
    ({"memory_bytes": 1.01}, True), ({"memory_bytes": 2}, False), ({"cpu_model": "Z80"}, False),
    ({"cores_available": 1}, False), ({"cpu_quota_cores": 0.5}, False), ({"page_bytes": 65536}, False),
    ({"architecture": "aarch64"}, False), ({"virtualization": "Xen"}, False),
    ({"virtualization": "container"}, True), ({"transparent_hugepages": "always"}, False),
])
def test_what_makes_a_machine(made: MADE, change: dict[str, Any], same: bool) -> None:
    first = dataclasses.replace(read_run(made(0)).header.machine, virtualization=None,
                                memory_bytes=25 << 30)
    if "memory_bytes" in change:
        change = {"memory_bytes": int((25 << 30) * change["memory_bytes"])}
    assert (machine_key(dataclasses.replace(first, **change)) == machine_key(first)) == same


def test_export_gives_the_same_in_both_forms(made: MADE, run, database: Path, tmp_path: Path) -> None:
    run("add", made(1), made(2))
    rows = list(csv.DictReader(io.StringIO(run("export")[1])))
    out = tmp_path / "a b.jsonl"
    status, said, _ = run("export", "--output", out)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert status == 0 and f"{len(rows)} numbers" in said and len(records) == len(rows)
    for row, record in zip(rows, records):
        assert row["commit"] == (record["commit"] or "") and float(row["median"]) == record["median"]
        assert json.loads(row["parameters"]) == record["parameters"]
    assert {record["unit"] for record in records if record["baseline"]} == {"ratio"}
    before = database.read_bytes()
    status, _, err = run("export", "--output", database)
    assert status == 2 and "history itself" in err and database.read_bytes() == before
    status, _, err = run("export", "--output", tmp_path / "no" / "x.csv")
    assert status == 2 and "--output FILE" in err or "does not exist" in err


@pytest.mark.parametrize(("arguments", "words"), [
    (["remove"], "remove"), (["list", "--last", "0"], "whole number"), (["add"], "FILE"),
    (["trend", "--metric", "ops"], "there is no such metric"), (["export", "--format", "xml"], "xml"),
    (["trend", "--cell", "larson threads=7"], "nothing of this name"),
    (["trend", "--phase", "hand"], "did you mean 'handover'?"),
    (["trend", "--allocator", "mimaloc"], "did you mean 'mimalloc'?"),
    (["list", "--lost"], "did you mean '--last'?"), (["trend", "--metric", "malloc_p99"], "no run of this machine"),
])
def test_wrong_use_of_history_is_one_sentence(made: MADE, run, arguments: list[str], words: str) -> None:
    if arguments[0] == "trend":
        pytest.importorskip("numpy")
    run("add", made(1))
    status, out, err = run(*arguments)
    assert status == 2 and words in err and len(err.strip().splitlines()) == 1 and not out, err
