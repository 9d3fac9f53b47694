"""No call of the allocator takes more than docs/bounds.md says, and no thread that stops stops others.

HAKMEM_BOUNDS_LONG=1: up to 8 GiB of heap and 4,096 threads (half a minute, 1.3 GiB resident), and longer stops."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = os.environ.get("HAKMEM_BOUNDS_LONG", "0") not in ("", "0")


def run(name: str, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess:
    subprocess.run(["make", "-s", "-C", str(ROOT), name], check=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    return subprocess.run([str(ROOT / "out/release" / name), *arguments], env=env, capture_output=True, text=True,
                          timeout=timeout)


# ---- the work of a call --------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """What docs/bounds.md allows one call."""

    steps: int
    calls: int


@dataclass(frozen=True)
class Worst:
    scale: str
    number: int
    kind: str
    steps: int
    calls: int


def bounds() -> Dict[str, Bound]:
    """The table "What one call may take" of the document."""
    found = {}
    rows = re.findall(r"^\| `?([a-z ]+)`? \| ([\d,]+) \| ([\d,]+) \|$", (
        ROOT / "docs/bounds.md").read_text(), re.M)
    for kind, steps, calls in rows:
        found[kind] = Bound(int(steps.replace(",", "")), int(calls.replace(",", "")))
    return found


@pytest.fixture(scope="module")
def worst() -> List[Worst]:
    scales = ("131072", "4096", "4194304") if LONG else ("4096", "64", "65536")
    done = run("bounds_scale", "--slabs", scales[0], "--threads", scales[1], "--cached", scales[2])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.endswith("done\n")
    lines = re.findall(r"^(\w+) (\d+): ([a-z ]+): at most (\d+) steps, (\d+) system calls", done.stdout, re.M)
    found = [Worst(scale, int(n), kind, int(steps), int(calls)) for scale, n, kind, steps, calls in lines]
    assert {(w.scale, w.number) for w in found} >= {("slabs", int(scales[0])), ("threads", int(scales[1])),
                                                     ("cached", int(scales[2])), ("slabs", 1), ("threads", 1)}
    return found


def test_no_call_takes_more_than_its_bound(worst: List[Worst]) -> None:
    allowed = bounds()
    assert set(allowed) == {w.kind for w in worst} == {"malloc", "free", "realloc", "thread start", "thread end"}
    beyond = []
    for w in worst:
        bound = allowed[w.kind]
        if w.steps > bound.steps or w.calls > bound.calls:
            beyond.append(w)
    assert beyond == []


def test_the_counts_see_what_grows(worst: List[Worst]) -> None:
    """A thread's end goes through its slabs up to 1,024 of them; so a walk on another path would show, too."""
    ends = {w.number: w.steps for w in worst if w.scale == "slabs" and w.kind == "thread end"}
    assert ends[1024] > 3 * ends[256] > 2 * ends[64]
    assert ends[4096] < 1.2 * ends[1024]
    assert 4 * ends[1024] > bounds()["thread end"].steps, "a walk through 4,096 slabs would stay below the bound"


# ---- a thread that stops -------------------------------------------------------------------------


def test_a_thread_stops_at_every_place_and_the_others_go_on() -> None:
    seconds = "120" if LONG else "6"
    done = run("bounds_points", "--seconds", seconds, "--times", "20" if LONG else "1", "--wait-seconds", "10")
    places = re.findall(r"^blocked at (0x\w+)", done.stdout, re.M)
    where = ""
    if places and shutil.which("addr2line"):
        where = subprocess.run(["addr2line", "-f", "-i", "-e", str(ROOT / "out/release/bounds_points"), *places],
                               capture_output=True, text=True).stdout
    assert done.returncode == 0, done.stdout + done.stderr + where
    stops, seen = map(int, re.search(r"^(\d+) stops at (\d+) places", done.stdout, re.M).groups())
    assert stops >= 20 and seen >= 300  # a loaded machine comes to less


def test_a_lock_in_the_way_is_found() -> None:
    done = run("bounds_points", "--seconds", "2", "--wait-seconds", "1", "--planted", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^blocked at 0x", done.stdout, re.M)
    assert done.stdout.endswith("a thread that stops stops others\n")


def test_a_thread_stopped_by_a_signal_keeps_nobody_waiting() -> None:
    done = run("bounds_signals", "--seconds", "60" if LONG else "4", "--wait-seconds", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    stops, blocking = map(int, re.search(r"(\d+) stops inside malloc or free, (\d+) of which", done.stdout).groups())
    assert stops >= 3 and blocking == 0


# ---- the programs --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("bounds_scale", ["--slabs", "0"], "--slabs needs a whole number from 1 to 131072, not '0'"),
    ("bounds_scale", ["--threads", "4097"], "--threads needs a whole number from 1 to 4096, not '4097'"),
    ("bounds_points", ["--planted", "2"], "--planted needs a whole number from 0 to 1, not '2'"),
    ("bounds_signals", ["--calls"], "--calls needs a whole number from 1 to 100000000, not ''"),
])
def test_wrong_arguments_get_one_sentence(name: str, arguments: List[str], message: str) -> None:
    done = run(name, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{name}: {message}\n")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    for source in sorted((ROOT / "tests/bounds").glob("*.c")):
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
                 "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror", "-fsyntax-only",
                 f"-I{ROOT}/allocator", f"-I{ROOT}/allocator/include"]
        done = subprocess.run([compiler, *flags, str(source)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
