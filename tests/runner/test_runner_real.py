"""Tests with the real drivers, other interpreters, and copies of the tree elsewhere."""
from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.results_file import read_run

SHORT = ("--duration", "0.03", "--repeat", "2", "--matrix", "threads=1,2", "--no-plots")


@pytest.fixture(scope="module")
def built(root: Path) -> Path:
    """The release folder, with everything in it that can be built here."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    subprocess.run(["make", "-s", "-C", str(root), "all"], check=True, capture_output=True)
    return root / "out" / "release"


def start(
    root: Path, *arguments: str, python: str = sys.executable, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(root / "runner" / "run.py"), *arguments], capture_output=True, text=True,
        timeout=300, stdin=subprocess.DEVNULL, **options,
    )


def test_every_workload_and_allocator(root: Path, built: Path, tmp_path: Path) -> None:
    results = tmp_path / "real.jsonl"
    done = start(root, *SHORT, "--check", "--latency", "--output", str(results), "--no-build")
    assert done.returncode == 0, done.stderr + done.stdout
    run = read_run(results)
    assert {"hakmem", "system"} <= {entry.name for entry in run.header.allocators}
    assert run.header.build.compiler != "unknown"
    for sample in run.samples:
        assert sample.ok and sample.provider is not None and sample.provider.complete
        assert sample.provider.name == sample.allocator
        assert sample.measured is not None
        assert sample.measured.check is not None and sample.measured.check.errors == 0
        assert sample.measured.latency is not None
        assert sum(p.operations for p in sample.measured.phases) == sample.measured.operations
        for times in (sample.measured.latency.malloc, sample.measured.latency.free):
            assert sum(calls for _, calls in times.histogram) == times.samples
    for shown in (done.stdout, results.with_suffix(".md").read_text("utf-8")):
        assert "time of one malloc" in shown and "time of one free" in shown
    schema_file = root / "runner" / "results.schema.json"
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(schema_file.read_text("utf-8")))
    for line in results.read_text("ascii").splitlines():
        validator.validate(json.loads(line))


def test_the_same_work_for_all_in_random_mixed(root: Path, built: Path, tmp_path: Path) -> None:
    """The checksums prove the same sequence of sizes and choices in every sample of a cell."""
    results = tmp_path / "mixed.jsonl"
    done = start(root, *SHORT, "--workloads", "random_mixed", "--output", str(results), "--no-build")
    assert done.returncode == 0, done.stderr
    by_cell: dict[str, set[object]] = {}
    for sample in read_run(results).samples:
        assert sample.measured is not None
        by_cell.setdefault(sample.cell, set()).add(
            (sample.measured.checksum, sample.measured.operations)
        )
    assert len(by_cell) == 2 and all(len(sums) == 1 for sums in by_cell.values())


def test_none_and_a_library_by_path(
    root: Path, built: Path, tmp_path: Path, whole_allocator: Path
) -> None:
    library = tmp_path / "with space" / "whole.so"
    library.parent.mkdir()
    shutil.copy(whole_allocator, library)
    results = tmp_path / "own.jsonl"
    done = start(root, *SHORT, "--allocators", f"system,none,mine={library},"
                 f"hak={built / 'libhakmem.so'}", "--output", str(results), "--no-build")
    assert done.returncode == 0, done.stderr
    for sample in read_run(results).samples:
        assert sample.provider is not None
        if sample.allocator == "mine":
            assert sample.provider.path == str(library.resolve())
        if sample.allocator == "hak":
            assert sample.provider.name == "hakmem"


def test_a_library_that_gives_up_at_run_time_is_refused(
    root: Path, built: Path, tmp_path: Path, compile_library
) -> None:
    """It needs a function that nobody has: the loader leaves it out and only says so, and the
    C library would serve in its name."""
    text = """
    #include <stddef.h>
    extern void *a_function_that_nobody_has(size_t);
    void *malloc(size_t n) { return a_function_that_nobody_has(n); }
    void free(void *p) { (void)p; }
    void *calloc(size_t n, size_t m) { return a_function_that_nobody_has(n * m); }
    void *realloc(void *p, size_t n) { (void)p; return a_function_that_nobody_has(n); }
    """
    lazy = compile_library("lazy.so", text, "-fno-builtin", "-Wl,-z,now")
    missing = compile_library("needed.so", "int x(void) { return 1; }")
    wanting = compile_library(
        "wanting.so", text.replace("a_function_that_nobody_has(n)", "(void *)(long)(x() * 0 * n)")
        .replace("extern void", "extern int x(void); extern void")
        .replace("a_function_that_nobody_has(n * m)", "0"),
        "-fno-builtin", f"-L{missing.parent}", "-l:needed.so",
    )
    for library in (lazy, wanting):
        results = tmp_path / f"{library.stem}.jsonl"
        done = start(root, *SHORT, "--allocators", f"mine={library}", "--output", str(results),
                     "--no-build")
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "does not serve malloc" in done.stderr and not results.exists()


def test_memory_exhausted_is_a_failed_sample(root: Path, built: Path, tmp_path: Path) -> None:
    results = tmp_path / "full.jsonl"
    done = start(
        root, "--workloads", "larson", "--matrix", "chunks=3000000", "--matrix", "max=1000",
        "--allocators", "system", "--duration", "0.05", "--repeat", "1", "--no-plots",
        "--output", str(results), "--no-build",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20)),
    )
    assert done.returncode == 1, done.stderr
    assert all(not sample.ok for sample in read_run(results).samples)
    assert "Traceback" not in done.stderr


def _interpreters() -> list[str]:
    found = []
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in sorted(folder.glob("3.*")) if folder.is_dir() else []:
        if tuple(map(int, version.name.split(".")[:2])) >= (3, 9):
            found.append(str(version / "bin" / "python3"))
    found += [path for path in ("/usr/bin/python3",) if os.path.exists(path)]
    return found


@pytest.mark.parametrize("python", _interpreters())
def test_any_python_measures(bench, small, python: str) -> None:
    done = bench.run(*small, "--repeat", "1", python=python)
    assert done.returncode == 0, done.stderr
    assert "larson: throughput" in done.stdout


@pytest.mark.parametrize("flags", [["-P"], ["-I"], ["-S"], ["-E"], ["-OO"], ["-W", "error"]])
def test_interpreter_flags(bench, small, flags: list[str]) -> None:
    if flags == ["-P"] and sys.version_info < (3, 11):
        pytest.skip("this Python has no -P")
    command = bench.command(*small, "--repeat", "1", "--output", str(bench.results), "--no-plots")
    done = subprocess.run([command[0], *flags, *command[1:]], capture_output=True, text=True,
                          timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr


def test_modules_of_the_same_names_elsewhere_do_no_harm(bench, small, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("runner", "table", "records", "progress", "matrix", "plots", "main"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    done = bench.run(*small, "--repeat", "1", cwd=elsewhere,
                     env={**os.environ, "PYTHONPATH": str(elsewhere)})
    assert done.returncode == 0, done.stderr


def test_an_old_python_is_told_so(root: Path, tmp_path: Path) -> None:
    """run.py and tree_path.py must be readable for old versions; ours stands for one of them here."""
    script = tmp_path / "run.py"
    for path in (script, tmp_path / "tree_path.py"):
        text = (root / "runner" / path.name).read_text("utf-8")
        path.write_text(text.replace("sys.version_info < (3, 9)", "sys.version_info < (99,)"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 2 and "needs Python 3.9" in done.stderr
    for old in ("python2", "python2.7", "python3.6"):
        path = shutil.which(old)
        if path is not None and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            done = subprocess.run([path, str(root / "runner" / "run.py")], capture_output=True, text=True)
            assert done.returncode == 2 and "needs Python 3.9" in done.stderr


def _copy_tree(root: Path, target: Path) -> None:
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(
        ".git", "out", "results", "__pycache__", ".hypothesis"
    ))


def test_a_copy_in_a_path_with_a_space_builds_and_measures(
    root: Path, built: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "a copy"
    _copy_tree(root, copy)
    done = start(copy, "--workloads", "larson", "--allocators", "hakmem,system", "--duration",
                 "0.03", "--repeat", "2", "--matrix", "threads=1,2", cwd="/")
    assert done.returncode == 0, done.stderr
    (results,) = (copy / "results").glob("*.jsonl")
    run = read_run(results)
    assert run.header.git is None and run.header.id == results.stem
    library = next(e for e in run.header.allocators if e.name == "hakmem").library
    assert library is not None and library.path == "out/release/libhakmem.so"
    assert results.with_suffix(".md").exists()

    # What can't be built is an error where it was named, and is left out aloud where it was not.
    (copy / "Makefile").write_text(
        "all: ;\nlarson_hakmem larson_system: ;\n"
        "larson_%:\n\t@echo \"make: lib$*.so was not found; install the package lib$*\" >&2; exit 1\n"
    )
    named = start(copy, "--workloads", "larson", "--allocators", "hakmem,jemalloc")
    assert named.returncode == 2 and "install the package libjemalloc" in named.stderr
    free = start(copy, "--workloads", "larson", "--duration", "0.02", "--repeat", "1", "--no-plots")
    assert free.returncode == 0, free.stderr
    assert "Left out: jemalloc: libjemalloc.so was not found" in free.stderr
    (copy / "Makefile").write_text("larson_hakmem:\n\t@echo broken.c:1: error >&2; exit 1\nlarson_%: ;\n")
    broken = start(copy, "--workloads", "larson")
    assert broken.returncode == 2 and "hakmem can't be measured: broken.c:1: error" in broken.stderr
