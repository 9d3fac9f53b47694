"""make install and make uninstall: what lies where, and that programs build against it and run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from installing import ROOT, Installed, make

HEADER = (ROOT / "allocator/include/hakmem.h").read_text()
VERSION = re.findall(r'#define HAKMEM_VERSION "([\d.]+)"', HEADER)[0]
SERIES = ".".join(VERSION.split(".")[:2])

USES = """
#include <hakmem.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
    void *block = malloc(33);
    printf("%s %s %d\\n", HAKMEM_VERSION, hak_version(), malloc_usable_size(block) == hak_malloc_usable_size(block));
    hak_free(block);
    return 0;
}
"""
EXPECTED = f"{VERSION} {VERSION} 1\n"


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


FILES = {
    "bin/hakmem", "include/hakmem.h", "lib/libhakmem.a", "lib/libhakmem.so", "lib/libhakmem.so.0",
    "lib/libhakmem-trace.so", "bin/hakmem-trace-info",
    f"lib/libhakmem.so.{VERSION}", "lib/pkgconfig/hakmem.pc", "lib/cmake/hakmem/hakmemConfig.cmake",
    "lib/cmake/hakmem/hakmemConfigVersion.cmake", "share/man/man1/hakmem.1", "share/man/man3/hakmem.3",
    "share/man/man7/hakmem.7", "share/hakmem/manifest",
}


def test_what_is_installed(installed: Installed) -> None:
    assert files_below(installed.prefix) == FILES
    lib = installed.prefix / "lib"
    assert os.readlink(lib / "libhakmem.so.0") == f"libhakmem.so.{VERSION}"
    assert os.readlink(lib / "libhakmem.so") == "libhakmem.so.0"
    dynamic = subprocess.run(["readelf", "-dW", str(lib / "libhakmem.so")], capture_output=True, text=True).stdout
    assert "Library soname: [libhakmem.so.0]" in dynamic
    for name in FILES:
        path = installed.prefix / name
        if not path.is_symlink():
            runs = name.startswith("bin/") or ".so" in name
            assert path.stat().st_mode & 0o777 == (0o755 if runs else 0o644), name


def test_the_built_library_has_the_same_soname() -> None:
    """Drivers and tests find out/release/libhakmem.so by it."""
    link = ROOT / "out/release/libhakmem.so.0"
    assert link.resolve() == (ROOT / "out/release/libhakmem.so").resolve()


@pytest.mark.parametrize("existing", [False, True])
def test_uninstall_leaves_what_was_there(tmp_path: Path, existing: bool) -> None:
    stage = tmp_path / "stage of mine"
    settings = [f"DESTDIR={stage}", "PREFIX=/opt/h k"]
    if existing:
        (stage / "opt/h k/lib/cmake/other").mkdir(parents=True)
        (stage / "opt/h k/share/man/man3").mkdir(parents=True)
        (stage / "opt/h k/lib/libother.so").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    make("install", *settings)
    assert files_below(stage / "opt/h k") >= FILES
    make("install", *settings)  # again, over what is there
    make("uninstall", *settings)
    assert sorted(tmp_path.rglob("*")) == before
    again = make("uninstall", *settings, check=False)
    assert again.returncode != 0 and "nothing is installed in" in again.stderr


def test_other_places(tmp_path: Path) -> None:
    places = {"BINDIR": "/b in", "LIBDIR": "/usr/lib/of mine", "INCLUDEDIR": "/usr/include/h k", "MANDIR": "/m"}
    settings = [f"DESTDIR={tmp_path}", "PREFIX=/usr", *(f"{k}={v}" for k, v in places.items())]
    make("install", *settings)
    assert files_below(tmp_path) == {
        "b in/hakmem-trace-info", "usr/lib/of mine/libhakmem-trace.so",
        "b in/hakmem", "usr/include/h k/hakmem.h", "usr/share/hakmem/manifest", "m/man1/hakmem.1", "m/man3/hakmem.3",
        "m/man7/hakmem.7", *("usr/lib/of mine/" + name[4:] for name in FILES if name.startswith("lib/"))}
    assert flags_of(tmp_path / "usr/lib/of mine", "--cflags") == [
        f"-I{tmp_path}/usr/lib/of mine/pkgconfig/../../../include/h k"]
    make("uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr")  # the manifest knows the rest
    assert list(tmp_path.iterdir()) == []


def test_an_older_version_is_replaced(tmp_path: Path) -> None:
    settings = [f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    make("install", *settings)
    lib, manifest = tmp_path / "usr/lib", tmp_path / "usr/share/hakmem/manifest"
    (lib / "libhakmem.so.0.0.9").write_text("older")
    manifest.write_text(manifest.read_text() + "file /usr/lib/libhakmem.so.0.0.9\n")
    make("install", *settings)
    assert files_below(tmp_path / "usr") == FILES
    assert "0.0.9" not in manifest.read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["PREFIX=usr"], "PREFIX=usr is not an absolute path"),
        (["PREFIX=/x", "LIBDIR=lib"], "LIBDIR=lib is not an absolute path"),
        (["PREFIX=/proc/hakmem"], "the folder /proc/hakmem can't be made"),
    ],
)
def test_wrong_places(settings: list[str], message: str) -> None:
    done = make("install", *settings, check=False)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_run_that_was_cut_short_can_be_undone(tmp_path: Path) -> None:
    (tmp_path / "usr/include/hakmem.h").mkdir(parents=True)  # where a file should go
    done = make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr", check=False)
    assert done.returncode != 0 and "hakmem.h can't be written" in done.stderr
    make("uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["hakmem.h", "include", "usr"]


# ---- building against it ---------------------------------------------------------------------


def flags_of(lib: Path, *words: str) -> list[str]:
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    done = subprocess.run(
        ["pkg-config", *words, "hakmem"], capture_output=True, text=True,
        env=dict(os.environ, PKG_CONFIG_PATH=str(lib / "pkgconfig")),
    )
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


def output_of(program: Path, **environment: str) -> str:
    done = subprocess.run([str(program)], capture_output=True, text=True, env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("way", ["shared", "static"])
def test_pkg_config(installed: Installed, tmp_path: Path, way: str, moved: bool) -> None:
    prefix = installed.prefix
    if moved:
        prefix = Path(shutil.copytree(prefix, tmp_path / "some where else", symlinks=True))
    source = tmp_path / "uses.c"
    source.write_text(USES)
    words = ["--cflags", "--libs"] + (["--static"] if way == "static" else [])
    flags = flags_of(prefix / "lib", *words) + (["-static"] if way == "static" else [])
    subprocess.run(["gcc", str(source), "-o", str(tmp_path / "uses"), *flags], check=True)
    where = {"LD_LIBRARY_PATH": str(prefix / "lib")} if way == "shared" else {}
    assert output_of(tmp_path / "uses", **where) == EXPECTED
    assert flags_of(prefix / "lib", "--modversion") == [VERSION]


CMAKE = """
cmake_minimum_required(VERSION 3.10)
project(uses C)
find_package(hakmem {version} REQUIRED)
add_executable(shared uses.c)
target_link_libraries(shared PRIVATE hakmem::hakmem)
add_executable(archive uses.c)
target_link_libraries(archive PRIVATE hakmem::static)
"""


def configure(installed: Installed, folder: Path, version: str) -> subprocess.CompletedProcess:
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(CMAKE.format(version=version))
    (folder / "uses.c").write_text(USES)
    return subprocess.run(
        ["cmake", "-S", str(folder), "-B", str(folder / "out"), f"-DCMAKE_PREFIX_PATH={installed.prefix}"],
        capture_output=True, text=True,
    )


def test_cmake(installed: Installed, tmp_path: Path) -> None:
    project = tmp_path / "a project"
    done = configure(installed, project, SERIES)
    assert done.returncode == 0, done.stderr
    subprocess.run(["cmake", "--build", str(project / "out")], check=True, capture_output=True)
    assert output_of(project / "out/shared") == EXPECTED
    assert output_of(project / "out/archive") == EXPECTED
    needed = {name: subprocess.run(["readelf", "-dW", str(project / "out" / name)], capture_output=True,
                                   text=True).stdout for name in ("shared", "archive")}
    assert "[libhakmem.so.0]" in needed["shared"] and "libhakmem" not in needed["archive"]


@pytest.mark.parametrize(("version", "fits"), [
    ("", True), (VERSION, True), (f"{VERSION} EXACT", True), (f"{VERSION}.1 EXACT", False), ("0", True),
    ("0.0.9", False),
    (f"{SERIES}.999", False), ("1.0", False), ("0.0...<1", True), ("0.0...<0.1", False)])
def test_cmake_takes_versions_that_fit(installed: Installed, tmp_path: Path, version: str, fits: bool) -> None:
    """Only the version file is asked: a whole project for each would take long."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    script = tmp_path / "ask.cmake"
    parts = version.replace(" EXACT", "").split("...<")
    settings = [f'set(PACKAGE_FIND_VERSION "{parts[0]}")']
    if len(parts) == 2:
        settings += ['set(PACKAGE_FIND_VERSION_RANGE "x")', f'set(PACKAGE_FIND_VERSION_MIN "{parts[0]}")',
                     f'set(PACKAGE_FIND_VERSION_MAX "{parts[1]}")',
                     'set(PACKAGE_FIND_VERSION_RANGE_MAX "EXCLUDE")']
    answer = "PACKAGE_VERSION_EXACT" if "EXACT" in version else "PACKAGE_VERSION_COMPATIBLE"
    file = installed.prefix / "lib/cmake/hakmem/hakmemConfigVersion.cmake"
    script.write_text("\n".join([*settings, f'include("{file}")', f'message(STATUS "fits=${{{answer}}}")']))
    done = subprocess.run(["cmake", "-P", str(script)], capture_output=True, text=True)
    assert f"fits={'TRUE' if fits else 'FALSE'}" in done.stdout, done.stdout + done.stderr


def test_cmake_names_what_is_missing(installed: Installed, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(installed.prefix, tmp_path / "copy", symlinks=True))
    (copy / "lib/libhakmem.a").unlink()
    done = configure(Installed(copy, tmp_path), tmp_path / "project", "")
    assert done.returncode != 0
    assert "libhakmem.a is missing" in re.sub(r"\s+", " ", done.stderr)
