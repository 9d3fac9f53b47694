"""Fixtures of the tests of installing: hakmem below a path with a space, and programs compiled once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from installing import TELLS, Installed, make


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that other users may look into, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="hakmem-install-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "links").mkdir()
    (folder / "links").chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def installed(scratch: Path) -> Installed:
    prefix = scratch / "a prefix"
    make("install", f"PREFIX={prefix}")
    return Installed(prefix, scratch)


@pytest.fixture(scope="session")
def compiled(scratch: Path) -> Callable[..., Path]:
    """compiled("name", source, flags...): a program, compiled once; skips where the compiler is missing."""

    def get(name: str, source: str, *flags: str, compiler: str = "gcc") -> Path:
        if not shutil.which(compiler):
            pytest.skip(f"{compiler} is not installed")
        program = scratch / name
        if not program.exists():
            code = scratch / f"{name}.c"
            code.write_text(source)
            subprocess.run([compiler, "-fno-builtin", str(code), "-o", str(program), *flags], check=True)
        return program

    return get


@pytest.fixture(scope="session")
def tells(compiled: Callable[..., Path]) -> Path:
    return compiled("tells", TELLS, "-ldl")
