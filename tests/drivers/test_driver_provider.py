"""The proof of who served malloc: for each allocator, however it got into the process."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable, List, Tuple

import pytest

import driver_contract
from driver_run import SHORT, WORKLOADS, find_library, run

Program = Callable[..., Path]
Preload = Callable[[str], Path]

LIBRARIES: List[Tuple[str, str, str]] = [
    ("mimalloc", "libmimalloc.so.2", r"\d+\.\d+\.\d+"),
    ("jemalloc", "libjemalloc.so.2", r"\d+\.\d+\.\d+(-.*)?"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", r"\d+\.\d+.*"),
    ("tbbmalloc", "libtbbmalloc_proxy.so.2", ""),
]


def library_of(soname: str) -> Path:
    path = find_library(soname)
    if path is None:
        pytest.skip(f"{soname} is not installed")
    return path


def build_id_of(path: Path) -> str:
    done = subprocess.run(["readelf", "-n", str(path)], capture_output=True, text=True, check=True)
    found = re.search(r"Build ID: ([0-9a-f]+)", done.stdout)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("name,soname,version", LIBRARIES)
def test_linked(program: Program, workload: str, name: str, soname: str, version: str) -> None:
    library = library_of(soname)
    result = run(program(workload, name), [*SHORT[workload], "--json"]).json
    driver_contract.check(result)
    provider = result["provider"]
    assert provider["name"] == name and provider["complete"]
    assert provider["path"] == os.path.realpath(library)
    assert re.fullmatch(version, provider["version"] or "")


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("variant", ["release", "asan", "tsan"])
def test_hakmem(program: Program, workload: str, variant: str) -> None:
    """In a release it is the library; the sanitizer variants hold the allocator in the program."""
    path = program(workload, "hakmem", variant)
    result = run(path, [*SHORT[workload], "--json", "--check"]).json
    driver_contract.check(result)
    provider = result["provider"]
    assert provider["name"] == "hakmem" and provider["version"] and provider["complete"]
    wanted = path.parent / "libhakmem.so" if variant == "release" else path
    assert provider["path"] == os.path.realpath(wanted)


def test_hakmem_preloaded(program: Program) -> None:
    library = program("larson", "hakmem").parent / "libhakmem.so"
    if " " in str(library):
        pytest.skip("LD_PRELOAD can't name a path with a space")
    provider = run(program("larson"), [*SHORT["larson"], "--json"], preload=library).json["provider"]
    assert provider["name"] == "hakmem" and provider["complete"]
    assert provider["path"] == os.path.realpath(library)


@pytest.mark.parametrize("name,soname,version", LIBRARIES)
def test_preloaded_under_another_name(program: Program, tmp_path: Path, name: str, soname: str, version: str) -> None:
    """No file name is believed: a copy that is called differently is recognised, and by its path."""
    library = library_of(soname)
    folder = tmp_path / "lib\u00e9 of mine"
    folder.mkdir()
    link = folder / "libjemalloc-hakmem-system.so"
    shutil.copy(os.path.realpath(library), link)
    # LD_PRELOAD has no way to write a space, so the path is a relative one
    result = run(
        program("bench_random_mixed"), [*SHORT["bench_random_mixed"], "--json"],
        environment={"LD_PRELOAD": f"./{link.name}"}, cwd=folder,
    ).json
    driver_contract.check(result)
    assert result["provider"]["name"] == name
    assert result["provider"]["path"] == os.path.realpath(link)
    assert re.fullmatch(version, result["provider"]["version"] or "")


def test_build_id(program: Program) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed (package binutils)")
    provider = run(program("larson"), [*SHORT["larson"], "--json"]).json["provider"]
    assert provider["build_id"] == build_id_of(Path(provider["path"]))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_system(program: Program, workload: str) -> None:
    provider = run(program(workload), [*SHORT[workload], "--json"]).json["provider"]
    assert provider["name"] == "system" and provider["complete"]
    libc = ctypes.CDLL(None)
    libc.gnu_get_libc_version.restype = ctypes.c_char_p
    assert provider["version"] == libc.gnu_get_libc_version().decode()


def test_preload_that_cannot_be_loaded(program: Program, tmp_path: Path) -> None:
    """The linker warns and goes on: then the system's malloc was measured, and that is what is said."""
    for library in (tmp_path / "libmimalloc.so.2", Path("/dev/null")):
        done = run(program("larson"), [*SHORT["larson"], "--json"], preload=library)
        assert done.json["provider"]["name"] == "system"
        assert "libc.so" in done.json["provider"]["path"]


def test_preload_wins_over_the_linked_library(program: Program) -> None:
    library = library_of("libjemalloc.so.2")
    library_of("libmimalloc.so.2")
    result = run(program("larson", "mimalloc"), [*SHORT["larson"], "--json"], preload=library).json
    assert result["provider"]["name"] == "jemalloc" and result["provider"]["complete"]


def test_an_allocator_that_nobody_knows(program: Program, preload: Preload) -> None:
    result = run(program("xmalloc"), [*SHORT["xmalloc"], "--json", "--check"], preload=preload("good")).json
    driver_contract.check(result)
    assert result["provider"]["name"] == "unknown"
    assert result["provider"]["version"] is None
    assert result["provider"]["path"] == str(preload("good"))


def test_half_an_allocator_is_not_complete(program: Program, preload: Preload) -> None:
    done = run(program("larson"), [*SHORT["larson"], "--json"], preload=preload("partial"))
    driver_contract.check(done.json)
    provider = done.json["provider"]
    assert not provider["complete"]
    assert provider["parts"]["malloc"] == provider["parts"]["free"] == str(preload("partial"))
    assert "libc.so" in provider["parts"]["calloc"] and "libc.so" in provider["parts"]["realloc"]
    table = run(program("larson"), SHORT["larson"], preload=preload("partial")).out
    assert "but calloc comes from" in table
