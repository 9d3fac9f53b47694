#!/usr/bin/env python3
"""Runs spin on the model of the ownership protocol, and reads what it says.

    tests/model/spin_model.py SCENARIO THREADS [SWITCH...] [--progress]

searches by hand, and shows the steps that led to the first error, if there is one.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parent
MAIN = "ownership.pml"
MEMORY_LIMIT_MB = 4096
DEPTH = 20_000  # steps; the longest run has about 1,500
MOST_THREADS = 3


@dataclass(frozen=True)
class Search:
    """One exhaustive search: what is modelled, and what is looked for."""

    scenario: str
    threads: int
    switches: tuple[str, ...] = ()  # MISTAKE_..., NO_ADOPT, EFFECTS_ONLY
    progress: bool = False  # looks for runs without end, instead of broken checks
    all_errors: bool = False  # goes on after the first
    depth: int = DEPTH

    def defines(self) -> list[str]:
        return [f"-DNT={self.threads}", f"-DSCENARIO_{self.scenario}", *(f"-D{s}" for s in self.switches)]

    def spin_options(self) -> list[str]:
        # Statements that are merged can't be told apart when it comes to which were reached.
        return ["-a"] + ["-o3"] * (self.threads == 2 and not self.switches and not self.progress)

    def compile_options(self) -> list[str]:
        # A short search is over before an optimised one is compiled.
        mistaken = any(s.startswith("MISTAKE_") for s in self.switches)
        level = "-Og" if (self.threads > 2 or self.progress) and not mistaken else "-O0"
        kind = "-DNP" if self.progress else "-DSAFETY"
        return [level, kind, "-DNOFAIR", "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_LIMIT_MB}"]

    def search_options(self) -> list[str]:
        options = [f"-m{self.depth}", "-w24" if self.threads > 2 else "-w20"]
        return options + ["-l"] * self.progress + ["-c0"] * self.all_errors

    def by_hand(self) -> str:
        """The command that repeats the search and shows what led to the first error."""
        words = ["tests/model/spin_model.py", self.scenario, str(self.threads), *self.switches]
        return " ".join(words + ["--progress"] * self.progress)


@dataclass(frozen=True)
class Place:
    """A statement of the model: its number in its process, and where it is written."""

    process: str
    state: int
    file: str
    line: int


@dataclass(frozen=True)
class Result:
    search: Search
    output: str
    errors: int
    states: int
    broken: tuple[str, ...]  # names of the checks that failed
    unfinished: tuple[str, ...]  # why not everything was searched
    statements: frozenset[Place]
    unreached: frozenset[Place]
    trail: tuple[str, ...]  # the steps to the first error

    def explain(self) -> str:
        return f"{self.output[-1500:]}\nTo repeat it:\n{self.search.by_hand()}"


@functools.lru_cache(maxsize=None)
def whole_model() -> tuple[str, tuple[tuple[str, int], ...]]:
    """The model in one text, and of each of its lines the file and number it comes from: spin
    forgets which file a line of an inline function is from."""
    lines: list[str] = []
    origins: list[tuple[str, int]] = []

    def add(name: str) -> None:
        for number, line in enumerate((MODEL / name).read_text().splitlines(), 1):
            included = re.match(r'#include "(.+)"', line)
            if included:
                add(included.group(1))
            else:
                lines.append(line)
                origins.append((name, number))

    add(MAIN)
    return "\n".join(lines) + "\n", tuple(origins)


def is_available() -> bool:
    return shutil.which("spin") is not None and shutil.which("gcc") is not None


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    output = done.stdout + done.stderr
    # pan's exit status says nothing of errors that it found; theirs is in its output.
    if done.returncode != 0 and command[0] != "./pan":
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-3000:]}")
    return output


def read_errors(output: str) -> tuple[str, ...]:
    """The names of what went wrong, in the order of their discovery."""
    found = re.findall(r"^pan:\d+: (.*?)(?: \(at depth \d+\))?$", output, re.M)
    names = []
    for text in found:
        match = re.search(r"\|\|\s*([a-z_]+)\)$", text)
        names.append(match.group(1) if match else text)
    return tuple(names)


def read_unfinished(output: str) -> tuple[str, ...]:
    signs = ["max search depth too small", "out of memory", "reached -DMEMLIM", "interrupted"]
    if "errors: 0" in output:  # else it ends at one
        signs.append("Search not completed")
    return tuple(sign for sign in signs if sign in output)


def read_unreached(output: str) -> frozenset[Place]:
    places, process = set(), ""
    for line in output.splitlines():
        heading = re.match(r"unreached in (?:proctype )?(\w+)", line)
        if heading:
            process = heading.group(1)
        match = re.match(r"\s+\S+:(\d+), state (\d+), ", line)
        if match:
            places.add(Place(process, int(match.group(2)), *whole_model()[1][int(match.group(1)) - 1]))
    return frozenset(places)


def read_statements(table: str) -> frozenset[Place]:
    """From pan -d, which lists every statement."""
    places, process = set(), ""
    for line in table.splitlines():
        heading = re.match(r"(?:proctype|init) ?:?(\w*)", line)
        if heading:
            process = heading.group(1) or "init"
        match = re.search(r"state\s+(\d+) -\(tr.*\] \S+:(\d+) =>", line)
        if match:
            places.add(Place(process, int(match.group(1)), *whole_model()[1][int(match.group(2)) - 1]))
    return frozenset(places)


def read_trail(replay: str) -> tuple[str, ...]:
    """The threads' steps, each with its place and the statement, and what is not 0 at the end."""
    steps = []
    for line in replay.splitlines():
        match = re.search(r"proc\s+(\d+) \(thread:\d+\) \S+:(\d+) \(state \d+\)\s+\[(.*)\]$", line)
        if match and not re.match(r"(\.\(goto\)|goto .*|IF|DO|else|\(1\)|break|D_STEP.*)$", match.group(3)):
            file, number = whole_model()[1][int(match.group(2)) - 1]
            thread = int(match.group(1)) - 1  # spin's process 0 is the one that begins the threads
            steps.append(f"T{thread}  {file + ':' + str(number):15} {match.group(3)}")
        elif re.match(r"\t\t[\w\[\]]+ = [^0]", line):
            steps.append(line.strip())
    return tuple(steps)


