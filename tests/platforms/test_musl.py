"""The library with musl in place of glibc: the C tests linked statically, the drivers, the stress test and
preloading dynamically, and the scenario of tests/limits with failing system calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out/musl"
MAKE = ["make", "-s", "-C", str(ROOT), "CC=musl-gcc"]
PROGRAMS = sorted(path.stem for path in (ROOT / "tests/c").glob("test_*.c"))

pytestmark = pytest.mark.skipif(not shutil.which("musl-gcc"), reason="not installed (package): musl-tools")


@pytest.fixture(scope="module")
def build() -> None:
    """Without a warning, and as pedantic as ISO C11 has it."""
    drivers = ["larson_hakmem", "larson_system", "bench_random_mixed_hakmem", "stress"]
    libraries = ["libhakmem.a", "libhakmem.so"]
    command = [*MAKE, "OUT=out/musl", "CFLAGS=-Werror -pedantic", "TEST_LDFLAGS=-static", "tests", *libraries, *drivers]
    subprocess.run(command, check=True)


def run(*command: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=timeout, env=dict(os.environ, **environment)
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.mark.parametrize("program", PROGRAMS)
def test_c_tests(build: None, program: str) -> None:
    done = run(OUT / "tests" / program)
    wanted = len(re.findall(r"cmocka_unit_test\(\w+\)", (ROOT / f"tests/c/{program}.c").read_text()))
    assert wanted > 0 and f"] {wanted} test(s) run" in done.stdout


def readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", option, str(path)], capture_output=True, text=True, check=True).stdout


def test_it_is_musl(build: None) -> None:
    assert "INTERP" not in readelf("-lW", OUT / "tests/test_api")
    assert "ld-musl" in readelf("-lW", OUT / "larson_hakmem")
    assert re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-dW", OUT / "libhakmem.so")) == ["libc.so"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("larson_hakmem", ("4", "10000", "256")), ("bench_random_mixed_hakmem", ("100000", "2000", "42"))],
)
def test_drivers(build: None, name: str, arguments: tuple[str, ...]) -> None:
    result = json.loads(run(OUT / name, *arguments, "--check", "--json").stdout)
    assert result["provider"]["name"] == "hakmem"
    assert result["check"]["errors"] == 0 and result["check"]["blocks"] > 1000


def test_serves_a_program_that_it_is_preloaded_into(build: None, tmp_path: Path) -> None:
    library = tmp_path / "libhakmem.so"  # a path without a space, which would end it
    library.symlink_to(OUT / "libhakmem.so")
    done = run(OUT / "larson_system", "4", "5000", "256", "--check", "--json", LD_PRELOAD=str(library))
    assert json.loads(done.stdout)["provider"]["name"] == "hakmem"


def test_survives_the_stress_test(build: None) -> None:
    done = run(OUT / "stress", "--seed", 42, "--seconds", 2, "--threads", 4, "--max-live", 128)
    assert "all was well" in done.stdout


def test_every_call_fails(tmp_path: Path) -> None:
    """As tests/limits/test_inject.py has it."""
    subprocess.run([*MAKE, "OUT=out/musl-inject", "CFLAGS=-Werror -DHAKMEM_INJECT=1", "libhakmem.a"], check=True)
    limits = ROOT / "tests/limits"
    program = tmp_path / "inject"
    sources = [str(limits / name) for name in ("scenario.c", "inject.c")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fno-builtin", "-DHAKMEM_INJECT=1", "-static", f"-I{ROOT}/allocator"]
    library = str(ROOT / "out/musl-inject/libhakmem.a")
    subprocess.run(["musl-gcc", *flags, *sources, library, "-o", str(program)], check=True)
    found = re.fullmatch(r"runs (\d+) refused (\d+)\n", run(program, "on", 31).stdout)
    assert found and int(found[1]) > 25 and int(found[2]) > 1000
