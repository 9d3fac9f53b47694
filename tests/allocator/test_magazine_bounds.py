"""HAKMEM_MAGAZINE_MIN and _MAX bound what a thread keeps of a size class."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from test_misuse import compile_program

BODY = """
    static char *b[20000];
    for (int i = 0; i < 20000; i++) { b[i] = malloc(64); memset(b[i], 1, 64); }
    for (int i = 0; i < 150; i++) free(b[i]); /* not so many that the thread seems to be done */
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("bounds") / "many", BODY)


def kept_by_the_thread(program: Path, libhakmem: Path, **options: str) -> int:
    """Bytes of free blocks in the thread's magazines at exit."""
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_STATS="json", HAKMEM_DEPOT="0", **options)
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr)["cached_threads"]


def test_the_bounds_hold(program: Path, libhakmem: Path) -> None:
    whole = kept_by_the_thread(program, libhakmem)
    assert 62 * 64 <= whole <= 124 * 64 + 4096
    assert kept_by_the_thread(program, libhakmem, HAKMEM_MAGAZINE_MAX="2") <= 2048 + 4096 < whole
    assert kept_by_the_thread(program, libhakmem, HAKMEM_MAGAZINE_MAX="0") <= 2 * 64 + 4096


@pytest.mark.parametrize("options", [
    {"HAKMEM_MAGAZINE_MAX": "0"}, {"HAKMEM_MAGAZINE_MIN": "1"}, {"HAKMEM_MAGAZINE_MAX": "1", "HAKMEM_MAGAZINE_MIN": "3"},
], ids=lambda o: ",".join(f"{k[16:]}={v}" for k, v in o.items()))
def test_threads_exchange_blocks_with_any_bounds(options: dict[str, str]) -> None:
    root = Path(__file__).resolve().parents[2]
    subprocess.run(["make", "-s", "-C", str(root), "xmalloc_hakmem"], check=True)
    done = subprocess.run(
        [str(root / "out/release/xmalloc_hakmem"), "--allocators", "2", "--releasers", "2", "--operations", "50000",
         "--size", "mix", "--check"],
        env=dict(os.environ, **options), capture_output=True, text=True, timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
