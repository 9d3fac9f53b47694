"""A C and a C++ program with hakmem preloaded, and its counters asked for; tests/real has many more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def needs(program: str) -> str:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not installed")
    return path


def test_ls(preloaded, root: Path) -> None:
    expected = subprocess.run(["ls", "-lR", str(root / "allocator")], capture_output=True, check=True)
    done = preloaded("ls", "-lR", str(root / "allocator"))
    assert done.returncode == 0
    assert done.stdout == expected.stdout


def test_cxx_operators(preloaded, tmp_path: Path, root: Path) -> None:
    """Every form of new and delete comes to hakmem; failures throw, or not, as the standard says."""
    source = root / "tests/allocator/operators.cpp"
    program = tmp_path / "operators"
    subprocess.run(
        [needs("g++"), "-std=c++17", "-O1", "-fno-builtin", str(source), "-o", str(program), "-ldl"], check=True
    )
    done = preloaded(str(program))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == b"ok"
