"""The command line of compare.py: options, files, text or JSON, exit status."""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from runner.verdict.runs import DEFAULT_CONFIDENCE, CompareOptions, compare_files
from runner.verdict.show import blocks_of, headline, lines_after, sides_line
from runner.verdict.comparison import (
    DEFAULT_EFFECT, DEFAULT_FALSE_DISCOVERY_RATE, SLOWER, UNDECIDED, Comparison,
)
from runner.errors import EXIT_USAGE, UsageError
from runner.patient_stream import run_patiently
from runner.sentence_parser import SentenceParser
from runner.shares import parse_share
from runner.table import print_blocks

EXIT_NOT_SLOWER, EXIT_SLOWER, EXIT_UNDECIDED = 0, 1, 3

_EPILOG = """examples:
  runner/compare.py results/builds.jsonl            two builds, measured by run.py --rev BASE --rev NEW
  runner/compare.py before.jsonl after.jsonl        hakmem in two sessions
  runner/compare.py monday/ friday/ --effect 3%     folders: each file is a session
  runner/compare.py run.jsonl --base-allocator mimalloc --new-allocator hakmem

exit status: 0 nothing got slower; 1 something got slower, or fails now; 2 bad input; 3 with --strict:
nothing is known to be slower, but something is undecided
"""


@dataclass(frozen=True)
class Arguments:
    """What the user asked for."""

    base: Path
    new: Optional[Path]
    options: CompareOptions
    strict: bool
    json: bool
    everything: bool


def parse_arguments(given: Sequence[str]) -> Arguments:
    """Return the options; raises UsageError."""
    parser = SentenceParser(
        prog="compare.py", epilog=_EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Says for each workload, phase and metric whether NEW is faster than BASE, slower, the "
        "same, or whether the samples can't tell.",
    )
    parser.add_argument("base", metavar="BASE", help="results file, or folder of them; alone: two builds, or "
                        "two allocators, of the same sessions")
    parser.add_argument("new", metavar="NEW", nargs="?", help="results file, or folder of them")
    parser.add_argument("--effect", metavar="SHARE", help="the least change that counts (default: what the "
                        f"files were measured for, else {DEFAULT_EFFECT:.0%}%)")
    parser.add_argument("--false-discovery", metavar="SHARE", default=None,
                        help="among all that is called slower or faster, the share that may be wrong "
                        f"(default {DEFAULT_FALSE_DISCOVERY_RATE * 100:g}%%)")
    parser.add_argument("--confidence", metavar="SHARE", default=None,
                        help=f"of the intervals (default {DEFAULT_CONFIDENCE * 100:g}%%)")
    parser.add_argument("--base-allocator", metavar="NAME", help="whose samples are the base's")
    parser.add_argument("--new-allocator", metavar="NAME", help="whose samples are the new side's")
    parser.add_argument("--across-machines", action="store_true",
                        help="compare even what was measured on different machines")
    parser.add_argument("--strict", action="store_true", help="end with 3 if something is undecided")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--all", action="store_true", help="list what is undecided or the same too")
    found = parser.parse_args(list(given))
    options = CompareOptions(
        effect=_share(found.effect, "--effect", 0.0005, 0.5),
        false_discovery_rate=_share(found.false_discovery, "--false-discovery", 1e-6, 0.5)
        or DEFAULT_FALSE_DISCOVERY_RATE,
        confidence=_share(found.confidence, "--confidence", 0.5, 0.9999) or DEFAULT_CONFIDENCE,
        base_allocator=found.base_allocator, new_allocator=found.new_allocator,
        across_machines=found.across_machines,
    )
    if "" in (found.base, found.new):
        raise UsageError("an empty name was given; name a results file, or a folder of them.")
    new = Path(found.new) if found.new is not None else None
    return Arguments(Path(found.base), new, options, found.strict, found.json, found.all)


def _share(text: Optional[str], option: str, least: float, most: float) -> Optional[float]:
    return None if text is None else parse_share(text, option, least, most)


def exit_status(comparison: Comparison, strict: bool) -> int:
    """Return what compare.py ends with."""
    if comparison.verdict == SLOWER or comparison.with_verdict(SLOWER):
        return EXIT_SLOWER
    unsure = comparison.with_verdict(UNDECIDED) or comparison.unanswered or not comparison.answers
    return EXIT_UNDECIDED if strict and unsure else EXIT_NOT_SLOWER


def show(comparison: Comparison, everything: bool = False) -> None:
    """Print a comparison to standard output."""
    print(headline(comparison))
    print(sides_line(comparison))
    print()
    blocks = blocks_of(comparison, everything)
    if blocks:
        print_blocks(blocks)
    for line in lines_after(comparison, everything):
        print(line)


def main(given: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    return run_patiently("compare.py", lambda: _run(given), lambda _status: EXIT_USAGE)


def _stop(number: int, _frame: Any) -> None:
    """Nothing is lost when only files were read."""
    os._exit(128 + number)


def _run(given: Sequence[str]) -> int:
    try:
        arguments = parse_arguments(given)
        comparison = compare_files(arguments.base, arguments.new, arguments.options)
    except UsageError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except MemoryError:
        print("compare.py: there is not enough memory for these files.", file=sys.stderr)
        return EXIT_USAGE
    if arguments.json:
        print(json.dumps(comparison.to_json(), allow_nan=False))
    else:
        show(comparison, arguments.everything)
    return exit_status(comparison, arguments.strict)
