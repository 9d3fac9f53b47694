"""Where in memory the kernel keeps the files that a sample runs.

A program's code runs from the pages of the system's file cache, and these stay where they happened to be put when
the file was first read: in every sample the same, lucky or not. A library has measured 0.74 of the throughput of
its own copy, byte for byte the same, run after run, until the cache was dropped. No interval tells that from a
slower build. So each round has the files put somewhere else: what luck there is, is then noise like any other.
"""
from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_CHUNK = 1 << 20  # bytes


def move_pages(path: Path) -> bool:
    """Have the kernel forget its pages of a file, and read it into others.

    Pages that another process has mapped stay where they are, as do those of a file system that lies in
    memory. False if the file can't be read: whoever runs it will say why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.fsync(descriptor)  # what isn't on the disk yet can't be forgotten
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(descriptor, _CHUNK):
            pass
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


class FreshPages:
    """Moves the pages of each file once a round."""

    def __init__(self) -> None:
        self._moved: dict[str, int] = {}

    def begin(self, round_number: int, paths: Iterable[Path]) -> None:
        """A sample of a round is about to run these files. Rounds never go back."""
        for path in paths:
            if self._moved.get(str(path)) != round_number:
                self._moved[str(path)] = round_number
                move_pages(path)
