"""The command line of hotspots.py."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError
from runner.matrix import DRIVERS, KEYS, make_cells, parse_matrix, parse_workloads
from runner.programs import PROGRAMS
from runner.records import Cell
from runner.schedule import parse_time
from runner.sentence_parser import SentenceParser

HOTTEST = ""  # --annotate without a name
_DEFAULT_SECONDS = "3s"
_MOST_SECONDS = 600.0
_MOST_FUNCTIONS = 1000

_EXAMPLES = """examples:
  runner/hotspots.py larson hakmem                        what is hot, and a flame graph
  runner/hotspots.py larson hakmem --against mimalloc     what hakmem does that mimalloc doesn't
  runner/hotspots.py xmalloc rev:HEAD --against rev:HEAD~1 --matrix threads=4
  runner/hotspots.py bench_random_mixed mine=/opt/lib/libmine.so --annotate malloc

exit status: 0 done; 2 wrong usage, or nothing could be sampled; 130 interrupted
"""


@dataclass(frozen=True)
class HotspotOptions:
    """What the user asked for, checked as far as it can be without running anything."""

    cell: Cell
    allocator: str
    against: Optional[str]
    duration: float
    seed: int
    folder: Optional[Path]
    annotate: Optional[str]  # a function's name, HOTTEST, or None for no annotation
    top: int
    json: bool
    drivers: Optional[Path]
    build: bool


def _parser() -> argparse.ArgumentParser:
    parser = SentenceParser(
        prog="hotspots.py",
        description="Samples a driver with perf: hot functions with their cost per operation, a flame "
        "graph (SVG), and for two allocators or two builds the difference.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    parser.add_argument("workload", metavar="WORKLOAD", help=f"one of {', '.join(DRIVERS)}")
    parser.add_argument("allocator", metavar="ALLOCATOR",
                        help="a name as in run.py, NAME=/path/to/lib.so, or a build of hakmem: "
                        "rev:REVISION, rev:DIRECTORY or rev:LIBRARY (without rev: where it can't be "
                        "mistaken)")
    parser.add_argument("--against", metavar="OTHER",
                        help="another one of these: shows how ALLOCATOR differs from it")
    parser.add_argument("--matrix", action="append", default=[], metavar="KEY=VALUE",
                        help=f"a parameter of the workload; repeatable; keys: {', '.join(KEYS)}")
    parser.add_argument("--duration", default=_DEFAULT_SECONDS, metavar="TIME",
                        help=f"how long each is sampled (default {_DEFAULT_SECONDS})")
    parser.add_argument("--seed", default="42", metavar="N", help="seed of the workload (default 42)")
    parser.add_argument("--annotate", nargs="?", const=HOTTEST, metavar="FUNCTION",
                        help="show the hot instructions of a function with their source; without a name "
                        "of the hottest; stands behind ALLOCATOR")
    parser.add_argument("--top", default="25", metavar="N", help="functions in the tables (default 25)")
    parser.add_argument("--out", metavar="DIR", help="where the files go (default: a new folder in "
                        "results/, named after the time)")
    parser.add_argument("--json", action="store_true", help="print profile.json instead of tables")
    parser.add_argument("--drivers", metavar="DIR", help="take drivers from here and build none")
    parser.add_argument("--no-build", action="store_true", help="use the drivers as they are")
    return parser


def parse_hotspot_options(arguments: Sequence[str]) -> HotspotOptions:
    """Return the checked options; raises UsageError, and SystemExit(0) after --help."""
    given = _parser().parse_args(list(arguments))
    duration = parse_time(given.duration, "--duration")
    if not 0.05 <= duration <= _MOST_SECONDS:
        raise UsageError(f"--duration: {given.duration} is out of range; give 0.05 s to 10 min.")
    for option, text in (("--out", given.out), ("--drivers", given.drivers)):
        if text is not None and (not text or "\0" in text):
            raise UsageError(f"{option}: the name is empty; give a path.")
    if given.drivers is not None and not os.path.isdir(given.drivers):
        raise UsageError(f"--drivers {given.drivers}: that is no directory; check the path.")
    return HotspotOptions(
        cell=_cell(given.workload, given.matrix),
        allocator=given.allocator,
        against=given.against,
        duration=duration,
        seed=_whole(given.seed, "--seed", 0, KEYS["seed"].high),
        folder=None if given.out is None else Path(given.out),
        annotate=given.annotate,
        top=_whole(given.top, "--top", 1, _MOST_FUNCTIONS),
        json=given.json,
        drivers=None if given.drivers is None else Path(given.drivers),
        build=not given.no_build and given.drivers is None,
    )


def _cell(workload: str, matrix: Sequence[str]) -> Cell:
    try:
        names = parse_workloads([workload])
    except UsageError as error:
        raise UsageError(str(error).replace("--workloads", "WORKLOAD", 1)) from error
    if len(names) != 1:
        raise UsageError(f"WORKLOAD: '{workload}' names {len(names)}; a profile is of one.")
    if names[0] in PROGRAMS:
        raise UsageError(
            f"WORKLOAD: {names[0]} is a real program, which has no operations that costs could be divided "
            f"by; give one of {', '.join(DRIVERS)}."
        )
    cells = make_cells(names, parse_matrix(list(matrix)), [1])
    if len(cells) != 1:
        raise UsageError(
            f"--matrix: that makes {len(cells)} cells, and a profile is of one; give one value a key."
        )
    return cells[0]


def _whole(text: str, option: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise UsageError(f"{option}: '{text}' is out of range; give a whole number from {low} to {high}.")
    return int(text)
