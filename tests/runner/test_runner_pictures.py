"""Tests of the pictures: which are drawn, that they are readable, and what happens without
matplotlib."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from runner import pictures

pytestmark = pytest.mark.skipif(
    pictures.find_python() is None, reason="no Python with matplotlib is installed"
)
PNG = b"\x89PNG\r\n\x1a\n"


def _draw(root: Path, results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = pictures.find_python()
    assert python is not None
    return subprocess.run(
        [python, str(root / "plots" / "draw.py"), str(results), *arguments],
        capture_output=True, text=True, timeout=120, env=pictures.environment_for(python),
        cwd="/",
    )


def _texts(svg: Path) -> str:
    return " ".join(text for text in tree.parse(svg).getroot().itertext() if text.strip())


def test_a_run_draws_pictures_that_its_summary_links(bench) -> None:
    done = subprocess.run(
        bench.command("--matrix", "threads=1,2,8", "--duration", "0.01", "--repeat", "3",
                      "--output", str(bench.results)),
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    folder = bench.results.with_name("run-plots")
    assert f"Plots:   {folder}" in done.stdout
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(
        f"{kind}-{workload}.{ending}" for kind in ("throughput", "ratio", "memory", "tradeoff")
        for workload in ("larson", "bench_random_mixed", "xmalloc") for ending in ("svg", "png")
    )
    summary = bench.results.with_suffix(".md").read_text("utf-8")
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", summary)
    assert len(linked) == 12
    for link in linked:
        assert (bench.results.parent / link).read_bytes().startswith(PNG)
    shown = _texts(folder / "throughput-larson.svg")
    for word in ("hakmem", "mimalloc", "system", "million operations a second", "threads"):
        assert word in shown
    assert "equal" in _texts(folder / "ratio-larson.svg")
    assert "MiB" in _texts(folder / "memory-larson.svg")


@pytest.mark.parametrize(("matrix", "words"), [
    (["threads=1"], ["threads"]),
    (["threads=1..16", "max=64,1000"], ["max 64", "max 1000", "threads"]),
    (["max=16,64,256,1024"], ["largest block, bytes", "1024"]),
    (["rounds=1..7", "chunks=100,200", "threads=1,2"], ["more panels left out"]),
])
def test_other_matrices(bench, matrix: list[str], words: list[str]) -> None:
    options = [word for text in matrix for word in ("--matrix", text)]
    done = bench.run("--workloads", "larson", *options, "--duration", "0.01", "--repeat", "1",
                     "--allocators", "hakmem,system")
    assert done.returncode == 0, done.stderr
    out = bench.results.parent / "pictures"
    drawn = _draw(bench.root, bench.results, "--out", str(out))
    assert drawn.returncode == 0, drawn.stderr
    shown = _texts(out / "throughput-larson.svg")
    for word in words:
        assert word in shown


def test_a_failed_allocator_and_a_stranger_are_drawn(bench, whole_allocator: Path) -> None:
    bench.behave(larson_hakmem=["crash"])
    done = bench.run("--workloads", "larson", "--duration", "0.01", "--repeat", "1",
                     "--allocators", f"hakmem,system,none,a={whole_allocator},b={whole_allocator}")
    assert done.returncode == 1
    out = bench.results.parent / "pictures"
    drawn = _draw(bench.root, bench.results, "--out", str(out))
    assert drawn.returncode == 0, drawn.stderr
    assert "hakmem (no result)" in _texts(out / "throughput-larson.svg")


def test_the_same_results_give_the_same_pictures(bench, small) -> None:
    bench.run(*small, "--repeat", "2")
    first, second = bench.results.parent / "first", bench.results.parent / "second"
    for folder in (first, second):
        assert _draw(bench.root, bench.results, "--out", str(folder)).returncode == 0
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_wrong_results_are_one_sentence(bench, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("nothing\n")
    for path, words in ((tmp_path / "x.jsonl", "x.jsonl:1"), (tmp_path / "no", "does not exist")):
        done = _draw(bench.root, path)
        assert done.returncode == 2 and words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_without_matplotlib_everything_else_is_there(bench, small, tmp_path: Path) -> None:
    """The package is hidden by one of its name that can't be imported, from every interpreter."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    script = tmp_path / "start.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(bench.root)!r})\n"
        "from runner import pictures\n"
        "pictures.candidates = lambda: []\n"
        "from runner.main import main\nsys.exit(main(sys.argv[1:]))\n", "utf-8",
    )
    command = bench.command(*small, "--repeat", "1", "--output", str(bench.results))
    command[1] = str(script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "python3-matplotlib" in done.stdout and "Summary:" in done.stdout


def test_an_interpreter_without_the_module_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = tmp_path / "python3"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    good = pictures.find_python()
    monkeypatch.setattr(pictures, "candidates", lambda: ["/no/such", str(bare), good])
    assert pictures.find_python() == good
    assert pictures.find_python("no_such_module_at_all") is None


def test_other_interpreters_do_not_get_our_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert pictures.environment_for(sys.executable)["PYTHONPATH"] == "/somewhere"
    assert "PYTHONPATH" not in pictures.environment_for("/another/python3")
    assert os.environ["PYTHONPATH"] == "/somewhere"
