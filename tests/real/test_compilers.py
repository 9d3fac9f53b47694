"""gcc and g++ under hakmem make the same files, byte for byte, as without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from big_cxx import program
from real_run import LONG, Run, find, same, size

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = [("g++", "g++"), *([("clang++", "clang")] if LONG else [])]


def made(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".d"
    }


def test_this_project(real) -> None:
    """make, gcc, as, ar and ld: every object, library and program is the same."""

    def scenario(run: Run) -> None:
        tree = run.folder / "tree"
        tree.mkdir()
        for name in ("allocator", "workloads", "tests/c", "tests/stress"):
            shutil.copytree(ROOT / name, tree / name)
        shutil.copy(ROOT / "Makefile", tree)
        targets = ["libhakmem.so", "libhakmem.a"]
        targets += size([], ["larson_hakmem", "xmalloc_system", "bench_random_mixed_hakmem", "stress"])
        make = [find("make", "make"), "-s", "-C", str(tree), "-j2", "CC=gcc"]
        find("gcc", "gcc")
        run.plain(*make, "OUT=plain", *targets)
        run.program(*make, "OUT=under", *targets)
        plain, under = made(tree / "plain"), made(tree / "under")
        assert plain.keys() == under.keys() and len(plain) > 20
        assert [name for name in plain if plain[name] != under[name]] == []
        run.served("make", "cc1", "as", "ar", "ld")

    real(scenario)


@pytest.mark.parametrize("compiler,package", COMPILERS)
def test_large_cxx(real, compiler: str, package: str) -> None:
    """One large file; the program that comes of it works, and is the same as without hakmem."""

    def scenario(run: Run) -> None:
        path = find(compiler, package)
        source = run.folder / "big.cpp"
        source.write_text(program(size(1, 4), LONG), "utf-8")
        options = ["-std=c++17", size("-O0", "-O2"), *size([], ["-g"]), str(source), "-o"]
        run.plain(path, *options, str(run.folder / "plain"))
        run.program(path, *options, str(run.folder / "under"))
        same((run.folder / "under").read_bytes(), (run.folder / "plain").read_bytes())
        done = run.program(str(run.folder / "under"))
        assert done.stdout.startswith(b"ok ")
        run.served("under", "cc1plus" if compiler == "g++" else path, "ld")

    real(scenario)
