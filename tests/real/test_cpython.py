"""CPython's own tests, with its small objects served by malloc (PYTHONMALLOC=malloc) and as usual."""

from __future__ import annotations

import shutil
import subprocess
from typing import List, Optional, Tuple

import pytest

from real_run import LONG, Run

# The slow modules run a part of themselves in the short form.
SHORT = {
    "test_json": ["CDecode", "CEncode", "TestC"],
    "test_gc": ["GCTests"],
    "test_ctypes": [],
    "test_re": [],
    "test_threading": [
        "test_various_ops", "test_daemon", "test_foreign", "LockTests", "test_reinit", "test_join",
    ],
    "test_multiprocessing_fork": [
        "WithProcessesTestPool.test_map", "WithProcessesTestConnection", "WithProcessesTestHeap",
    ],
    "test_unicode": [],
    "test_decimal": ["CWhatever", "CUsabilityTest", "CPythonAPItests", "CFunctionality"],
}
MORE = (
    "test_list test_dict test_bytes test_pickle test_queue test_thread test_xml_etree test_io test_array "
    "test_set test_asyncio test_subprocess test_zlib test_lzma test_hashlib"
).split()


def interpreter() -> str:
    """Debian's, else the one on the PATH: the first whose tests are installed."""
    for python in ("/usr/bin/python3", shutil.which("python3")):
        if python:
            asked = subprocess.run(
                [python, "-c", "import sys, test.test_json; print(sys.executable)"], capture_output=True,
                text=True, timeout=60, check=False,
            )
            if asked.returncode == 0:
                return asked.stdout.strip()
    pytest.skip("no Python has its own tests (package libpython3.11-testsuite; tests/real/setup.sh installs it)")


def cases() -> List[Tuple[str, Optional[str]]]:
    """Each module under malloc; some, in the long form most, also with Python's own pools between."""
    modules = [*SHORT, *MORE] if LONG else list(SHORT)
    default = list(SHORT) if LONG else ["test_json"]
    return [(name, "malloc") for name in modules] + [(name, None) for name in default]


@pytest.mark.parametrize("module,allocator", cases())
def test_own_tests(real, module: str, allocator: Optional[str]) -> None:
    def scenario(run: Run) -> None:
        only = [] if LONG else [word for name in SHORT[module] for word in ("-m", f"*{name}*")]
        python = interpreter()
        done = run.program(
            python, "-m", "test", "--timeout", "300", *only, module,
            env={"PYTHONMALLOC": allocator} if allocator else {}, timeout=60 if not LONG else 600,
        )
        assert b"Tests result: SUCCESS" in done.stdout
        run.served(python)

    real(scenario)
