"""Ends the processes that have a library mapped; as a program, when the tests are gone, however they ended.

    guardian.py FOLDER WITNESS   waits for the end of its standard input, then ends every process that
                                 has WITNESS mapped, and removes FOLDER
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Iterator


def processes_with(mapped: Path) -> Iterator[int]:
    """Processes that have the file mapped."""
    needle = str(mapped).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if needle in Path("/proc", entry, "maps").read_bytes():
                    yield int(entry)
            except OSError:
                continue


def end_processes_with(mapped: Path, seconds: float = 10) -> None:
    """Ends them all; some start others meanwhile, so it looks again until there is none."""
    deadline = time.monotonic() + seconds
    while (left := list(processes_with(mapped))) and time.monotonic() < deadline:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.05)


def main() -> None:
    folder, witness = map(Path, sys.argv[1:])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.read()
    end_processes_with(witness)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
