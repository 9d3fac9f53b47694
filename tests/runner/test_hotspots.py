"""hotspots.py from the outside: that it finds a known hot spot, and what it says when it can't."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UsageError
from runner.profiles.options import parse_hotspot_options
from runner.profiles.subjects import check_named
from runner.interrupts import Interrupts
from runner.profiles.profiling import choose_sampling

SHORT = ("--duration", "0.3", "--no-build")
# malloc passes on to the C library's, and burns time in a function of its own that has no symbol.
BURNING = """
#include <stddef.h>
extern void *__libc_malloc(size_t); extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t); extern void *__libc_realloc(void *, size_t);
static __attribute__((noinline)) void burn(void) { for (volatile int i = 0; i < LOOPS; i++) { } }
void *malloc(size_t n) { burn(); return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""


@pytest.fixture(scope="module")
def sampling(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips what needs perf where that can't sample."""
    try:
        choose_sampling(os.environ, tmp_path_factory.mktemp("probe"), Interrupts())
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def larson(root: Path) -> None:
    """The driver that libraries are preloaded into, up to date."""
    subprocess.run(["make", "-s", "-C", str(root), "larson_system"], check=True)


def run(root: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    python = options.pop("python", sys.executable)
    return subprocess.run(
        [python, str(root / "runner" / "hotspots.py"), *arguments], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=120, **options,
    )


def burning(compile_library: Callable[..., Path], loops: int, *flags: str) -> Path:
    return compile_library("libburning.so", BURNING, "-O2", "-fomit-frame-pointer", "-g",
                           f"-DLOOPS={loops}", *flags)


@pytest.mark.usefixtures("sampling", "larson")
def test_a_known_hot_spot_is_found_with_its_caller_and_its_source(
    root: Path, compile_library: Callable[..., Path], tmp_path: Path
) -> None:
    # Some processors take a cycle for a round, and then 200 are little more than half of the time.
    library, folder = burning(compile_library, 500), tmp_path / "a profile"
    done = run(root, "larson", f"mine={library}", *SHORT, "--annotate", "--out", str(folder), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "profile.json").read_text("utf-8"))
    hot = found["functions"][0]
    assert (hot["name"], hot["part"], hot["object"]) == ("burn", "allocator", "libburning.so")
    assert hot["share"] > 0.6
    assert hot["callers"][0]["name"] == "malloc" and hot["callers"][0]["share"] > 0.9
    malloc = next(f for f in found["functions"] if f["name"] == "malloc" and f["part"] == "allocator")
    assert malloc["share_with_callees"] >= hot["share"]
    assert found["parts"]["allocator"]["share"] > 0.6
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1)
    # The costs are those of the run that was sampled.
    assert found["cost_per_operation"] == pytest.approx(
        found["cpu_seconds"] * 1e9 / found["operations"], rel=0.05) or found["unit"] == "cycles/op"
    assert found["provider"]["path"] == str(library) and found["workload"] == "larson"
    annotation = (folder / found["annotation"]).read_text("utf-8")
    assert "source.c:5  static __attribute__((noinline)) void burn(void)" in annotation
    assert len(annotation.splitlines()) < 200
    assert any(line.startswith("burn") or line.strip().startswith("burn") for line in done.stdout.splitlines())
    for name in (found["flame"], found["folded"], "hotspots.md"):
        assert "burn" in (folder / name).read_text("utf-8")
    ET.parse(folder / found["flame"])
    assert "replace" in (folder / found["folded"]).read_text("utf-8")  # whole stacks without frame pointers


@pytest.mark.usefixtures("sampling", "larson")
def test_of_two_the_difference_is_found(
    root: Path, compile_library: Callable[..., Path], tmp_path: Path
) -> None:
    slow, fast, folder = burning(compile_library, 300), burning(compile_library, 10), tmp_path / "out"
    subprocess.run(["strip", str(slow)], check=True)
    done = run(root, "larson", f"slow={slow}", "--against", f"rev:{fast}", *SHORT, "--json", "--annotate",
               "maloc", "--out", str(folder))
    # A function that is not there costs the annotation only.
    assert done.returncode == 2, done.stderr
    assert "no sample fell into a function 'maloc'; did you mean 'malloc'?" in done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((folder / "profile.json").read_text("utf-8"))
    assert found["functions"][0]["name"].startswith("libburning.so+0x")  # its symbol was stripped
    change = found["difference"]["functions"][0]
    assert change["name"] == found["functions"][0]["name"] and change["sure"] and change["base"] == 0
    assert change["change"] > 3 * found["against"]["parts"]["allocator"]["cost"] > 0
    assert found["against"]["flame"] != found["flame"]
    for name in ("difference.svg", found["flame"], found["against"]["flame"]):
        ET.parse(folder / name)
    again = run(root, "larson", f"slow={slow}", *SHORT, "--out", str(folder))
    assert again.returncode == 2 and "holds a profile already" in again.stderr
    assert json.loads((folder / "profile.json").read_text("utf-8")) == found


@pytest.mark.usefixtures("sampling")
@pytest.mark.parametrize("behaviour, reason", [
    (["crash"], "SIGSEGV"), (["provider=jemalloc"], "instead of hakmem"),
])
def test_a_driver_that_fails_under_perf_is_a_sentence(
    bench: Any, behaviour: list[str], reason: str, tmp_path: Path
) -> None:
    bench.behave(other=behaviour)
    done = run(bench.root, "larson", "hakmem", "--drivers", str(bench.folder), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "hakmem can't be profiled" in done.stderr and reason in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("sampling", "larson")
def test_ctrl_c_leaves_nothing(root: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(root / "runner" / "hotspots.py"), "larson", "system", "--duration", "30",
         "--no-build", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(scratch)}, start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not list(scratch.glob("*/system.data")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list(scratch.glob("*/system.data"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Interrupted" in errors and "Traceback" not in errors
    assert list(scratch.iterdir()) == [] and not (tmp_path / "out").exists()


def with_perf(folder: Path, text: str) -> dict[str, str]:
    """Return an environment in which perf is a shell script."""
    folder.mkdir()
    program = folder / "perf"
    program.write_text(f"#!/bin/sh\n{text}\n", "ascii")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_without_perf_it_says_what_to_install(root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "make", "git"):
        for place in ("/bin", "/usr/bin"):
            if os.path.exists(f"{place}/{name}") and not (tools / name).exists():
                (tools / name).symlink_to(f"{place}/{name}")
    done = run(root, "larson", "hakmem", env={"PATH": str(tools)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "perf is not installed" in done.stderr and "linux-perf" in done.stderr


def test_a_perf_that_may_not_sample_is_a_sentence(root: Path, tmp_path: Path) -> None:
    environment = with_perf(tmp_path / "bin", "echo 'Error:' >&2; echo 'Operation not permitted.' >&2; exit 255")
    done = run(root, "larson", "hakmem", "--out", str(tmp_path / "out"), env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "perf" in done.stderr and ("Operation not permitted" in done.stderr or "paranoid" in done.stderr)


@pytest.mark.usefixtures("sampling", "larson")
def test_a_perf_that_records_nothing_is_a_sentence(root: Path, tmp_path: Path) -> None:
    # It works while it is tried, and then runs the driver without sampling.
    environment = with_perf(tmp_path / "bin", """
real=$(PATH=${PATH#*:} command -v perf)
case "$*" in *"-- true") exec "$real" "$@";; evlist*) exec "$real" "$@";; esac
while [ "$1" != "--" ]; do shift; done; shift; exec "$@" """)
    done = run(root, "larson", "system", "--duration", "0.05", "--no-build", "--out", str(tmp_path / "out"),
               env=environment)
    assert done.returncode == 2 and "not under perf record" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments, words", [
    (["larson"], "ALLOCATOR"),
    (["larsn", "hakmem"], "WORKLOAD: 'larsn' is no workload; did you mean 'larson'?"),
    (["redis", "hakmem"], "real program"),
    (["larson", "hakmem", "--matrix", "threads=1,2"], "one value"),
    (["larson", "hakmem", "--duration", "1h"], "--duration"),
    (["larson", "hakmem", "--top", "none"], "--top"),
    (["larson", "hakmem", "--out", ""], "--out"),
    (["larson", "hakmem", "--anotate"], "did you mean '--annotate'?"),
])
def test_wrong_usage_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_hotspot_options(arguments)
    assert words in str(refused.value)


@pytest.mark.parametrize("given, words", [
    ("hakmme", "ALLOCATOR: 'hakmme' is no allocator; did you mean 'hakmem'?"),
    ("hakmem,mimalloc", "--against"),
    ("rev:no-such-revision", "rev:no-such-revision: "),
    ("./no/such/folder", "ALLOCATOR ./no/such/folder: there is no such file or directory"),
])
def test_what_names_nothing_is_refused(root: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_named([("ALLOCATOR", given)], root)
    assert words in str(refused.value) and "--allocators" not in str(refused.value)


def test_a_refusal_is_a_sentence_and_status_2(root: Path, tmp_path: Path) -> None:
    for arguments, words in ((["larson", "hakmem", "--out", "/etc/passwd"], "not a directory"),
                             (["larson", "hakmme"], "did you mean 'hakmem'?")):
        done = run(root, *arguments, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr
        assert done.stderr.startswith("hotspots.py: ") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("sampling", "larson")
def test_a_library_that_is_not_there_is_a_sentence(root: Path, tmp_path: Path) -> None:
    done = run(root, "larson", "mine=/no/such/lib.so", "--no-build", "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and done.stderr.startswith("hotspots.py: mine=/no/such/lib.so: ")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
