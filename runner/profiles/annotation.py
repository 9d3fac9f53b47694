"""Shows a function's hot instructions with the source that they were made from."""
from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError, nearest
from runner.execute import run_program
from runner.profiles.folded_stacks import ALLOCATOR, FunctionCost, Profile
from runner.profiles.inlined import Lookup, source_lines

MOST_LINES = 120
_CONTEXT = 2  # instructions shown around a hot one
_HOT_SHARE = 0.01  # of the function's samples
_SECONDS = 120.0
_INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\s+(.*)")
_MOST_BYTES = 256 * 1024  # of a function: more is none, but a hole in the tables

FindSource = Callable[[str], Optional[str]]


@dataclass(frozen=True)
class Annotator:
    """Annotates functions. Runs objdump and addr2line."""

    lookup: Lookup

    def annotate(
        self, profile: Profile, function: FunctionCost, unit: str, find_source: FindSource
    ) -> str:
        """Return the hot instructions of a function as text; `find_source` is asked for the text of a
        source file that is not there any more. Raises UsageError and Interrupted."""
        addresses = self._addresses(function)
        instructions = self._disassemble(function, addresses)
        lines = source_lines(function.path, [address for address, _ in instructions], self.lookup)
        sources = {address: chain[0].source for address, chain in lines.items()}
        shown = _hot(instructions, addresses, function.own)
        head = (
            f"{function.place.name} ({function.place.object}): {profile.share(function.own):.1%} of all "
            f"samples, {profile.cost(function.own):.3g} {unit}; shares below are of these. The time of an "
            "instruction may show at the one behind it."
        )
        files = _Sources(find_source)
        return "\n".join([
            head, "", *_layout(instructions, shown, (addresses, function.own), sources, files), "",
        ])

    def _addresses(self, function: FunctionCost) -> Counter[int]:
        code = self.lookup.names.map_of(function.path)
        if code is None:
            raise UsageError(
                f"--annotate: {function.place.name} lies in {function.place.object}, which is no file that "
                "could be disassembled; name a function of the driver, the allocator or a library."
            )
        found: Counter[int] = Counter()
        for offset, weight in function.offsets.items():
            found[code.address_of(offset)] += weight
        return found

    def _disassemble(self, function: FunctionCost, addresses: Counter[int]) -> list[tuple[int, str]]:
        program = shutil.which("objdump")
        if program is None:
            raise UsageError("--annotate needs objdump; install Debian's package binutils.")
        code = self.lookup.names.map_of(function.path)
        assert code is not None
        found: list[tuple[int, str]] = []
        # What the compiler moved elsewhere (.cold) has a range of its own.
        ranges = {
            (known.start, known.end) if known is not None else (address, address + 64)
            for address, known in ((address, code.function_at(address)) for address in addresses)
        }
        for start, end in sorted(ranges):
            outcome = run_program(
                [program, "-d", "-C", "--no-show-raw-insn", f"--start-address={start:#x}",
                 f"--stop-address={min(end, start + _MOST_BYTES):#x}", function.path],
                {**self.lookup.environment, "LC_ALL": "C"}, _SECONDS, self.lookup.interrupts,
            )
            if outcome.status != 0:
                said = (outcome.error_lines or ["no message"])[-1]
                raise UsageError(f"--annotate: objdump can't read {function.path} ({said}).")
            for line in outcome.output.decode("utf-8", "replace").splitlines():
                match = _INSTRUCTION.fullmatch(line)
                if match is not None:
                    found.append((int(match[1], 16), re.sub(r"\s+", " ", match[2]).strip()))
        return found


def find_functions(profile: Profile, name: str) -> list[FunctionCost]:
    """Return the functions to annotate: the one that is named, of several the most costly; without a
    name the hottest that lies in a file, and the allocator's hottest if that is another. Raises
    UsageError."""
    own = [function for function in profile.functions if function.own]
    if not name:
        in_files = [function for function in own if function.path.startswith("/")]
        if not in_files:
            raise UsageError("--annotate: all samples fell into the kernel, which can't be annotated.")
        of_allocator = [function for function in in_files[1:] if function.place.role == ALLOCATOR]
        return in_files[:1] if in_files[0].place.role == ALLOCATOR else in_files[:1] + of_allocator[:1]
    for function in own:
        if function.place.name == name:
            return [function]
    raise UsageError(
        f"--annotate: no sample fell into a function '{name}'"
        f"{nearest(name, [function.place.name for function in own]) or '.'}"
    )


def _hot(
    instructions: Sequence[tuple[int, str]], weights: Mapping[int, int], whole: int
) -> list[int]:
    """Return which instructions to show, at most MOST_LINES of them."""
    least = _HOT_SHARE * whole
    while True:
        hot = [n for n, (address, _) in enumerate(instructions) if weights.get(address, 0) >= max(least, 1)]
        shown = sorted({
            near for n in hot for near in range(n - _CONTEXT, n + _CONTEXT + 1)
            if 0 <= near < len(instructions)
        })
        if len(shown) <= MOST_LINES or not hot:
            return shown
        least *= 1.3


def _layout(
    instructions: Sequence[tuple[int, str]], shown: Sequence[int],
    weighed: tuple[Mapping[int, int], int], sources: Mapping[int, str], files: _Sources,
) -> list[str]:
    weights, whole = weighed
    lines: list[str] = []
    before, source = -1, ""
    for number in shown:
        address, text = instructions[number]
        if number != before + 1:
            lines.append("          ...")
        before = number
        here = sources.get(address, "")
        if here and here != source:
            source = here
            lines.append(f"          {files.line(here)}")
        share = weights.get(address, 0) / whole if whole else 0.0
        mark = f"{share:7.1%}" if share >= 0.0005 else " " * 7
        lines.append(f"{mark}   {address:6x}: {text}"[:160])
    if shown and shown[-1] != len(instructions) - 1:
        lines.append("          ...")
    return lines


class _Sources:
    """Reads lines of source files, each file once."""

    def __init__(self, find_source: FindSource) -> None:
        self._find = find_source
        self._files: dict[str, list[str]] = {}

    def line(self, source: str) -> str:
        """Return "file.c:12  text" for a path with a line's number; without text if it is not there."""
        path, _, number = source.rpartition(":")
        if not number.isdigit():
            return os.path.basename(source)
        if path not in self._files:
            try:
                text: Optional[str] = Path(path).read_text("utf-8", "replace")
            except OSError:
                text = self._find(path)
            self._files[path] = (text or "").splitlines()
        texts = self._files[path]
        line = texts[int(number) - 1].strip() if 0 < int(number) <= len(texts) else ""
        return f"{os.path.basename(path)}:{number}  {line}".rstrip()
