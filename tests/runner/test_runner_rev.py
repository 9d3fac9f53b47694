"""Comparisons of builds with fake drivers: order, adaptive sampling, exact counts, resuming, bad input."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from made_results import make_run

from runner import comparing
from runner.adaptive import first_rounds
from runner.allocators import Allocator
from runner.errors import UsageError
from runner.exact import MISSING
from runner.options import parse_options
from runner.plan import make_request
from runner.results_file import read_run

ONE = ("--workloads", "larson", "--matrix", "threads=1", "--duration", "0.01")
QUICKLY = (*ONE, "--repeat", "2", "--no-exact")
# Does what callgrind does for the runner: counts something that depends on the operations alone.
VALGRIND = """#!{python} -ES
import os, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("valgrind-9.8.7"); sys.exit()
assert "--tool=callgrind" in words and "--toggle-collect=malloc" in words, words
assert os.environ["HAKMEM_PURGE_DELAY"] == "-1" and os.environ["LD_PRELOAD"]
out = [word.partition("=")[2] for word in words if word.startswith("--callgrind-out-file=")][0]
place = next(n for n, word in enumerate(words) if not word.startswith("--"))
operations = int(words[words.index("--operations") + 1])
each = 30 if "new" in os.path.basename(os.environ["LD_PRELOAD"]) else 20
open(out, "w").write("events: Ir\\ntotals: %d\\n" % (12345 + each * operations))
with open(sys.argv[0] + ".runs", "a") as log:
    log.write("x")
os.execv(words[place], words[place:])
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a valgrind of ours that comes first on the PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    program = folder / "valgrind"
    program.write_text(VALGRIND.format(python=sys.executable), "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def both(library: Path) -> tuple[str, ...]:
    return ("--rev", str(library), "--rev", str(library))


def rounds_of(records: list[dict[str, Any]]) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for record in records:
        if not record["warmup"]:
            found.setdefault(record["round"], []).append((record["cell"], record["allocator"]))
    return found


def test_a_slower_build_is_told_by_words_and_status(bench, tools: Path, whole_allocator: Path) -> None:
    """All that a comparison writes, and that it keeps the schema."""
    bench.behave(larson_system=["speed=50e6", "speed-of=new-.so:25e6"])
    done = bench.run(*both(whole_allocator), "--allocators", "mimalloc", "--workloads", "larson", "--matrix",
                     "threads=1,2", "--duration", "0.01", "--repeat", "6")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "slower" in done.stdout and f"Results: {bench.results}" in done.stdout
    assert "million operations a second" in done.stdout  # the other allocator is in a table
    assert "% passed outside of the drivers" in done.stdout
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((bench.root / "runner" / "results.schema.json").read_text("utf-8"))
    for record in bench.records():
        jsonschema.Draft202012Validator(schema).validate(record)
    header = bench.records("run")[0]
    assert [build["allocator"] for build in header["builds"]] == ["base", "new"]
    assert {build["kind"] for build in header["builds"]} == {"library"}
    assert [entry["name"] for entry in header["allocators"]] == ["base", "new", "mimalloc"]
    paths = [entry["library"]["path"] for entry in header["allocators"][:2]]
    assert len({len(path) for path in paths}) == 1 and len(set(paths)) == 2
    assert len({entry["library"]["sha256"] for entry in header["allocators"][:2]}) == 1
    assert {sample["provider"]["path"] for sample in bench.records("sample")} >= set(paths)
    counts = {count["allocator"]: count["instructions_per_operation"] for count in bench.records("exact")}
    assert counts == {"base": 20, "new": 30}
    assert "1 that would not repeat" in done.stderr  # that with two threads
    for pairs in rounds_of(bench.records("sample")).values():
        cells = [cell for cell, _ in pairs]
        assert cells == [cells[0]] * 3 + [cells[-1]] * 3 and cells[0] != cells[-1]
        assert "mimalloc" not in (pairs[1][1], pairs[4][1])  # never between the builds
    end = bench.records("end")[0]
    assert 0 < end["outside_percent"] < 100


def test_a_build_against_itself_ends_when_it_is_known_well_enough(bench, whole_allocator: Path) -> None:
    bench.behave(larson_system=["speed=50e6"])
    done = bench.run(*both(whole_allocator), *ONE, "--no-exact", "--effect", "3%")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(rounds_of(bench.records("sample"))) == list(range(1, first_rounds(1, 2) + 1))
    settings = bench.records("run")[0]["settings"]
    assert (settings["effect"], settings["budget_seconds"], settings["rounds"]) == (0.03, 300, None)
    assert not bench.records("exact")


def test_an_interrupted_comparison_goes_on_with_its_builds(bench, tools: Path, whole_allocator: Path) -> None:
    mark = bench.folder / "hanging"
    bench.behave(larson_system=[f"@11 hang={mark}"])
    command = bench.command(*both(whole_allocator), *ONE, "--repeat", "4", "--output", str(bench.results))
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=30)
    assert started.returncode == 130 and "--resume" in output
    before = bench.records()
    samples = [record for record in before if record["record"] == "sample"]
    assert samples and before[-1]["status"] == "interrupted"
    bench.behave(larson_system=["@13 crash"])
    done = bench.run("--resume", str(bench.results), new=False)
    assert done.returncode == 1, done.stderr
    assert "Failed: larson threads=1 " in done.stdout and "SIGSEGV" in done.stdout
    assert bench.records()[: len(before)] == before
    assert len(bench.records("exact")) == 2  # not counted again
    rounds = rounds_of(bench.records("sample"))
    assert list(rounds) == [1, 2, 3, 4]
    torn = [pairs for pairs in rounds.values() if len(pairs) != 2]
    assert len(torn) == len(samples) % 2  # one of a pair that was interrupted stays alone
    builds = bench.results.with_name("run-builds")
    (builds / "base.so").unlink()
    bench.results.write_text("".join(json.dumps(record) + "\n" for record in before), "ascii")
    done = bench.run("--resume", str(bench.results), new=False)
    assert done.returncode == 2 and "base.so" in done.stderr and "start a new run" in done.stderr


