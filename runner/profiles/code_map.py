"""Finds the function that an address of an ELF object lies in, even where its symbols were stripped.

Names come from the dynamic symbol table, which no shared library can do without. What is not in it
still has an entry in the table for unwinding (.eh_frame_hdr; Linux Standard Base, core, 10.6.2), which
tells where each function begins and how long it is, though not what it is called.
"""
from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.elf_object import ElfError, ElfObject

# Of several names of one function the first of these is meant: they are what programs call.
WELL_KNOWN = ("malloc", "free", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc",
              "malloc_usable_size")
_PT_LOAD, _PT_GNU_EH_FRAME = 1, 0x6474E550
_FUNCTION_TYPES = (2, 10)
_UDATA4, _PCREL_SDATA4, _DATAREL_SDATA4 = 0x03, 0x1B, 0x3B
_MOST_FUNCTIONS = 1_000_000


@dataclass(frozen=True)
class Function:
    """A function: its addresses as the object itself counts them, and its name where it has one."""

    start: int
    end: int
    name: Optional[str]


class CodeMap(ElfObject):
    """The functions of an object. Raises ElfError when it is damaged."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        found: dict[int, Function] = {}
        try:
            for function in self._unwound():
                found[function.start] = function
            for start, size, name in self._symbols():
                known = found.get(start)
                end = start + size if size else known.end if known else start + 1
                if known is None or known.name is None or _rank(name) < _rank(known.name):
                    found[start] = Function(start, end, name)
        except (struct.error, OverflowError, IndexError) as error:
            raise ElfError("its tables of functions are damaged") from error
        self._functions = sorted(found.values(), key=lambda function: function.start)
        self._starts = [function.start for function in self._functions]

    def address_of(self, offset: int) -> int:
        """Return the address at which a place in the file is loaded; the offset itself if nowhere."""
        for kind, begin, address, size in self._segments:
            if kind == _PT_LOAD and begin <= offset < begin + size:
                return offset - begin + address
        return offset

    def function_at(self, address: int) -> Optional[Function]:
        """Return the function that an address lies in, None if it lies in none that is known."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at >= 0 and self._functions[at].start <= address < self._functions[at].end:
            return self._functions[at]
        return None

    def _symbols(self) -> list[tuple[int, int, str]]:
        """Return address, size and name of the functions in the dynamic symbol table."""
        if 6 not in self._dynamic or 5 not in self._dynamic:
            return []
        symbols, strings = self._offset(self._dynamic[6]), self._offset(self._dynamic[5])
        step = 24 if self._wide else 16
        found: list[tuple[int, int, str]] = []
        for number in range(1, min(self._symbol_count(), _MOST_FUNCTIONS)):
            at = symbols + number * step
            if self._wide:
                name, info, _, section, value, size = self._unpack("IBBHQQ", at)
            else:
                name, value, size, info, _, section = self._unpack("IIIBBH", at)
            if section != 0 and info & 15 in _FUNCTION_TYPES:
                end = self._data.find(b"\0", strings + name)
                found.append((value, size, self._data[strings + name:end].decode("ascii", "replace")))
        return found

    def _unwound(self) -> list[Function]:
        """Return the functions in the table for unwinding; none where it has an unusual form."""
        header = next((s for s in self._segments if s[0] == _PT_GNU_EH_FRAME), None)
        if header is None:
            return []
        _, offset, address, _ = header
        if tuple(self._data[offset:offset + 4]) != (1, _PCREL_SDATA4, _UDATA4, _DATAREL_SDATA4):
            return []
        (count,) = self._unpack("I", offset + 8)
        found: list[Function] = []
        for number in range(min(count, _MOST_FUNCTIONS)):
            start, entry = self._unpack("ii", offset + 12 + 8 * number)
            # An entry is: its length, its common part, where the code begins, how long it is.
            at = self._offset(address + entry)
            (length,) = self._unpack("I", at + 12)
            found.append(Function(address + start, address + start + length, None))
        return found


def _rank(name: str) -> tuple[int, int, str]:
    """What sorts first is the name to show."""
    known = WELL_KNOWN.index(name) if name in WELL_KNOWN else len(WELL_KNOWN)
    return known, len(name) - len(name.lstrip("_")), name


def read_code_map(path: Path) -> Optional[CodeMap]:
    """Return the functions of a file, None if it can't be read or is no ELF object."""
    try:
        found = CodeMap.read(path)
    except (OSError, ElfError):
        return None
    assert isinstance(found, CodeMap)
    return found
