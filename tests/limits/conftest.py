"""Builds of the allocator and of the programs that these tests run under limits."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/limits"
FLAGS = [
    "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-pthread", "-fno-builtin", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
    "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror", f"-I{ROOT}/allocator", f"-I{ROOT}/allocator/include",
]


def make(*arguments: str) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT), *arguments], check=True)


@pytest.fixture(scope="session")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A program with the scenario in it, linked statically with the library whose system calls can fail."""
    built: dict[tuple[str, str], Path] = {}

    def build(program: str, defines: str = "") -> Path:
        if (program, defines) not in built:
            out = "out/inject-ownership" if defines else "out/inject"
            make(f"OUT={out}", f"CFLAGS=-Werror -DHAKMEM_INJECT=1 {defines}", "libhakmem.a")
            target = tmp_path_factory.mktemp("inject") / program
            sources = [str(HERE / f"{name}.c") for name in ("scenario", program)]
            library = str(ROOT / out / "libhakmem.a")
            command = ["gcc", *FLAGS, "-DHAKMEM_INJECT=1", *sources, library, "-static", "-o", str(target)]
            subprocess.run(command, check=True)
            built[program, defines] = target
        return built[program, defines]

    return build


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A program without an allocator of its own, for preloading."""
    built: dict[str, Path] = {}

    def build(program: str) -> Path:
        if program not in built:
            built[program] = tmp_path_factory.mktemp("plain") / program
            subprocess.run(["gcc", *FLAGS, str(HERE / f"{program}.c"), "-o", str(built[program])], check=True)
        return built[program]

    return build
