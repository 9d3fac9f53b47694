"""Fixtures of the driver tests: the programs, built once, and the libraries to preload."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import driver_run  # noqa: E402

pytest.register_assert_rewrite("driver_contract")


@pytest.fixture(scope="session")
def program() -> Callable[..., Path]:
    """program("larson"), program("larson", "mimalloc"), program("larson", "system", "asan")"""
    built: Dict[str, Path] = {}

    def get(workload: str, allocator: str = "system", variant: str = "release") -> Path:
        key = f"{variant}/{workload}_{allocator}"
        if key not in built:
            built[key] = driver_run.build(f"{workload}_{allocator}", variant)
        return built[key]

    return get


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """preload("counting"): the library made from preload/counting.c"""
    folder = tmp_path_factory.mktemp("preload")
    built: Dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in built:
            built[name] = driver_run.compile_preload(name, folder)
        return built[name]

    return get


@pytest.fixture
def objdump() -> str:
    path = shutil.which("objdump")
    if path is None:
        pytest.skip("objdump is not installed (package binutils)")
    return path
