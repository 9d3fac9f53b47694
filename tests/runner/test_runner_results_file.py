"""Tests of results files: cut off at every byte, damaged, without space, in use."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import main, results_file
from runner.errors import UsageError
from runner.interrupts import Interrupts
from runner.options import parse_options
from runner.records import RECORD_TYPES, to_json
from runner.results_file import ResultsWriter, read_run


@pytest.fixture
def finished(bench, small) -> Path:
    done = bench.run(*small, "--repeat", "1", "--allocators", "hakmem,system", "--latency", "--check")
    assert done.returncode == 0, done.stderr
    return bench.results


def test_every_record_keeps_the_schema(bench, finished: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((bench.root / "runner" / "results.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    bench.behave(larson_system=["crash"])
    bench.results = bench.results.with_name("failed.jsonl")
    assert bench.run("--workloads", "larson", "--repeat", "1", "--duration", "0.01").returncode == 1
    kinds = set()
    for path in (finished, bench.results):
        for line in path.read_text("ascii").splitlines():
            record = json.loads(line)
            kinds.add((record["record"], record.get("status")))
            validator.validate(record)
    assert {("run", None), ("sample", "ok"), ("sample", "failed"), ("end", "complete")} <= kinds
    broken = json.loads(finished.read_text("ascii").splitlines()[1])
    broken["measured"]["ops_per_second"] = 0
    assert not validator.is_valid(broken)


def test_schema_and_records_have_the_same_fields_and_the_document_names_them_all(bench) -> None:
    schema = json.loads((bench.root / "runner" / "results.schema.json").read_text("utf-8"))["$defs"]
    document = (bench.root / "docs" / "results-schema.md").read_text("utf-8")
    later = {"programs", "builds", "outside_percent", "failure"}  # than version 1
    for name, cls in RECORD_TYPES.items():
        fields = {"record", *cls.__dataclass_fields__}
        assert set(schema[name]["properties"]) == fields
        assert fields - set(schema[name]["required"]) <= later
    for definition in schema.values():
        for field in definition["properties"]:
            assert f"| `{field}` |" in document, field
            assert definition["properties"][field]["description"] in document


def test_no_host_name_is_stored(finished: Path) -> None:
    def texts(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from texts(item)
        elif isinstance(value, str):
            yield value

    words = {
        word for line in finished.read_text("ascii").splitlines()
        for text in texts(json.loads(line)) for word in text.split()
    }
    assert "Linux" in words
    assert os.uname().nodename not in words


def test_a_file_cut_at_every_byte_keeps_its_complete_records(finished: Path, tmp_path: Path) -> None:
    lines = finished.read_bytes().splitlines(keepends=True)
    data = b"".join([*lines[:3], lines[-1]])  # one of each kind, to keep this quick
    path = tmp_path / "cut.jsonl"
    first = data.index(b"\n")
    ends = [n for n, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        if length < first:
            with pytest.raises(UsageError, match="does not begin with a complete record"):
                read_run(path)
            continue
        run = read_run(path)
        complete = sum(length >= end for end in ends)
        assert 1 + len(run.samples) + len(run.ends) == complete
        at_boundary = length in ends or (length - 1) in ends
        assert (run.cut_sentence() is None) == at_boundary
        assert run.kept_bytes + run.cut_bytes == length
        assert run.needs_newline == (length in ends)


def test_a_cut_file_goes_on_and_ends_like_a_whole_one(bench, finished: Path) -> None:
    data = finished.read_bytes()
    before = bench.records()
    lines = data.splitlines(keepends=True)
    for kept, extra in ((3, 40), (3, 0), (1, 1), (4, len(lines[4]) - 1)):
        finished.write_bytes(b"".join(lines[:kept]) + lines[kept][:extra])
        done = bench.run("--resume", str(finished), "--no-plots", new=False)
        assert done.returncode == 0, done.stderr
        cut = bool(extra) and extra != len(lines[kept]) - 1
        assert ("was cut off in the middle" in done.stderr) == cut
        after = bench.records()
        pairs = [(r["round"], r["cell"], r["allocator"]) for r in after if r["record"] == "sample"]
        assert len(pairs) == len(set(pairs))
        assert sorted(pairs) == sorted(
            (r["round"], r["cell"], r["allocator"]) for r in before if r["record"] == "sample"
        ) or kept < 3  # warm-ups are not repeated once something was measured
        assert [r["record"] for r in after].count("resume") == 1
        assert after[-1]["record"] == "end" and after[-1]["status"] == "complete"


@pytest.mark.parametrize("damage", [
    b"{}", b"not json", b'{"record":"sample"}', b"[]", b"", b'{"record":"other"}', b"\xff\xfe",
    b'{"record":["x"]}', b'{"record":"end","status":NaN}', b"[" * 100,
])
def test_damage_in_the_middle_is_refused_with_its_line(
    finished: Path, tmp_path: Path, damage: bytes
) -> None:
    lines = finished.read_bytes().splitlines()
    lines[2] = damage
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(UsageError) as caught:
        read_run(path)
    assert f"{path}:3:" in str(caught.value) and str(caught.value).count("\n") == 0


def test_another_version_is_refused(finished: Path, tmp_path: Path) -> None:
    lines = finished.read_text("ascii").splitlines()
    header = json.loads(lines[0])
    header["schema_version"] = 4
    path = tmp_path / "newer.jsonl"
    path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    with pytest.raises(UsageError, match="version"):
        read_run(path)


def test_unknown_fields_are_ignored(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.jsonl"
    with open(path, "w", encoding="ascii") as stream:
        for line in finished.read_text("ascii").splitlines():
            stream.write(json.dumps({**json.loads(line), "from_the_future": 1}) + "\n")
    assert len(read_run(path).samples) == len(read_run(finished).samples)


def test_reading_gives_back_what_was_written(finished: Path) -> None:
    run = read_run(finished)
    lines = [json.loads(line) for line in finished.read_text("ascii").splitlines()]
    assert [to_json(r) for r in (run.header, *run.samples, *run.ends)] == lines


def test_an_existing_file_is_never_overwritten(bench, finished: Path, small) -> None:
    before = finished.read_bytes()
    done = bench.run(*small)
    assert done.returncode == 2 and "exists" in done.stderr
    assert finished.read_bytes() == before


def test_two_runs_do_not_write_one_file(finished: Path) -> None:
    writer = ResultsWriter.reopen(finished)
    try:
        with pytest.raises(UsageError, match="being written by another run"):
            ResultsWriter.reopen(finished)
    finally:
        writer.close()


def test_what_another_run_wrote_before_the_lock_is_not_lost(
    bench, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs are told to go on with one file; the first has ended when the second gets the lock."""
    whole = finished.read_bytes()
    lines = whole.splitlines(keepends=True)
    finished.write_bytes(b"".join(lines[:-3]))  # without the last two samples and the end
    reopen = ResultsWriter.reopen

    def after_the_other(path: Path) -> ResultsWriter:
        finished.write_bytes(whole)
        return reopen(path)

    monkeypatch.setattr(main.ResultsWriter, "reopen", after_the_other)
    options = parse_options(["--resume", str(finished), "--drivers", str(bench.folder), "--no-plots"])
    assert main._go_on(options, Interrupts()) == 0
    assert finished.read_bytes() == whole


