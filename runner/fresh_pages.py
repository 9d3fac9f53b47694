"""Where in memory the kernel keeps the files that a sample runs.

A program's code runs from the pages of the system's file cache, and these stay where they happened to be put when
the file was first read: in every sample the same, lucky or not. A library has measured 0.74 of the throughput of
its own copy, byte for byte the same, run after run, until the cache was dropped. No interval tells that from a
slower build. So each round has the files put somewhere else: what luck there is, is then noise like any other.
"""
from __future__ import annotations

import contextlib
import mmap
import os
import random
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_CHUNK = 1 << 20  # bytes
# Pages that come free are the first to be given out again: without something that takes them, and as many more, a
# file would get its own ones back.
_TAKEN_LEAST, _TAKEN_MOST = 8 << 20, 16 << 20  # bytes


def move_pages(paths: Iterable[Path]) -> list[Path]:
    """Have the kernel forget its pages of files, and read these into others; return the files for which
    that was done.

    Pages that another process has mapped stay where they are, as do those of a file system that lies in
    memory. A file that can't be read is left to whoever runs it, who will say why.
    """
    opened = []
    try:
        for path in paths:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                opened.append((path, descriptor))
        files = [(path, descriptor) for path, descriptor in opened if stat.S_ISREG(os.fstat(descriptor).st_mode)]
        for _, descriptor in files:
            with contextlib.suppress(OSError):  # file systems that only read have nothing to write
                os.fsync(descriptor)  # what isn't on the disk yet can't be forgotten
            with contextlib.suppress(OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with _taken_memory():
            return [path for path, descriptor in files if _read(descriptor)]
    finally:
        for _, descriptor in opened:
            os.close(descriptor)


def _read(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        while os.read(descriptor, _CHUNK):
            pass
        return True
    return False


@contextlib.contextmanager
def _taken_memory() -> Iterator[None]:
    """Hold a random amount of memory, in small pages."""
    size = random.randrange(_TAKEN_LEAST, _TAKEN_MOST, mmap.PAGESIZE)
    with mmap.mmap(-1, size) as memory:
        with contextlib.suppress(OSError, AttributeError):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        for place in range(0, size, mmap.PAGESIZE):
            memory[place] = 1
        yield


class FreshPages:
    """Moves the pages of files once a round."""

    def __init__(self) -> None:
        self._moved: dict[Path, int] = {}

    def begin(self, round_number: int, paths: Iterable[Path]) -> None:
        """A sample of a round is about to be taken, in which these files will be run. Rounds never go back."""
        due = [path for path in dict.fromkeys(paths) if self._moved.get(path) != round_number]
        self._moved.update(dict.fromkeys(due, round_number))
        if due:
            move_pages(due)
