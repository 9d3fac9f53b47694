"""hak_walk as a program uses it: from C++, linked and preloaded, with checks on and off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Dict

import pytest

SOURCE = Path(__file__).with_name("walk.cpp")


@pytest.fixture(scope="module")
def program(root: Path, libhakmem: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("walk") / "walk"
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", str(root / "allocator/include"),
         str(SOURCE), str(libhakmem), "-o", str(path)],
        check=True,
    )
    return path


@pytest.mark.parametrize("options", [{}, {"HAKMEM_CHECK": "1"}, {"HAKMEM_PAGE_MAP": "2"}, {"HAKMEM_CRASH_LOG": "1"}],
                         ids=lambda options: ",".join(options) or "default")
def test_every_block_of_a_cpp_program_is_visited(options: Dict[str, str], program: Path, libhakmem: Path) -> None:
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem), **options)
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
