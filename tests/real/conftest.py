"""Fixtures for real programs: the libraries to preload, and who decides whether a failure counts.

The short form is the default; HAKMEM_REAL_LONG=1 runs the long one. HAKMEM_REAL_VARIANT=guard takes
that variant of the library, and options such as HAKMEM_CHECK=1 are passed on to the programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
pytest.register_assert_rewrite("real_run")

import real_run  # noqa: E402

VARIANT = os.environ.get("HAKMEM_REAL_VARIANT", "release")


def public_folder() -> Path:
    """A folder that LD_PRELOAD can name, every user can enter, and a socket's path (107 bytes) can lie in."""
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if not any(c in base for c in " :") and len(base) < 40 and os.access(base, os.W_OK | os.X_OK):
            folder = Path(tempfile.mkdtemp(prefix="hakmem-real-", dir=base))
            folder.chmod(0o755)
            return folder
    pytest.skip("there is no folder for temporary files whose path LD_PRELOAD could name")


@pytest.fixture(scope="session")
def preload(root: Path) -> Iterator[real_run.Preload]:
    """The library under test, a copy that stays as it is, and the witness of who serves."""
    subprocess.run(["make", "-s", "-C", str(root), f"VARIANT={VARIANT}", "libhakmem.so"], check=True)
    folder = public_folder()
    made = real_run.Preload(folder, folder / "libhakmem.so", folder / "witness.so")
    guardian = real_run.start_guardian(made)
    try:
        shutil.copy(root / "out" / VARIANT / "libhakmem.so", made.library)
        source = Path(__file__).with_name("witness.c")
        subprocess.run(
            [os.environ.get("CC", "gcc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared",
             str(source), "-o", str(made.witness), "-ldl"],
            check=True,
        )
        for path in (made.library, made.witness):
            path.chmod(0o755)
        yield made
    finally:
        guardian.communicate()


@pytest.fixture
def real(preload: real_run.Preload) -> Callable[[Callable[[real_run.Run], None]], None]:
    """real(scenario): the scenario's own checks decide, with hakmem preloaded."""
    return lambda scenario: real_run.decide(preload, scenario)
