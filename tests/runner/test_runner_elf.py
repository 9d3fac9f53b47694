"""Tests of reading ELF files: real libraries, other machines, cut and random bytes."""
from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.elf_object import ElfError, ElfObject


def test_exports_of_a_library(whole_allocator: Path) -> None:
    found = ElfObject.read(whole_allocator)
    assert found.is_shared_library
    assert {"malloc", "free", "calloc", "realloc"} <= found.exported_functions()
    assert "__libc_malloc" not in found.exported_functions()  # used, not exported


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize("stripped", [False, True])
def test_both_hash_tables_and_stripped_libraries(compile_library, style: str, stripped: bool) -> None:
    text = "".join(f"int f{n}(void) {{ return {n}; }}\n" for n in range(50))
    text += "__attribute__((visibility(\"hidden\"))) int secret(void) { return 1; }\n"
    text += "__attribute__((weak)) int soft(void) { return secret(); }\nint data = 3;\n"
    library = compile_library("lib.so", text, f"-Wl,--hash-style={style}")
    if stripped:
        subprocess.run(["strip", str(library)], check=True)
    found = ElfObject.read(library).exported_functions()
    assert {f"f{n}" for n in range(50)} | {"soft"} <= found
    assert "secret" not in found and "data" not in found


def test_a_library_that_exports_nothing(compile_library) -> None:
    library = compile_library("none.so", "static int x; int *f(void); ", "-nostdlib")
    assert ElfObject.read(library).exported_functions() == set()


def test_a_program_is_no_library() -> None:
    assert not ElfObject.read(Path(sys.executable).resolve()).is_shared_library
    assert not ElfObject.read(Path(shutil.which("env") or "/usr/bin/env")).is_shared_library


def test_architectures_differ(whole_allocator: Path) -> None:
    data = bytearray(whole_allocator.read_bytes())
    ours = ElfObject(bytes(data)).architecture
    struct.pack_into("<H", data, 18, 183 if ours.machine != 183 else 62)
    assert ElfObject(bytes(data)).architecture != ours


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF", b"\x7fELF" + b"\0" * 60, b"!<arch>\n"])
def test_what_is_no_elf_object(data: bytes) -> None:
    with pytest.raises(ElfError):
        ElfObject(data)


def test_cut_libraries_never_break_the_reader(whole_allocator: Path) -> None:
    data = whole_allocator.read_bytes()
    for length in range(0, len(data), 7):
        try:
            ElfObject(data[:length]).exported_functions()
        except ElfError:
            pass


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_never_break_the_reader(whole_allocator: Path, data: st.DataObject) -> None:
    content = bytearray(whole_allocator.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(4000, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    try:
        found = ElfObject(bytes(content))
        assert isinstance(found.is_shared_library, bool)
        found.exported_functions()
    except ElfError:
        pass
