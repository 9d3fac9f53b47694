"""What all tests share: where the checkout is, and how to run a program in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def libhakmem() -> Path:
    """The release library, built if it is not up to date."""
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.so"], check=True)
    return ROOT / "out/release/libhakmem.so"


@pytest.fixture
def preloaded(libhakmem: Path):
    """Runs a command with hakmem preloaded; proves that it was hakmem that served."""

    def run(*command: str, timeout: float = 120, **options) -> subprocess.CompletedProcess:
        environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_STATS="1")
        environment.update(options.pop("env", {}))
        done = subprocess.run(
            command, env=environment, timeout=timeout, capture_output=True, **options
        )
        assert b"hakmem: counters at exit" in done.stderr, done.stderr[-2000:]
        return done

    return run
