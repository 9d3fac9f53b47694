"""Reads the samples of a perf.data file, through `perf script`, as stacks of frames."""
from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.profiles.code_map import WELL_KNOWN, CodeMap, read_code_map
from runner.counters import PerfStat
from runner.errors import UsageError
from runner.execute import run_program
from runner.interrupts import Interrupts
from runner.profiles.profiling import find_perf

UNKNOWN = "[unknown]"
_SCRIPT_SECONDS = 300.0
_OBJECT = re.compile(r"(.*) \(([/\[].*)\)")
_VERSION = re.compile(r"@@?[A-Za-z][A-Za-z0-9_.]*$")
# The C library's own names of functions that everyone knows by another.
_SAME = {"cfree": "free", "__libc_memalign": "memalign",
         **{f"__libc_{name}": name for name in WELL_KNOWN}}


@dataclass(frozen=True)
class Frame:
    """One function in a stack. `object` is the path of what it lies in, or perf's word in brackets."""

    name: str
    object: str
    inlined: bool = False


@dataclass(frozen=True)
class RawFrame:
    """One line of `perf script`: the place in the object's file, the symbol, and the object."""

    offset: int
    symbol: str
    object: str


@dataclass(frozen=True)
class RawSample:
    """One sample as `perf script` prints it: the innermost frame first."""

    command: str
    period: int
    frames: tuple[RawFrame, ...]


@dataclass(frozen=True)
class StackSample:
    """One sample with all functions named: the stack from the innermost frame outwards, what it counts
    for, and the place of the instruction in its object's file."""

    command: str
    period: int
    frames: tuple[Frame, ...]
    offset: int


def write_script(
    data: Path, text: Path, environment: Mapping[str, str], interrupts: Interrupts
) -> None:
    """Write what `perf script` has to say of `data` into the file `text`; raises UsageError and
    Interrupted. Inlined functions are looked up elsewhere (inlined.py): perf takes a function with two
    names for an inlined one, and malloc often has two."""
    command = [find_perf(), "script", "--no-inline", "-i", str(data), "-F", "comm,period,ip,sym,dso"]
    # A shell writes the file: the text is far longer than what is kept of a program's output.
    outcome = run_program(
        ["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(text), *command],
        PerfStat.environment(environment), _SCRIPT_SECONDS, interrupts,
    )
    if outcome.status != 0:
        said = "it took too long" if outcome.timed_out else (outcome.error_lines or ["no message"])[-1]
        raise UsageError(f"perf script can't read what was recorded ({said.strip().rstrip('.')}).")


def read_script(lines: Iterable[str]) -> Iterator[RawSample]:
    """Return the samples in the text of `perf script`."""
    header: Optional[tuple[str, int]] = None
    frames: list[RawFrame] = []
    known: dict[str, RawFrame] = {}
    for line in itertools.chain(lines, [""]):
        if header is not None and line[:1].isspace() and line.strip():
            frame = known.get(line)
            if frame is None:
                frame = known[line] = _frame(line)
            frames.append(frame)
            continue
        if header is not None and frames:
            yield RawSample(header[0], header[1], tuple(frames))
        header, frames = _header(line), []


def _header(line: str) -> Optional[tuple[str, int]]:
    words = line.rsplit(None, 1)
    if len(words) != 2 or not words[1].rstrip(":").isdigit():
        return None
    return words[0].strip(), int(words[1].rstrip(":"))


def _frame(line: str) -> RawFrame:
    address, _, text = line.strip().partition(" ")
    match = _OBJECT.fullmatch(text.strip())
    try:
        offset = int(address, 16)
    except ValueError:
        return RawFrame(0, UNKNOWN, UNKNOWN)
    return RawFrame(offset, match[1], match[2]) if match else RawFrame(offset, text, UNKNOWN)


def name_frames(
    samples: Iterable[RawSample], names: Names, inlined: Mapping[tuple[str, int], Sequence[str]]
) -> Iterator[StackSample]:
    """Return the samples with all functions named. `inlined` has by object and place in its file the
    functions that were inlined there, the innermost first."""
    known: dict[RawFrame, tuple[Frame, ...]] = {}
    for sample in samples:
        found: list[Frame] = []
        for raw in sample.frames:
            frames = known.get(raw)
            if frames is None:
                inner = inlined.get((raw.object, raw.offset), ())
                frames = known[raw] = (
                    *(Frame(plain_name(name), raw.object, inlined=True) for name in inner),
                    Frame(names.name_of(raw), raw.object),
                )
            found += frames
        yield StackSample(sample.command, sample.period, tuple(found), sample.frames[0].offset)


def plain_name(symbol: str) -> str:
    """Return a symbol without its version, and under the name that everyone knows it by."""
    name = _VERSION.sub("", symbol)
    if name.startswith("__GI_"):
        name = name[len("__GI_"):]
    return _SAME.get(name, name)


class Names:
    """Names functions, those without a symbol by where they begin. Reads each object once."""

    def __init__(self) -> None:
        self._maps: dict[str, Optional[CodeMap]] = {}

    def map_of(self, place: str) -> Optional[CodeMap]:
        """Return the functions of an object, None for what is no file."""
        if place not in self._maps:
            self._maps[place] = read_code_map(Path(place)) if place.startswith("/") else None
        return self._maps[place]

    def name_of(self, raw: RawFrame) -> str:
        """Return what to call the function of a frame."""
        symbol, place = raw.symbol, raw.object
        code = self.map_of(place)
        function = code.function_at(code.address_of(raw.offset)) if code is not None else None
        if symbol != UNKNOWN:
            known = function is not None and function.name in WELL_KNOWN
            return str(function.name) if function is not None and known else plain_name(symbol)
        if function is not None:
            name = function.name
            return plain_name(name) if name else f"{os.path.basename(place)}+{function.start:#x}"
        if place == UNKNOWN:
            return UNKNOWN
        return place if place.startswith("[") else f"[{os.path.basename(place)}]"