def test_an_interrupt_while_building_leaves_nothing(bench, tmp_path: Path) -> None:
    tree, mark = tmp_path / "tree", tmp_path / "mark"
    tree.mkdir()
    (tree / "Makefile").write_text(f"libhakmem.so:\n\t@touch '{mark}'; sleep 60\n", "utf-8")
    command = bench.command("--rev", str(tree), "--rev", str(tree), *QUICKLY, "--output", str(bench.results))
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=30)
    assert started.returncode == 130 and "Interrupted before anything was measured" in errors
    assert not list(tmp_path.glob("hakmem-*")) and not list(bench.results.parent.iterdir())


def test_what_does_not_build_ends_with_its_name(bench, tmp_path: Path, whole_allocator: Path) -> None:
    tree = tmp_path / "broken tree"
    tree.mkdir()
    (tree / "Makefile").write_text("libhakmem.so:\n\t@echo 'x.c:3: error: this is it' >&2; false\n", "utf-8")
    done = bench.run("--rev", str(whole_allocator), "--rev", str(tree), *QUICKLY)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "x.c:3: error: this is it" in done.stderr and f"--rev {tree}: libhakmem.so could not" in done.stderr
    assert not list(bench.results.parent.iterdir())


HEADS = ["--rev", "HEAD", "--rev", "HEAD"]


@pytest.mark.parametrize("arguments, words", [
    (["--rev", "HEAD"], "--rev HEAD: there is nothing to compare it with"),
    ([*HEADS, "--resume", "x.jsonl"], "--resume and --rev exclude each other"),
    ([*HEADS, "--effect", "0"], "--effect: '0' is no share"),
    ([*HEADS, "--effect", "200%"], "--effect: '200%' is no share"),
    ([*HEADS, "--effect", "abc"], "--effect: 'abc' is no share"),
    (["--effect", "2%"], "--effect belongs to a comparison"),
    (["--no-exact"], "--no-exact belongs to a comparison"),
])
def test_wrong_options_are_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(arguments)
    assert words in str(caught.value) and str(caught.value).endswith(".")


def test_a_name_of_a_build_can_not_be_another_allocators(whole_allocator: Path) -> None:
    options = parse_options([*HEADS, "--allocators", f"new={whole_allocator}"])
    request = make_request(options)
    assert [allocator.name for allocator in request.allocators] == ["new"] and request.named
    with pytest.raises(UsageError, match="--allocators new: a build of the comparison has that name"):
        request.with_builds([Allocator("base", "preloaded", whole_allocator, "--rev x"),
                             Allocator("new", "preloaded", whole_allocator, "--rev x")])
    assert make_request(parse_options(HEADS)).allocators == []


def test_builds_of_another_run_are_never_written_over(bench, whole_allocator: Path) -> None:
    folder = bench.results.with_name("run-builds")
    folder.mkdir(parents=True)
    (folder / "base.so").write_text("precious", "utf-8")
    done = bench.run(*both(whole_allocator), *QUICKLY)
    assert done.returncode == 2 and "run-builds' exists" in done.stderr
    assert (folder / "base.so").read_text("utf-8") == "precious"


def test_a_library_that_does_not_serve_is_named_as_it_was_given(bench, whole_allocator: Path) -> None:
    bench.behave(larson_system=["ignore-preload"])
    done = bench.run(*both(whole_allocator), *QUICKLY)
    assert done.returncode == 2 and f"--rev {whole_allocator}: the library does not serve" in done.stderr
    assert not list(bench.results.parent.iterdir())


def test_without_numpy_or_valgrind_a_sentence_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("runner.pictures.candidates", list)
    run = read_run(make_run(tmp_path / "a run.jsonl", rounds=6, fail=[(2, "new"), (3, "new")]))
    assert comparing.show_comparison(run, tmp_path) == 2
    shown = capsys.readouterr().out
    assert "python3-numpy" in shown and "runner/compare.py" in shown and "a run.jsonl" in shown
    said: list[str] = []
    allocators = [Allocator("base", "preloaded"), Allocator("new", "preloaded")]
    comparing.count_exactly(run.header, [], allocators, None, None, said.append)  # type: ignore[arg-type]
    assert said == [MISSING] and "valgrind" in MISSING
    (line,) = comparing.failures_in_words(run)
    assert line.startswith("Failed: larson threads=1 new, 2 samples: killed")
