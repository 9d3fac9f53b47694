"""Tests that each round runs its files from other pages of the kernel's file cache."""
from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
from pathlib import Path

import pytest

from runner import fresh_pages
from runner.fresh_pages import FreshPages, move_pages


def resident_pages(path: Path) -> int:
    """How many of a file's pages are in the kernel's cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        pages = len(view) // mmap.PAGESIZE
        held = (ctypes.c_ubyte * pages)()
        begin = ctypes.c_char.from_buffer(view)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(view)), held)
        del begin
        assert not failed, os.strerror(ctypes.get_errno())
        return sum(each & 1 for each in held)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a library.so"
    path.write_bytes(os.urandom(64 * mmap.PAGESIZE))
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        pytest.skip(f"a file of {kind} has no other pages than its own")
    return path


def test_a_file_that_was_just_written_leaves_its_pages(written, monkeypatch) -> None:
    assert resident_pages(written) == 64
    before, at_first_read, read = written.read_bytes(), [], os.read

    def watched(descriptor: int, count: int) -> bytes:
        if not at_first_read:
            at_first_read.append(resident_pages(written))
        return read(descriptor, count)

    monkeypatch.setattr(fresh_pages.os, "read", watched)
    assert move_pages([written]) == [written]
    monkeypatch.undo()
    assert at_first_read == [0]
    assert resident_pages(written) == 64, "a sample would wait for the disk"
    assert written.read_bytes() == before


def test_files_that_cannot_be_read_are_left_to_those_who_run_them(tmp_path) -> None:
    empty, pipe = tmp_path / "empty", tmp_path / "pipe"
    empty.touch()
    os.mkfifo(pipe)
    assert move_pages([tmp_path / "missing", tmp_path, pipe, Path("/dev/zero"), empty]) == [empty]


def test_a_file_system_without_fsync_is_no_obstacle(written, monkeypatch) -> None:
    def refuses(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    os.sync()
    asked = []
    monkeypatch.setattr(fresh_pages.os, "fsync", refuses)
    monkeypatch.setattr(fresh_pages.os, "posix_fadvise", lambda *words: asked.append(words))
    assert move_pages([written]) == [written]
    assert len(asked) == 1


def test_each_file_moves_once_a_round(monkeypatch) -> None:
    moved = []
    monkeypatch.setattr(fresh_pages, "move_pages", moved.append)
    pages = FreshPages()
    larson, mixed, library = Path("larson"), Path("mixed"), Path("library")
    pages.begin(1, [larson, library, Path("larson")])
    pages.begin(1, [mixed, library])
    pages.begin(1, [larson, library])
    assert moved == [[larson, library], [mixed]]
    pages.begin(2, [larson, library])
    assert moved[2:] == [[larson, library]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask where in memory a page lies")
def test_the_pages_are_others_each_time(written) -> None:
    def places() -> list[int]:
        with written.open("r+b") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED) as view:
            begin = ctypes.c_char.from_buffer(view)
            first = ctypes.addressof(begin) // mmap.PAGESIZE
            del begin
            for page in range(64):
                view[page * mmap.PAGESIZE]
            with open("/proc/self/pagemap", "rb") as table:
                table.seek(8 * first)
                entries = table.read(8 * 64)
        frames = (1 << 55) - 1
        return [int.from_bytes(entries[8 * i:8 * i + 8], "little") & frames for i in range(64)]

    found = [places()]
    if not any(found[0]):
        pytest.skip("the kernel doesn't tell where pages lie")
    for _ in range(8):
        move_pages([written])
        found.append(places())
    # By chance some come back, but not the same ones in turn.
    distinct = sorted(len(set(page)) for page in zip(*found))
    assert distinct[len(distinct) // 2] >= 5, distinct
