"""build.sh and the Makefile: targets, variants, what is rebuilt when, wrong input."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(tree / "build.sh"), *arguments], capture_output=True, text=True, cwd="/", env=dict(os.environ, **environment)
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in a folder with a space in its name."""
    copy = tmp_path_factory.mktemp("build") / "a tree"
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def test_builds_and_runs_in_a_path_with_a_space(tree: Path) -> None:
    done = build(tree, "larson_hakmem")
    assert done.returncode == 0, done.stderr
    run = subprocess.run([str(tree / "out/release/larson_hakmem"), "2", "10000", "256"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "hakmem" in run.stdout and "a tree/out/release/libhakmem.so" in run.stdout


def make(tree: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["make", "-C", str(tree), "--no-print-directory", *arguments],
        capture_output=True, text=True, env=dict(os.environ, **environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rebuilds_what_changed_and_nothing_else(tree: Path) -> None:
    make(tree, "libhakmem.so")
    assert "-c " not in make(tree, "libhakmem.so")
    header = tree / "allocator/depot/depot.h"
    header.write_text(header.read_text() + "\n")
    os.utime(header)
    again = make(tree, "libhakmem.so")
    assert "allocator/depot/depot.c" in again and "allocator/heap/heap.c" in again
    assert "allocator/os/os.c" not in again
    flags = make(tree, "libhakmem.so", CFLAGS="-DHAKMEM_DEBUG_OWNERSHIP=1")
    assert "allocator/os/os.c" in flags
    assert "-c " not in make(tree, "libhakmem.so", CFLAGS="-DHAKMEM_DEBUG_OWNERSHIP=1")
    assert "allocator/os/os.c" in make(tree, "libhakmem.so")


def test_variants_are_kept_apart(tree: Path) -> None:
    make(tree, "libhakmem.a")
    before = (tree / "out/release/libhakmem.a").stat().st_mtime_ns
    assert build(tree, "tsan", "libhakmem.a").returncode == 0
    assert (tree / "out/tsan/libhakmem.a").exists()
    assert (tree / "out/release/libhakmem.a").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["larson_nosuch"], "unknown target 'larson_nosuch'"),
        (["fast", "larson_hakmem"], "unknown target 'fast'"),
        (["release"], "usage"),
        ([], "usage"),
        (["../x"], "unknown target '../x'"),
    ],
)
def test_wrong_arguments(tree: Path, arguments: list[str], message: str) -> None:
    done = build(tree, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_missing_allocator_is_named_with_its_package(tree: Path) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", str(tree), "lib_jemalloc=libnosuch.so.9", "OUT=out/missing", "larson_jemalloc"],
        capture_output=True, text=True,
    )
    assert done.returncode != 0
    assert "libnosuch.so.9 was not found; install the package libjemalloc2" in done.stderr
    everything = subprocess.run(
        ["make", "-n", "-C", str(tree), "lib_jemalloc=libnosuch.so.9", "all"], capture_output=True, text=True
    )
    assert everything.returncode == 0
    assert "left out because not installed: jemalloc (package libjemalloc2)" in everything.stdout


def test_unknown_variant() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "VARIANT=fast", "all"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "VARIANT=fast is unknown; use release, asan, tsan or guard" in done.stderr


def test_setup_lists_packages_where_it_may_not_install(tmp_path: Path) -> None:
    """As an ordinary user without sudo, with an empty PATH of tools to find."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv:
        pytest.skip("needs root to become an ordinary user")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "id", "grep", "cat", "dirname", "dpkg-query", "apt-get", "apt-cache", "mktemp", "rm", "tail"):
        path = shutil.which(tool)
        if path:
            (tools / tool).symlink_to(path)
    done = subprocess.run(
        [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", str(shutil.which("bash")), "-s", "bench"],
        input=(ROOT / "scripts/setup.sh").read_text(), capture_output=True, text=True, env={"PATH": str(tools)},
    )
    assert done.returncode == 2, done.stderr
    assert "these packages" in done.stderr
    assert "gcc" in done.stderr and "make" in done.stderr
    assert "apt-get install -y" in done.stderr
    assert "nothing can be built without" in done.stderr
