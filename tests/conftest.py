"""What all tests share: where the checkout is, and how to run a program in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The same examples each time: what fails here fails again.
try:
    import hypothesis
except ImportError:
    pass
else:
    hypothesis.settings.register_profile("repeatable", derandomize=True)
    hypothesis.settings.load_profile("repeatable")

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children too,
# some of which are to be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def libhakmem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release library, built if it is not up to date, under a path that LD_PRELOAD can name:
    a space in the checkout's would end it."""
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.so"], check=True)
    link = tmp_path_factory.mktemp("preload") / "libhakmem.so"
    link.symlink_to(ROOT / "out/release/libhakmem.so")
    return link


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
