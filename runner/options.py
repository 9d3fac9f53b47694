"""The command line of run.py."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from runner.verdict.comparison import DEFAULT_EFFECT
from runner.errors import UsageError
from runner.matrix import DEFAULT_WORKLOADS, KEYS, WORKLOADS
from runner.programs import PROGRAMS
from runner.schedule import parse_time
from runner.sentence_parser import SentenceParser
from runner.shares import parse_share

_EXAMPLES = """examples:
  runner/run.py --quick                          all workloads and allocators in two minutes
  runner/run.py --matrix threads=1..16           over threads
  runner/run.py --matrix threads=1..16*2 --matrix size=128,256,512,1024 --time-budget 20m
  runner/run.py --workloads larson --allocators hakmem,mimalloc,mine=/opt/lib/libmine.so
  runner/run.py --workloads redis,sqlite,gcc,python --allocators hakmem,mimalloc,jemalloc,system
  runner/run.py --rev main --rev .               what is changed here, against main
  runner/run.py --rev v1.0 --rev HEAD --effect 1% --time-budget 20m --workloads larson
  runner/run.py --matrix-file runner/figures.toml --repeat 7    all workloads, sizes and threads: an hour
  runner/run.py --resume results/20260102T030405Z-1a2b3c.jsonl

exit status: 0 all samples were measured, and with --rev nothing is slower; 1 some failed, something is
slower, or the table could not be written; 2 wrong usage, a revision does not build, or the results could
not be written; 130 interrupted (go on with --resume)
"""


@dataclass(frozen=True)
class Options:
    """What the user asked for; None or an empty list where nothing was said."""

    matrix: list[str]
    workloads: list[str]
    allocators: list[str]
    repeat: Optional[int]
    duration: Optional[float]
    time_budget: Optional[float]
    quick: bool
    seed: Optional[int]
    order_seed: Optional[int]
    check: bool
    latency: bool
    sample_limit: Optional[float]
    resume: Optional[Path]
    output: Optional[Path]
    drivers: Optional[Path]
    plots: bool
    build: bool
    list: bool
    rev: list[str] = field(default_factory=list)
    effect: Optional[float] = None
    exact: bool = True
    matrix_file: Optional[Path] = None


def _parser() -> argparse.ArgumentParser:
    keys = "; ".join(f"{workload.name}: {', '.join(workload.keys)}" for workload in WORKLOADS.values())
    parser = SentenceParser(
        prog="run.py",
        description="Measures allocators on workloads, interleaved and repeated, and shows who is "
        "faster and who needs less memory.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--matrix", action="append", default=[], metavar="KEY=VALUES",
        help="values of a parameter: a list (1,2,4), a range (1..16), doubling (1..16*2) or a mix; "
        f"repeatable; keys by workload: {keys}",
    )
    what.add_argument("--matrix-file", metavar="FILE",
                      help="instead of --matrix: blocks of a workload and a matrix each (TOML); "
                      "runner/figures.toml is the whole comparison; --workloads leaves blocks out")
    what.add_argument("--workloads", action="append", default=[], metavar="NAMES",
                      help=f"comma list out of {', '.join(WORKLOADS)}; default: "
                      f"{', '.join(DEFAULT_WORKLOADS)}; {', '.join(PROGRAMS)} are real programs with a "
                      f"fixed amount of work, a second or so each, whose processor time counts")
    what.add_argument("--allocators", action="append", default=[], metavar="NAMES",
                      help="comma list of names, NAME=/path/to/lib.so for any other library, "
                      "none for the loop without an allocator, and floor for the least that one can cost "
                      "(neither counts as a baseline); repeatable; default: all installed")
    what.add_argument("--rev", action="append", default=[], metavar="BUILD",
                      help="compare builds of hakmem, two or more, the first is the base: a git revision, "
                      "the directory of a source tree with its changes, or a library; the drivers are "
                      "those of this tree, with each library preloaded, and other allocators are "
                      "measured only if --allocators names them")
    what.add_argument("--effect", metavar="SHARE", help="of a comparison: the change that is to be seen "
                      f"(default {DEFAULT_EFFECT:.0%}%); each cell is measured until its interval is "
                      "narrower")
    what.add_argument("--no-exact", action="store_true",
                      help="of a comparison: count no instructions with valgrind")
    what.add_argument("--check", action="store_true",
                      help="verify every block's contents (costs speed)")
    what.add_argument("--latency", action="store_true", help="sample the time of single calls")
    what.add_argument("--seed", metavar="N", help="seed of the workloads (default 42)")
    effort = parser.add_argument_group("how much is measured")
    effort.add_argument("--quick", action="store_true",
                        help="short samples and few rounds: an answer in about two minutes")
    effort.add_argument("--duration", metavar="TIME", help="length of one sample (default: 0.5, "
                        "less where the run would pass ten minutes; 0.1 with --rev); programs have the "
                        "key 'work' instead")
    effort.add_argument("--repeat", metavar="N", help="rounds; each measures every cell once with "
                        "every allocator (default: 15, fewer, at least 5, in a long run; with --rev as "
                        "many as each cell needs)")
    effort.add_argument("--time-budget", metavar="TIME", help="time for everything that is "
                        "measured, such as 90, 3m, 1h30m: as many rounds as fit, at least one (default "
                        "with --rev: 5m, with --quick 1m)")
    effort.add_argument("--sample-limit", metavar="TIME", help="kill a sample that takes longer "
                        "(default: 60 s more than twenty times its expected length)")
    effort.add_argument("--order-seed", metavar="N", help="seed of the random order of samples "
                        "(default: a new one, recorded)")
    files = parser.add_argument_group("files")
    files.add_argument("--output", metavar="FILE", help="results file (default: a new one in "
                       "results/); summary and plots go beside it")
    files.add_argument("--resume", metavar="FILE", help="go on with an interrupted run")
    files.add_argument("--drivers", metavar="DIR", help="take drivers that keep "
                       "docs/driver-interface.md from here and build nothing")
    files.add_argument("--no-plots", action="store_true", help="draw no pictures")
    files.add_argument("--no-build", action="store_true", help="use the drivers as they are")
    parser.add_argument("--list", action="store_true",
                        help="show workloads, keys of the matrix and allocators, then stop")
    return parser


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the checked options; raises UsageError, and SystemExit(0) after --help."""
    given = _parser().parse_args(list(arguments))
    options = Options(
        matrix=given.matrix,
        workloads=given.workloads,
        allocators=given.allocators,
        repeat=_whole(given.repeat, "--repeat", 1, 1_000_000),
        duration=None if given.duration is None else parse_time(given.duration, "--duration"),
        time_budget=(
            None if given.time_budget is None else parse_time(given.time_budget, "--time-budget")
        ),
        quick=given.quick,
        seed=_whole(given.seed, "--seed", 0, KEYS["seed"].high),
        order_seed=_whole(given.order_seed, "--order-seed", 0, 2**64 - 1),
        check=given.check,
        latency=given.latency,
        sample_limit=(
            None if given.sample_limit is None else parse_time(given.sample_limit, "--sample-limit")
        ),
        resume=_path(given.resume, "--resume"),
        output=_path(given.output, "--output"),
        drivers=_path(given.drivers, "--drivers"),
        plots=not given.no_plots,
        build=not given.no_build and given.drivers is None,
        list=given.list,
        rev=given.rev,
        effect=None if given.effect is None else parse_share(given.effect, "--effect"),
        exact=not given.no_exact,
        matrix_file=_path(given.matrix_file, "--matrix-file"),
    )
    if options.matrix and options.matrix_file is not None:
        raise UsageError("--matrix and --matrix-file exclude each other: put the values into the file's blocks.")
    if options.duration is not None and not 0.001 <= options.duration <= 86400:
        raise UsageError(
            f"--duration: {given.duration} is out of range; give 0.001 s to 24 h."
        )
    _check_comparison(options)
    if options.resume is not None and options.output is not None:
        raise UsageError(
            "--resume and --output exclude each other: a resumed run goes on in its own file; "
            "leave --output away."
        )
    if options.output is not None and options.output.suffix == ".md":
        raise UsageError(
            f"--output {options.output}: the summary will have that name; let the results end in "
            ".jsonl."
        )
    if options.drivers is not None and not os.path.isdir(options.drivers):
        raise UsageError(f"--drivers {options.drivers}: that is no directory; check the path.")
    return options


def _check_comparison(options: Options) -> None:
    """Raise UsageError for options that don't go together with --rev, or not without it."""
    if options.resume is not None and options.rev:
        raise UsageError(
            "--resume and --rev exclude each other: a resumed comparison goes on with the builds that lie "
            "beside its results; leave --rev away."
        )
    if len(options.rev) == 1:
        raise UsageError(
            f"--rev {options.rev[0]}: there is nothing to compare it with; give --rev twice, the base first."
        )
    if options.rev or options.resume is not None:
        return
    for option, given in (("--effect", options.effect is not None), ("--no-exact", not options.exact)):
        if given:
            raise UsageError(f"{option} belongs to a comparison; give two builds with --rev, or leave it away.")


def _whole(text: Optional[str], option: str, low: int, high: int) -> Optional[int]:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise UsageError(f"{option}: '{text}' is out of range; give a whole number from {low} to {high}.")
    return int(text)


def _path(text: Optional[str], option: str) -> Optional[Path]:
    if text is None:
        return None
    if not text or "\0" in text:
        raise UsageError(f"{option}: the name is empty; give a path.")
    return Path(text)
