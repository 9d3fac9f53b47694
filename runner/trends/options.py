"""The command line of history.py."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from runner.errors import UsageError
from runner.paths import TREE
from runner.sentence_parser import SentenceParser

_EXAMPLES = """examples:
  runner/history.py add results/*.jsonl                       every run, also of comparisons
  runner/history.py list --last 20                            a table of the last commits
  runner/history.py trend                                     throughput of all cells, and where it changed
  runner/history.py trend --cell 'larson threads=1' --phase handover
  runner/history.py trend --metric peak_rss_bytes --workload larson --out plots/out
  runner/history.py export --format csv --output history.csv

exit status: 0 done; 1 standard output could not be written; 2 wrong usage, or a file or the history
can't be used; 130 interrupted
"""


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the user asked for. Raises UsageError; ends with status 0 after --help."""
    shared = SentenceParser(add_help=False, allow_abbrev=False)
    shared.add_argument("--db", type=Path, metavar="PATH", default=TREE / "results" / "history.sqlite",
                        help="the history (default: results/history.sqlite)")
    chosen = SentenceParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--machine", metavar="KEY", help="a machine's key, or a part of its name "
                        "(default: the one that measured last)")
    chosen.add_argument("--allocator", metavar="NAME", default="hakmem",
                        help="whose history (default: hakmem)")
    chosen.add_argument("--absolute", action="store_true",
                        help="show the numbers themselves, not relative to the baselines")
    parser = SentenceParser(
        prog="history.py", description="Keeps a history of runs, by machine and commit.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="add|list|trend|export")
    add = commands.add_parser("add", parents=[shared], allow_abbrev=False, help="add runs",
                              description="Adds runs; a run that is there already stays as it is.")
    add.add_argument("files", type=Path, nargs="+", metavar="FILE",
                     help="results files of runner/run.py, or folders of them")
    listing = commands.add_parser("list", parents=[shared, chosen], allow_abbrev=False,
                                  help="show the last commits", description="Shows the last commits.")
    listing.add_argument("--last", type=_count, metavar="N", default=20, help="how many (default: 20)")
    _add_trend(commands.add_parser(
        "trend", parents=[shared, chosen], allow_abbrev=False, help="show a metric over commits",
        description="Shows a metric over commits, and where it changed.",
    ))
    export = commands.add_parser("export", parents=[shared], allow_abbrev=False, help="write all numbers",
                                 description="Writes every number on a line of its own.")
    export.add_argument("--machine", metavar="KEY", help="of one machine only (default: all)")
    export.add_argument("--format", choices=["csv", "jsonl"],
                        help="(default: what --output ends with, else csv)")
    export.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    given, unknown = parser.parse_known_args(arguments)
    if given.command is None:
        raise UsageError("say what to do: add, list, trend or export; --help shows all.")
    if unknown:  # the command's own parser knows what was meant
        commands.choices[given.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return given


def _add_trend(trend: argparse.ArgumentParser) -> None:
    trend.add_argument("--metric", default="ops_per_second", metavar="NAME",
                       help="such as ops_per_second (default), cpu_ns_per_op, peak_rss_bytes, malloc_p99")
    trend.add_argument("--cell", action="append", default=[], metavar="CELL",
                       help="such as 'larson threads=1', * and ? stand for others; may be repeated "
                       "(default: all)")
    trend.add_argument("--workload", action="append", default=[], metavar="NAME", help="(default: all)")
    trend.add_argument("--phase", default="", metavar="NAME",
                       help="a phase, or 'all' (default: whole runs)")
    trend.add_argument("--last", type=_count, metavar="N", help="how many commits (default and most: 200)")
    trend.add_argument("--by", choices=["commit", "run"], default="commit",
                       help="a point is a commit (default), or a run, in the order of measuring")
    trend.add_argument("--json", action="store_true", help="print JSON Lines, one for each cell")
    trend.add_argument("--out", type=Path, metavar="DIR",
                       help="where to put the pictures (default: NAME-plots beside the history)")
    trend.add_argument("--no-plots", dest="plots", action="store_false", help="draw no pictures")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 to 100000")
    return int(text)
