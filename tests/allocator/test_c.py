"""Runs the C tests, each case an item of its own, in every build variant."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def cases() -> list[tuple[str, str]]:
    found = []
    for source in sorted((ROOT / "tests/c").glob("test_*.c")):
        for name in re.findall(r"cmocka_unit_test\((\w+)\)", source.read_text()):
            found.append((source.stem, name))
    return found


def run(variant: str, program: str, case: str, **environment: str) -> None:
    command = [str(ROOT / "out" / variant / "tests" / program), case]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=dict(os.environ, **environment)
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    assert "1 test(s) run" in output, f"{case} did not run: {output[-1000:]}"


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    for variant in ("release", "asan", "tsan"):
        subprocess.run(["make", "-s", "-C", str(ROOT), f"VARIANT={variant}", "tests"], check=True)
    subprocess.run(
        ["make", "-s", "-C", str(ROOT), "OUT=out/ownership", "tests"],
        check=True,
        env=dict(os.environ, CFLAGS="-DHAKMEM_DEBUG_OWNERSHIP=1 -DHAKMEM_DEBUG=1"),
    )


@pytest.mark.parametrize("variant", ["release", "asan", "tsan", "ownership"])
@pytest.mark.parametrize(("program", "case"), cases())
def test_case(variant: str, program: str, case: str) -> None:
    run(variant, program, case)


@pytest.mark.parametrize(
    "options",
    [
        {"HAKMEM_PAGE_MAP": "2"},
        {"HAKMEM_ARENA_RESERVE": "0"},
        {"HAKMEM_TINY_SS_ADOPT": "0"},
        {"HAKMEM_PURGE_DELAY": "0"},
        {"HAKMEM_PURGE_DELAY": "-1"},
        {"HAKMEM_DEPOT": "0"},
        {"HAKMEM_CACHE_HUGE": "0"},
    ],
    ids=lambda options: ",".join(f"{k}={v}" for k, v in options.items()),
)
@pytest.mark.parametrize(("program", "case"), [c for c in cases() if c[0] in ("test_api", "test_threads")])
def test_case_with_options(options: dict[str, str], program: str, case: str) -> None:
    run("release", program, case, **options)