@functools.lru_cache(maxsize=None)
def run(search: Search) -> Result:
    """Searches once; a second call with the same search gives the same result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MAIN).write_text(whole_model()[0])
        _run(["spin", *search.spin_options(), *search.defines(), MAIN], folder)
        _run(["gcc", *search.compile_options(), "-o", "pan", "pan.c"], folder)
        output = _run(["./pan", *search.search_options()], folder)
        table = _run(["./pan", "-d"], folder)
        trail = ""
        if (folder / f"{MAIN}.trail").exists():
            trail = _run(["spin", "-t", "-p", *search.defines(), MAIN], folder)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if not errors or not states:
        raise RuntimeError(f"spin's search said nothing that can be read:\n{output[-3000:]}")
    return Result(
        search=search,
        output=output,
        errors=int(errors.group(1)),
        states=int(states.group(1)),
        broken=read_errors(output),
        unfinished=read_unfinished(output),
        statements=read_statements(table),
        unreached=read_unreached(output),
        trail=read_trail(trail),
    )


def never_reached(results: list[Result]) -> dict[str, str]:
    """The model's lines of which no statement was reached in any of the searches (of one set of
    switches, so that statements have the same numbers), with their text."""
    unreached = frozenset.intersection(*(r.unreached for r in results))
    lines: dict[tuple[str, int], set[Place]] = {}
    for place in frozenset.union(*(r.statements for r in results)):
        lines.setdefault((place.file, place.line), set()).add(place)
    found = {}
    for (file, line), places in sorted(lines.items()):
        if places <= unreached:
            found[f"{file}:{line}"] = (MODEL / file).read_text().splitlines()[line - 1].strip()
    return found


def main(arguments: list[str]) -> int:
    scenarios = sorted(set(re.findall(r"SCENARIO_(\w+)", (MODEL / "scenarios.pml").read_text())))
    parser = argparse.ArgumentParser(description="Searches the model of the ownership protocol.")
    parser.add_argument("scenario", choices=scenarios)
    parser.add_argument("threads", type=int, choices=range(1, MOST_THREADS + 1))
    parser.add_argument("switches", nargs="*", help="MISTAKE_..., NO_ADOPT, EFFECTS_ONLY")
    parser.add_argument("--progress", action="store_true", help="look for runs without end")
    given = parser.parse_args(arguments)
    unknown = [s for s in given.switches if not re.search(rf"\b{re.escape(s)}\b", whole_model()[0])]
    if unknown:
        parser.error(f"the model has no switch {unknown[0]}; see tests/model/README.md")
    if not is_available():
        parser.error("spin and gcc are needed: install them, for example with scripts/setup.sh test")
    result = run(Search(given.scenario, given.threads, tuple(given.switches), given.progress))
    for step in result.trail:
        print(step)
    wrong = [*result.broken, *result.unfinished]
    print(f"{result.states:,} states; " + (f"wrong: {', '.join(wrong)}" if wrong else "nothing is wrong"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
