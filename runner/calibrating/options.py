"""The command line of calibrate.py."""
from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.calibrating.rates import LEAST_REAL
from runner.verdict.comparison import DEFAULT_EFFECT
from runner.errors import UsageError
from runner.matrix import DRIVERS, WORKLOADS, make_cells, parse_matrix, parse_workloads, without_repeats
from runner.records import Cell
from runner.schedule import in_words, parse_time
from runner.sentence_parser import SentenceParser
from runner.shares import parse_share

_EXAMPLES = """examples:
  runner/calibrate.py                                     45 minutes; results/calibration-TIME.*
  runner/calibrate.py --time-budget 30m --output results/reference/calibration
  runner/calibrate.py --workloads xmalloc --matrix threads=2 --time-budget 20m
  runner/calibrate.py --resume results/reference/calibration.jsonl
  runner/calibrate.py --judge-again results/reference/calibration.jsonl --output /tmp/again

exit status: 0 every figure was reached, or too little was measured to tell; 1 one was not reached; 2 wrong
usage, or the results could not be written; 130 interrupted (go on with --resume)
"""
_QUICK_BUDGET = 8.0
_DEFAULT_BUDGET = 45 * 60.0
_DEFAULT_EACH = 15
_SHORTEST_EACH = 3
_OTHER_SHARE = 0.12  # of the time, for slopes and resampling
_SETUP_SECONDS = 60.0  # building, probing, counting instructions
_COMMAND_OVERHEAD_SECONDS = 8.0
MOST_SLOW_DOWNS = 6


@dataclass(frozen=True)
class Options:
    """What the user asked for. Times are seconds, shares are shares."""

    cells: list[Cell]
    slow_downs: list[float]
    resampled_slow_downs: list[float]
    budgets: list[float]
    resamples: int
    effect: float
    budget_each: float
    time_budget: float
    order_seed: Optional[int]
    output: Optional[Path]  # without .jsonl
    resume: Optional[Path]
    judge_again: Optional[Path]
    drivers: Optional[Path]
    build: bool
    plots: bool
    quick: bool


