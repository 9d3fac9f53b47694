"""Good code that looks like a mistake: nothing may be found in it."""
from __future__ import annotations

from pathlib import Path

import pytest

from freelist_trees import compiles, found_in, make_tree, sections

TRAPS = sections("freelist_traps.txt")


@pytest.mark.parametrize("name", TRAPS)
def test_good_code_is_left_alone(name: str, tmp_path: Path) -> None:
    make_tree(tmp_path, TRAPS[name])
    assert compiles(tmp_path / "heap/code.c")
    assert found_in(tmp_path) == set()


def test_odd_files_are_read(tmp_path: Path) -> None:
    """Nothing that a file may hold stops the tools."""
    make_tree(tmp_path, heap__odd_dot_c="int x; /* never closed s->freelist",
              heap__empty_dot_h="", heap__half_dot_h='#define A(x\n#if\n#elif\n"open\nstruct {',
              heap__lines_dot_h="int a;\r\n#define B \\\r\n  1\r\n")
    (tmp_path / "heap/bytes.h").write_bytes(b"/* \xff\xfe\x00 */ static const char c[] = \"\xe9\";\n")
    assert found_in(tmp_path) == set()
