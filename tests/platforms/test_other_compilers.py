"""The allocator built by both compilers, unoptimised and as pedantic as ISO C11 has it, and optimised
across files, passes a short run with every block checked."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


# gcc is as pedantic in test_musl.py.
@pytest.mark.parametrize(
    ("compiler", "name", "flags", "link"),
    [("clang", "O0-pedantic", "-O0 -pedantic", ""), ("gcc", "O3-lto", "-O3 -flto", "-O3 -flto")],
    ids=["clang-O0-pedantic", "gcc-O3-lto"],
)
def test_build(compiler: str, name: str, flags: str, link: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    out = f"out/platforms-{compiler}-{name}"
    options = [f"CC={compiler}", f"OUT={out}", f"CFLAGS=-Werror {flags}", f"LDFLAGS={link}"]
    subprocess.run(["make", "-s", "-C", str(ROOT), *options, "larson_hakmem"], check=True)
    for arguments in (("4", "10000", "256"), ("2", "2000", "60000")):
        command = [str(ROOT / out / "larson_hakmem"), *arguments, "--check", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr[-2000:]
        result = json.loads(done.stdout)
        assert result["provider"]["name"] == "hakmem" and result["check"]["errors"] == 0
