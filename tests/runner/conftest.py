"""What the runner's tests share: folders of fake drivers, and a way to start the runner."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from runner.matrix import DRIVERS as WORKLOADS


@dataclass
class Bench:
    """A folder with fake drivers and a results file, and the runner to measure them with."""

    root: Path
    folder: Path
    results: Path

    def behave(self, **by_driver: list[str]) -> None:
        """Say how drivers behave from now on, see fake_driver.py; `other` means all the rest."""
        table = {("" if name == "other" else name): words for name, words in by_driver.items()}
        (self.folder / "behaviour.json").write_text(json.dumps(table), "utf-8")

    def command(self, *arguments: str, python: Optional[str] = None) -> list[str]:
        """Return the command line that measures the fake drivers."""
        return [
            python or sys.executable, str(self.root / "runner" / "run.py"),
            "--drivers", str(self.folder), *arguments,
        ]

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the runner to its end. With `new=True` (default) into the results file."""
        new = options.pop("new", True)
        python = options.pop("python", None)
        extra = ["--output", str(self.results), "--no-plots"] if new else []
        return subprocess.run(
            self.command(*arguments, *extra, python=python), capture_output=True, text=True,
            timeout=120, stdin=subprocess.DEVNULL, **options,
        )

    def records(self, kind: Optional[str] = None) -> list[dict[str, Any]]:
        """Return the records of the results file, those of one kind if it is given."""
        found = [json.loads(line) for line in self.results.read_text("ascii").splitlines()]
        return [record for record in found if kind in (None, record["record"])]


SMALL = ("--workloads", "larson", "--matrix", "threads=1,2", "--duration", "0.01")


@pytest.fixture
def small() -> tuple[str, ...]:
    """Options of a run of two short cells."""
    return SMALL


def make_drivers(folder: Path, root: Path, allocators: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = (root / "tests" / "runner" / "fake_driver.py").read_text("utf-8")
    for workload in WORKLOADS:
        for allocator in allocators:
            path = folder / f"{workload}_{allocator}"
            path.write_text(f"#!{sys.executable} -ES\n{source}", "utf-8")
            path.chmod(0o755)


@pytest.fixture
def bench(tmp_path: Path, root: Path) -> Bench:
    """Fake drivers of three allocators in a folder with a space in its name."""
    folder = tmp_path / "fake drivers"
    make_drivers(folder, root, ("hakmem", "mimalloc", "system"))
    return Bench(root, folder, tmp_path / "out put" / "run.jsonl")


@pytest.fixture(scope="session")
def compile_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles C text into a shared library."""

    def compile_text(name: str, text: str, *flags: str) -> Path:
        folder = tmp_path_factory.mktemp("library")
        source, library = folder / "source.c", folder / name
        source.write_text(text, "utf-8")
        subprocess.run(
            [os.environ.get("CC", "gcc"), "-shared", "-fPIC", *flags, str(source), "-o",
             str(library)],
            check=True, capture_output=True,
        )
        return library

    return compile_text


WHOLE_ALLOCATOR = """
#include <stddef.h>
extern void *__libc_malloc(size_t); extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t); extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n) { return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""


@pytest.fixture(scope="session")
def whole_allocator(compile_library: Callable[..., Path]) -> Path:
    """A library that takes malloc's place, by passing calls on to the C library."""
    return compile_library("libwhole.so", WHOLE_ALLOCATOR)