def _parser() -> SentenceParser:
    parser = SentenceParser(
        prog="calibrate.py",
        description="Measures how often the verdicts of run.py --rev and compare.py err on this machine: "
        "compares a build with itself, and with builds that are slower by a known amount.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    what = parser.add_argument_group("what is compared")
    what.add_argument("--workloads", action="append", default=[], metavar="NAMES",
                      help=f"comma list out of {', '.join(DRIVERS)}; "
                      "default: larson with 1 and 2 threads, bench_random_mixed with 1")
    what.add_argument("--matrix", action="append", default=[], metavar="KEY=VALUES",
                      help="values of a parameter, as for run.py; repeatable")
    what.add_argument("--slow-downs", default="1%,2%,5%", metavar="SHARES",
                      help="of the builds that are made slower (default: 1%%,2%%,5%%)")
    what.add_argument("--effect", default=f"{DEFAULT_EFFECT:.0%}", metavar="SHARE",
                      help="effect that each comparison asks for (default: %(default)s)")
    effort = parser.add_argument_group("how much")
    effort.add_argument("--time-budget", metavar="TIME", help="time for everything (default: 45m)")
    effort.add_argument("--budget-each", metavar="TIME", help="time of each real comparison (default: "
                        f"15s, less where there would not be {LEAST_REAL} of a build with itself)")
    effort.add_argument("--budgets", metavar="TIMES",
                        help="time budgets of the resampled comparisons (default: 15s,30s,1m,2m,5m)")
    effort.add_argument("--resamples", metavar="N", help="resampled comparisons of each cell, slow-down and "
                        "budget, as far as the time goes (default: 400)")
    effort.add_argument("--quick", action="store_true", help="some seconds: only to see whether it works")
    effort.add_argument("--order-seed", metavar="N", help="seed of all random order (default: a new one, "
                        "recorded)")
    files = parser.add_argument_group("files")
    files.add_argument("--output", metavar="NAME", help="writes NAME.jsonl, NAME.md, NAME-plots/ and "
                       "NAME-parts/, with all samples (default: results/calibration-TIME)")
    files.add_argument("--resume", metavar="FILE", help="go on with an interrupted calibration, NAME.jsonl")
    files.add_argument("--judge-again", metavar="FILE", help="measure nothing: judge the samples of another "
                       "calibration again, with the verdicts as they are now")
    files.add_argument("--drivers", metavar="DIR", help="take drivers from here and build none")
    files.add_argument("--no-build", action="store_true", help="use the drivers as they are")
    files.add_argument("--no-plots", action="store_true", help="draw no picture")
    return parser


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the checked options; raises UsageError, and SystemExit(0) after --help."""
    given = _parser().parse_args(list(arguments))
    quick = bool(given.quick)
    slow_downs = parse_shares(given.slow_downs, "--slow-downs")
    if len(slow_downs) > MOST_SLOW_DOWNS:
        raise UsageError(
            f"--slow-downs {given.slow_downs}: those are too many; give {MOST_SLOW_DOWNS} or fewer."
        )
    budgets = given.budgets or ("1s,2s" if quick else "15s,30s,1m,2m,5m")
    cells = _cells(given.workloads, given.matrix, quick)
    time_budget = parse_time(given.time_budget, "--time-budget") if given.time_budget else (
        _QUICK_BUDGET if quick else _DEFAULT_BUDGET
    )
    options = Options(
        cells=cells,
        slow_downs=slow_downs,
        resampled_slow_downs=sorted({0.0, 0.005, *slow_downs}),
        budgets=sorted({parse_time(text, "--budgets") for text in budgets.split(",")}),
        resamples=_whole(given.resamples, "--resamples", 1, 100_000, 10 if quick else 400),
        effect=parse_share(given.effect, "--effect"),
        budget_each=parse_time(given.budget_each, "--budget-each") if given.budget_each else
        (1.0 if quick else _budget_each(time_budget, len(cells), 2 + len(slow_downs))),
        time_budget=time_budget,
        order_seed=_whole(given.order_seed, "--order-seed", 0, 2**64 - 1, None),
        output=_output(given.output),
        resume=_existing(given.resume, "--resume"),
        judge_again=_existing(given.judge_again, "--judge-again"),
        drivers=_existing(given.drivers, "--drivers"),
        build=not given.no_build and given.drivers is None,
        plots=not given.no_plots,
        quick=quick,
    )
    _check_together(options)
    return options


def _budget_each(time_budget: float, cells: int, builds: int) -> float:
    """Return how long comparisons may take so that there are some LEAST_REAL of a build with itself: in
    each turn there is one for every cell, and two of three times one by the commands."""
    turns = math.ceil(LEAST_REAL / (cells + 2 / 3)) + 1
    turn = ((1 - _OTHER_SHARE) * time_budget - _SETUP_SECONDS) / turns - _COMMAND_OVERHEAD_SECONDS
    return float(max(_SHORTEST_EACH, min(_DEFAULT_EACH, math.floor(turn / (cells * builds / 2 + 1)))))


def _check_together(options: Options) -> None:
    if options.resume is not None and (options.output is not None or options.judge_again is not None):
        raise UsageError(
            "--resume goes on in its own files; leave --output and --judge-again away."
        )
    if options.drivers is not None and not options.drivers.is_dir():
        raise UsageError(f"--drivers {options.drivers}: that is no directory; check the path.")
    if options.time_budget < 2 * options.budget_each * len(options.cells):
        raise UsageError(
            f"--time-budget {in_words(options.time_budget)} is too short for {len(options.cells)} cells and "
            f"comparisons of {in_words(options.budget_each)}; give at least "
            f"{in_words(2 * options.budget_each * len(options.cells))}, or a shorter --budget-each."
        )


def _cells(workloads: list[str], matrix: list[str], quick: bool) -> list[Cell]:
    if not workloads and not matrix:
        if quick:
            return make_cells(["larson"], {"threads": [1]}, [1])
        return [
            *make_cells(["larson"], {"threads": [1]}, [1]),
            *make_cells(["bench_random_mixed"], {"threads": [1]}, [1]),
            *make_cells(["larson"], {"threads": [2]}, [2]),
        ]
    names = parse_workloads(workloads)
    programs = [name for name in names if WORKLOADS[name].program]
    if programs:
        raise UsageError(
            f"--workloads: {programs[0]} is a program, which mallocs too little to be slowed down by a known "
            f"amount; take one of {', '.join(DRIVERS)}."
        )
    cells, _ = without_repeats(make_cells(names, parse_matrix(matrix or ["threads=1"]), [1]))
    return cells


def parse_shares(text: str, option: str) -> list[float]:
    """Return the shares in a comma list such as 1%,0.5%,0.02, smallest first; raises UsageError."""
    return sorted({round(parse_share(word, option), 6) for word in text.split(",")})


def _whole(text: Optional[str], option: str, low: int, high: int, default: Optional[int]) -> int:
    if text is None:
        return default  # type: ignore[return-value]  # None stays None
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise UsageError(f"{option}: '{text}' must be a whole number from {low} to {high}.")
    return int(text)


def _output(text: Optional[str]) -> Optional[Path]:
    if text is None:
        return None
    path = Path(text[: -len(".jsonl")] if text.endswith(".jsonl") else text)
    if not path.name or text.endswith(os.sep):
        raise UsageError(f"--output '{text}' must name what is to be written, such as results/calibration.")
    return path


def _existing(text: Optional[str], option: str) -> Optional[Path]:
    if text is None:
        return None
    if not text or not os.path.exists(text):
        raise UsageError(f"{option} '{text}': there is no such file or directory; check the path.")
    return Path(text)
