"""Writes trace files by hand, as workloads/trace/trace_format.h describes them."""

from __future__ import annotations

import atexit
import random
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

MALLOC, CALLOC, ALIGNED, NEW, FREE, DELETE = 1, 2, 3, 4, 6, 7
REALLOC, MOVED, STAYED, FAILED, RELEASED = 8, 9, 10, 11, 12
NULL = 15
CLOCK_NS, CLOCK_ORDER = 1, 3
UNIT = 4096
START = 1_000_000


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


class TraceWriter:
    """Collects calls in the order in which they are made; each comes `step` ns after the one before."""

    def __init__(self, step: int = 100, clock: int = CLOCK_NS) -> None:
        self.step, self.clock = step, clock
        self.now = START
        self._records: Dict[int, bytearray] = {}
        self._last: Dict[int, int] = {}

    def record(self, thread: int, kind: int, address: Optional[int] = None, size: int = 0, more: bytes = b"",
               null: bool = False) -> None:
        self.now += self.step
        time = _number(self.now - self._last.get(thread, START)) or b"\0"
        assert len(time) <= 4
        place = b"" if address is None else _number(address)
        amount = _number(size)
        head = bytes([kind | (len(time) - 1) << 4 | 0x80, (NULL if null else len(place)) | len(amount) << 4])
        self._records.setdefault(thread, bytearray()).extend(head + time + place + amount + more)
        self._last[thread] = self.now

    def malloc(self, thread: int, address: int, size: int) -> None:
        self.record(thread, MALLOC, address, size)

    def calloc(self, thread: int, address: int, size: int) -> None:
        self.record(thread, CALLOC, address, size)

    def aligned(self, thread: int, address: int, size: int, power: int) -> None:
        self.record(thread, ALIGNED, address, size, bytes([power]))

    def free(self, thread: int, address: int) -> None:
        self.record(thread, FREE, address)

    def free_null(self, thread: int) -> None:
        self.record(thread, FREE, null=True)

    def fail(self, thread: int, size: int) -> None:
        self.record(thread, MALLOC, size=size, null=True)

    def realloc(self, thread: int, old: Optional[int], new: int, size: int) -> None:
        self.record(thread, REALLOC, old, null=old is None)
        if new == old:
            self.record(thread, STAYED, size=size, null=True)
        else:
            self.record(thread, MOVED, new, size)

    def realloc_to_nothing(self, thread: int, old: int) -> None:
        self.record(thread, REALLOC, old)
        self.record(thread, RELEASED, null=True)

    def contents(self) -> bytes:
        chunks: List[bytes] = []
        for thread in sorted(self._records):
            records = bytes(self._records[thread])
            room = (64 + len(records) + 32 + UNIT - 1) // UNIT * UNIT
            head = struct.pack("<IIIIIiQQ16sQ", 0x6D676573, thread, 0, room, 64 + len(records), 100 + thread,
                               START, START, b"thread", 0)
            chunks.append((head + records).ljust(room, b"\0"))
        end = UNIT + sum(map(len, chunks))
        head = b"haktrace" + struct.pack(
            "<IIIIIIQiIQQQQQQQQQiIQIIQiIQ", 1, 0x01020304, UNIT, UNIT, self.clock, 4096, 7, 42, 64, 1, 10**18, START, START,
            START, START, 0, 0, 0, 0, 0xFFFFFFFF, end, len(chunks), 0, 0, 0, 0, self.now + 1,
        )
        return head.ljust(4096, b"\0") + b"".join(chunks)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.contents())
        return path


_folder: List[Path] = []


def made_trace(name: str, largest: int, smallest: int = 1) -> Path:
    """A trace of 10,000 blocks, each freed by one of two threads; it is there until Python ends."""
    if not _folder:
        _folder.append(Path(tempfile.mkdtemp(prefix="hakmem-traces-")))
        atexit.register(shutil.rmtree, _folder[0], ignore_errors=True)
    choose, trace = random.Random(name), TraceWriter()
    live: List[int] = []
    for number in range(10000):
        live.append(0x1000 * (number + 1))
        trace.malloc(number % 2, live[-1], choose.randint(smallest, largest))
        if len(live) > 200:
            trace.free(choose.randrange(2), live.pop(choose.randrange(len(live))))
    for number, address in enumerate(live):
        trace.free(number % 2, address)
    return trace.write(_folder[0] / f"{name}.trace")
