"""The hit paths of malloc, free and C++'s new and delete in the shared library: so many instructions, and none that
costs: read from the disassembly, and counted by valgrind as a program runs them."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "out/release/libhakmem.so"

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the figures are those of x86-64")

# The return included: 14 without the mark of free blocks, and 11 without the checks of the pointer.
MOST = {"malloc": 15, "hak_malloc": 15, "_Znwm": 15, "free": 18, "hak_free": 18, "_ZdlPv": 18}
COUNTED = 200_000


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.so"], check=True, timeout=600)
    return LIBRARY


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def instructions(function: str) -> List[str]:
    """A function's instructions, in order of address."""
    place = re.search(rf"^([0-9a-f]+) ([0-9a-f]+) [TW] {function}$", output("nm", "-DS", LIBRARY), re.M)
    assert place, f"{function} is not exported"
    start, size = (int(number, 16) for number in place.groups())
    listing = output(
        "objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={start + size}", LIBRARY
    )
    return re.findall(r"^ +[0-9a-f]+:\t(.*\S)", listing, re.M)


def hit_path(function: str) -> List[str]:
    """From the beginning to the first return, no jump taken: what leaves is the rare case."""
    path = []
    for instruction in instructions(function):
        path.append(instruction)
        if instruction.startswith("ret"):
            return path
    raise AssertionError(f"{function} doesn't return")


@pytest.mark.parametrize("function", MOST)
def test_the_hit_path_begins_at_its_place_in_a_cache_line(function: str) -> None:
    """Else a change elsewhere moves it, and costs or gains up to 4% of a driver's throughput."""
    start = int(re.search(rf"^([0-9a-f]+) [TW] {function}$", output("nm", "-D", LIBRARY), re.M).group(1), 16)
    assert start % 64 == (16 if MOST[function] == MOST["malloc"] else 32)


@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is not installed (binutils)")
@pytest.mark.parametrize("function", MOST)
def test_the_hit_path_is_short(function: str) -> None:
    path = hit_path(function)
    listing = "\n".join(path)
    assert len(path) <= MOST[function], listing
    for instruction in path:
        name = instruction.split()[0]
        assert not name.startswith(("call", "jmp", "push", "pop", "lock", "xchg", "rep")), listing
        assert not re.search(r"%[er]sp\b", instruction), f"a stack frame:\n{listing}"
        assert not re.search(r"cmpxchg|xadd|mfence|lfence|sfence", name), listing
    jumps = [instruction for instruction in path if instruction.startswith("j")]
    assert len(jumps) == 2, listing


SOURCE = """
#include <stdlib.h>
int main(int count, char **words) {
    long times = atol(words[1]);
    void *volatile block = NULL;
    free(malloc(100)); /* the thread has its magazine */
    for (long i = 0; i < times; i++) {
        %s
    }
    return block != NULL;
}
"""


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_a_hit_takes_as_many_as_the_disassembly_says(tmp_path: Path) -> None:
    """So what was read above is what a program runs. Linked, since LD_PRELOAD takes a space in a path for its end."""
    shutil.copy(LIBRARY, tmp_path / "libhakmem.so.0")

    def counted(name: str, body: str) -> int:
        (tmp_path / f"{name}.c").write_text(SOURCE % body)
        flags = ["-O1", "-fno-builtin-malloc", "-fno-builtin-free", "-Wl,-z,now"]
        linked = ["./libhakmem.so.0", "-Wl,-rpath,$ORIGIN", "-o", name]
        subprocess.run(["gcc", *flags, f"{name}.c", *linked], cwd=tmp_path, check=True)
        totals = []
        for times in (0, COUNTED):
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"./{name}", str(times)],
                cwd=tmp_path,
                env={"PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                timeout=120,
            )
            found = re.search(r"Collected : (\d+)", done.stderr)
            assert done.returncode == 0 and found, done.stderr
            totals.append(int(found[1]))
        return totals[1] - totals[0]

    pair = "block = malloc(100); free(block); block = NULL;"
    nothing = "block = (void *)100; block = NULL;"
    # Beside them the loop moves the argument, calls and jumps: from 5 to 10 instructions.
    both = (counted("pair", pair) - counted("nothing", nothing)) / COUNTED
    most = len(hit_path("malloc")) + len(hit_path("free"))
    assert most + 3 <= both <= most + 10.5