def test_a_write_that_fails_halfway_leaves_whole_lines(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read_run(finished)
    before = finished.read_bytes()
    writer = ResultsWriter.reopen(finished)
    writer.go_on(run)

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results_file.os, "fdatasync", no_space)
    with pytest.raises(UsageError, match="no space is left"):
        writer.write(run.samples[0])
    writer.close()
    assert finished.read_bytes() == before


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of 256 KiB, where the machine lets us make one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_found_before_measuring(bench, tiny_disk: Path, small) -> None:
    (tiny_disk / "filler").write_bytes(b"x" * 240 * 1024)
    bench.results = tiny_disk / "run.jsonl"
    done = bench.run(*small)
    assert done.returncode == 2 and "no space is left" in done.stderr
    assert not bench.results.exists() and done.stdout == ""
    assert not list(bench.folder.glob("*.runs"))


def test_a_disk_that_fills_up_keeps_what_is_finished(bench, tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(b"x" * 150 * 1024)
    bench.results = tiny_disk / "run.jsonl"
    done = bench.run("--duration", "0.01", "--repeat", "30")
    assert done.returncode == 2, done.stderr
    assert "no space is left" in done.stderr and "--resume" in done.stderr
    run = read_run(bench.results)
    assert len(run.samples) > 10 and run.cut_bytes == 0
    assert f"{len(run.samples)} finished samples are kept" in done.stderr
    (tiny_disk / "filler").unlink()
    resumed = bench.run("--resume", str(bench.results), "--no-plots", new=False)
    assert resumed.returncode in (0, 2)  # the rest may not fit either
    assert len(read_run(bench.results).samples) > len(run.samples)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv to become someone else",
)
def test_no_right_to_write_is_one_sentence(bench, tmp_path: Path, small) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    copy = tmp_path / "copy"
    shutil.copytree(bench.root / "runner", copy / "runner")
    shutil.copytree(bench.root / "workloads", copy / "workloads")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    bench.root, bench.results = copy, closed / "run.jsonl"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         *bench.command(*small, "--output", str(bench.results))],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 2 and "permission denied" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_place_that_is_no_directory(bench, tmp_path: Path, small) -> None:
    (tmp_path / "file").write_text("")
    bench.results = tmp_path / "file" / "run.jsonl"
    done = bench.run(*small)
    assert done.returncode == 2 and "it is not a directory" in done.stderr
