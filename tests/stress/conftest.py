"""Fixtures of the stress tests: the programs in each variant, and allocators to preload."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, Dict, Optional

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def program() -> Callable[..., Path]:
    """program("stress"), program("stress_plain"), program("stress", "tsan"): built when it is asked for."""

    def get(name: str, variant: str = "release") -> Path:
        subprocess.run(["make", "-s", "-C", str(ROOT), f"VARIANT={variant}", name], check=True)
        return ROOT / "out" / variant / name

    return get


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """faulty("overlap"), faulty("FAULT_LEAK"): a broken allocator, one library for each fault."""
    folder = tmp_path_factory.mktemp("faulty")
    built: Dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in built:
            source = folder / f"{name}_whole.c"  # another name than what it includes
            if name.startswith("FAULT_"):
                source.write_text(f'#define {name} 1\n#include "faults.c"\n')
            else:
                source.write_text(f'#include "rename.h"\n#include "{name}.c"\n#include "complete.h"\n')
            built[name] = folder / f"{name}.so"
            subprocess.run(
                ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-fno-builtin",
                 "-I", str(ROOT / "tests/stress/preload"), "-I", str(ROOT / "tests/drivers/preload"),
                 str(source), "-o", str(built[name])],
                check=True,
            )
        return built[name]

    return get


@pytest.fixture
def execute() -> Callable[..., subprocess.CompletedProcess]:
    """Runs a program of these, without the options of the shell that runs the tests."""

    def run(path: Path, *arguments: str, preload: Optional[Path] = None, timeout: float = 120,
            **environment: str) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "TSAN_", "ASAN_"))}
        env.update(environment)
        if preload is not None:
            env["LD_PRELOAD"] = str(preload)
        return subprocess.run([str(path), *arguments], env=env, capture_output=True, text=True, timeout=timeout)

    return run
