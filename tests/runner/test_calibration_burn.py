"""The test build that burns: the right number of instructions, one constant of difference, and nothing of
it in a build without the macro."""
from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.calibrating.burn import BURN_EVERY, INSTRUCTIONS_PER_ROUND, BurnWorkshop
from runner.errors import UsageError
from runner.interrupts import Interrupts

ROUNDS = (0, 64, 1000)
_PROGRAM = """
#include <stdlib.h>
int main(int count, char **words) {
    for (int left = atoi(words[1]); left > 0; left--) {
        char *volatile block = malloc(64);
        *block = 1;
        free(block);
    }
    return count - 2;
}
"""


@pytest.fixture(scope="module")
def burning(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    """Libraries by their rounds. Compiled without optimisation, which is faster to do and the same here."""
    folder = tmp_path_factory.mktemp("burning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CFLAGS", "-O0 -g0 -Werror")
        workshop = BurnWorkshop(root, Interrupts())
        try:
            for rounds in ROUNDS:
                workshop.build(rounds, folder / f"burn-{rounds:09d}.so")
            with pytest.raises(ValueError):
                workshop.build(-1, folder / "no.so")
            patch.setenv("CFLAGS", "--no-such-option")
            with pytest.raises(UsageError, match="could not be built"):
                workshop.build(1, folder / "no.so")
        finally:
            workshop.close()
    assert not (folder / "no.so").exists()
    yield {rounds: folder / f"burn-{rounds:09d}.so" for rounds in ROUNDS}


def _disassembly(file: Path, *options: str) -> list[str]:
    if not shutil.which("objdump"):
        pytest.skip("objdump is not installed")
    text = subprocess.run(
        ["objdump", "-d", *options, str(file)], capture_output=True, text=True, check=True
    ).stdout
    return text.splitlines()[3:]


def test_libraries_differ_in_one_constant_alone(burning: dict[int, Path]) -> None:
    none, some = _disassembly(burning[0]), _disassembly(burning[64])
    assert len(none) == len(some)
    different = [(a, b) for a, b in zip(none, some) if a != b]
    assert different
    for before, after in different:
        assert re.search(r"\bmov\b.*\$0x80,%", before), before
        assert after.replace("c0 00 00 00", "80 00 00 00").replace("$0xc0,", "$0x80,") == before


def test_instructions_rise_by_exactly_what_is_burnt(burning: dict[int, Path], tmp_path: Path) -> None:
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(_PROGRAM)
    subprocess.run(["gcc", "-O1", "-fno-builtin", str(source), "-o", str(program)], check=True)

    def instructions(rounds: int, count: int) -> int:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(count)],
            env={"LD_PRELOAD": str(burning[rounds]), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            check=False,
        )
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert done.returncode == 0 and found, done.stderr
        return int(found[1])

    mallocs = 100 * BURN_EVERY
    more = {r: instructions(r, mallocs) - instructions(r, 0) for r in (0, 1000)}
    expected = 100 * 1000 * INSTRUCTIONS_PER_ROUND
    assert abs(more[1000] - more[0] - expected) <= 20  # what starting a process costs varies by a few


@pytest.mark.parametrize("file", ["api/api.c", "interpose/interpose.c"])
def test_a_build_without_the_macro_has_nothing_of_it(file: str, root: Path, tmp_path: Path) -> None:
    tree = tmp_path / "allocator"
    shutil.copytree(root / "allocator", tree)
    fast_path = tree / "api" / "fast_path.h"
    text = fast_path.read_text()
    assert text.count("burn") == 2  # the file and the call
    fast_path.write_text("\n".join("" if "burn" in line else line for line in text.splitlines()) + "\n")

    def compiled(allocator: Path) -> list[str]:
        made = tmp_path / "made.o"
        subprocess.run(
            ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-fno-plt", "-fno-builtin-malloc",
             "-fvisibility=hidden", "-ftls-model=initial-exec", "-fno-semantic-interposition", "-I.",
             "-Iinclude", "-c", file, "-o", str(made)],
            cwd=allocator, capture_output=True, check=True,
        )
        return _disassembly(made, "-r")

    assert len(compiled(tree)) > 100
    assert compiled(root / "allocator") == compiled(tree)


def test_a_tree_without_the_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(UsageError, match="burn.h"):
        BurnWorkshop(tmp_path, Interrupts())
