"""Reads an ELF shared object: for which machine it is, and which functions it exports.

Only the program headers and the dynamic section are used, which are what the dynamic loader
itself reads, so that a stripped library is understood too.
"""
from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_MACHINES = {3: "i386", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv64", 21: "ppc64"}
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ = 4, 5, 6, 10
_DT_GNU_HASH, _DT_FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFFB
_DF_1_PIE = 0x08000000
_BINDINGS = (1, 2, 10)  # global, weak, unique
_TYPES = (0, 2, 10)  # untyped, function, indirect function
_VISIBILITIES = (0, 3)  # default, protected


class ElfError(ValueError):
    """The file is not a usable ELF object; the text says why, without the file's name."""


@dataclass(frozen=True)
class Architecture:
    """What two objects must share to be loaded into one process."""

    bits: int
    little_endian: bool
    machine: int

    def __str__(self) -> str:
        name = _MACHINES.get(self.machine, f"ELF machine {self.machine}")
        return f"{name}, {self.bits} bits"


class ElfObject:
    """An ELF file in memory. Raises ElfError when it is not one, or is damaged."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF":
            raise ElfError("it is not an ELF object")
        if len(data) < 52 or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise ElfError("its ELF header is damaged")
        self._data = data
        self._wide = data[4] == 2
        self._order = "<" if data[5] == 1 else ">"
        try:
            self._read_headers()
        except (struct.error, OverflowError) as error:
            raise ElfError("it is an ELF object that was cut off") from error

    @classmethod
    def read(cls, path: Path) -> ElfObject:
        """Read a file; raises OSError and ElfError."""
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe or a device may never end
            raise ElfError("it is not a regular file")
        return cls(path.read_bytes())

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        if offset < 0:
            raise ElfError("its ELF header is damaged")
        return struct.unpack_from(self._order + layout, self._data, offset)

    def _read_headers(self) -> None:
        self.kind, machine = self._unpack("HH", 16)
        self.architecture = Architecture(64 if self._wide else 32, self._order == "<", machine)
        if self._wide:
            (table,) = self._unpack("Q", 32)
            entry, count = self._unpack("HH", 54)
        else:
            (table,) = self._unpack("I", 28)
            entry, count = self._unpack("HH", 42)
        self._segments: list[tuple[int, int, int, int]] = []
        for number in range(count):
            at = table + number * entry
            if self._wide:
                kind, _, offset, address, _, size = self._unpack("IIQQQQ", at)
            else:
                kind, offset, address, _, size = self._unpack("IIIII", at)
            self._segments.append((kind, offset, address, size))
        self._dynamic: dict[int, int] = {}
        for kind, offset, _, size in self._segments:
            if kind == _PT_DYNAMIC:
                self._read_dynamic(offset, size)

    def _read_dynamic(self, offset: int, size: int) -> None:
        step = 16 if self._wide else 8
        for at in range(offset, offset + size - step + 1, step):
            tag, value = self._unpack("QQ" if self._wide else "II", at)
            if tag == 0:
                break
            self._dynamic.setdefault(tag, value)

    @property
    def is_shared_library(self) -> bool:
        """True for an object that LD_PRELOAD can load; a program, even one that can be loaded
        anywhere, is none."""
        position_independent_program = self._dynamic.get(_DT_FLAGS_1, 0) & _DF_1_PIE
        return self.kind == _ET_DYN and bool(self._dynamic) and not position_independent_program

    def exported_functions(self) -> set[str]:
        """Return the names of the functions that other objects can bind to."""
        try:
            return self._exported()
        except (struct.error, OverflowError) as error:
            raise ElfError("it is an ELF object that was cut off") from error

    def _exported(self) -> set[str]:
        if _DT_SYMTAB not in self._dynamic or _DT_STRTAB not in self._dynamic:
            return set()
        symbols = self._offset(self._dynamic[_DT_SYMTAB])
        strings = self._offset(self._dynamic[_DT_STRTAB])
        strings_end = strings + self._dynamic.get(_DT_STRSZ, 0)
        step = 24 if self._wide else 16
        names: set[str] = set()
        for number in range(1, self._symbol_count()):
            at = symbols + number * step
            if self._wide:
                name, info, other, section = self._unpack("IBBH", at)
            else:
                name, _, _, info, other, section = self._unpack("IIIBBH", at)
            if (
                section != 0
                and info >> 4 in _BINDINGS
                and info & 15 in _TYPES
                and other & 3 in _VISIBILITIES
            ):
                start = strings + name
                end = self._data.find(b"\0", start, strings_end)
                names.add(self._data[start:end].decode("ascii", "replace") if end > start else "")
        return names

    def _offset(self, address: int) -> int:
        for kind, offset, start, size in self._segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return offset + address - start
        raise ElfError("its dynamic section is damaged")

    def _symbol_count(self) -> int:
        if _DT_HASH in self._dynamic:
            return self._unpack("II", self._offset(self._dynamic[_DT_HASH]))[1]
        if _DT_GNU_HASH not in self._dynamic:
            return 0
        return self._count_by_gnu_hash(self._offset(self._dynamic[_DT_GNU_HASH]))

    def _count_by_gnu_hash(self, at: int) -> int:
        """The table tells no count: it is one behind the end of the chain that begins last."""
        buckets, first, words, _ = self._unpack("IIII", at)
        bucket_at = at + 16 + words * (8 if self._wide else 4)
        last = max(self._unpack(f"{buckets}I", bucket_at), default=0)
        if last < first:
            return first
        chains_at = bucket_at + 4 * buckets
        while not self._unpack("I", chains_at + 4 * (last - first))[0] & 1:
            last += 1
        return last + 1
