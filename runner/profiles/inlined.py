"""Looks up which functions were inlined at an address, and its line of source: with addr2line, out of
the debugging information where an object has any."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.execute import run_program
from runner.interrupts import Interrupts
from runner.profiles.perf_script import Names, RawSample

PROGRAM = "addr2line"
MISSING = "Inlined functions are not shown: addr2line is not installed (Debian: binutils)."
_AT_ONCE = 2000  # addresses, so that no answer is longer than what is kept of a program's output
_SECONDS = 120.0


@dataclass(frozen=True)
class Line:
    """One function at an address, with its line of source ("?" where that is not known)."""

    function: str
    source: str


@dataclass(frozen=True)
class Lookup:
    """What looking up needs: the objects' tables, a folder for lists, and how programs are run."""

    names: Names
    scratch: Path
    environment: Mapping[str, str]
    interrupts: Interrupts


def inlined_functions(
    samples: Iterable[RawSample], wanted: Callable[[str], bool], lookup: Lookup
) -> dict[tuple[str, int], Sequence[str]]:
    """Return by object and place in its file the functions that were inlined there, the innermost
    first; without those places where there are none, and objects that are not `wanted`."""
    offsets: dict[str, set[int]] = {}
    for sample in samples:
        for frame in sample.frames:
            if frame.object.startswith("/"):
                offsets.setdefault(frame.object, set()).add(frame.offset)
    found: dict[tuple[str, int], Sequence[str]] = {}
    for path, places in sorted(offsets.items()):
        code = lookup.names.map_of(path) if wanted(path) else None
        if code is None:
            continue
        by_address = {code.address_of(offset): offset for offset in places}
        lines = source_lines(path, sorted(by_address), lookup)
        for address, chain in lines.items():
            if len(chain) > 1:
                found[path, by_address[address]] = tuple(line.function for line in chain[:-1])
    return found


def source_lines(path: str, addresses: Sequence[int], lookup: Lookup) -> dict[int, list[Line]]:
    """Return the functions at each address of an object, the innermost inlined one first and the one
    that they were inlined into last. Raises Interrupted."""
    program = shutil.which(PROGRAM)
    if program is None:
        return {}
    found: dict[int, list[Line]] = {}
    listing = lookup.scratch / "addresses"
    for begin in range(0, len(addresses), _AT_ONCE):
        listing.write_text("\n".join(hex(a) for a in addresses[begin:begin + _AT_ONCE]), "ascii")
        outcome = run_program(
            [program, "-a", "-f", "-i", "-C", "-e", path, f"@{listing}"],
            {**lookup.environment, "LC_ALL": "C"}, _SECONDS, lookup.interrupts,
        )
        if outcome.status != 0:
            break
        found.update(_parse(outcome.output.decode("utf-8", "replace").splitlines()))
    return found


def _parse(lines: Sequence[str]) -> dict[int, list[Line]]:
    """An answer is the address, then function and place in turns."""
    found: dict[int, list[Line]] = {}
    chain: list[Line] = []
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            chain = found.setdefault(int(lines[at], 16), [])
            at += 1
        elif at + 1 < len(lines):
            source = lines[at + 1].split(" (discriminator")[0]
            chain.append(Line(lines[at], "?" if source.startswith("??") else source))
            at += 2
        else:
            break
    return {address: chain for address, chain in found.items() if chain and chain[0].function != "??"}
