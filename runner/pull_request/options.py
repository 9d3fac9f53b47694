"""The command line of pr.py, and how its answers are kept in the report's folder for --resume."""
from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from runner.decode import DecodeError, decode
from runner.errors import UsageError, explain_os_error
from runner.schedule import parse_time
from runner.sentence_parser import SentenceParser

DEFAULT_BUDGET = "10m"
QUICK_BUDGET = "2m"
DEFAULT_EFFECT = "2%"
QUICK_EFFECT = "5%"
PROFILE_WORDS = ("auto", "never", "always")
SETTINGS_NAME = "pull-request.json"

_EXAMPLES = """what is compared:
  runner/pr.py                       the work tree with where it left the default branch
  runner/pr.py BASE                  the work tree with BASE
  runner/pr.py BASE HEAD             HEAD with BASE
  runner/pr.py BASE...HEAD           HEAD with where it left BASE, as a pull request is;
                                     BASE... and ...HEAD leave the other as above
BASE and HEAD are revisions of git, folders with a source tree, or libraries.

examples:
  runner/pr.py --quick
  runner/pr.py main...my-branch --time-budget 5m --effect 3%
  runner/pr.py HEAD~1 HEAD --workloads larson --matrix threads=1 --out /tmp/report
  runner/pr.py --resume results/pr-20260102T030405Z

exit status: 0 nothing got slower; 1 something did, or HEAD fails more often; 2 wrong usage, or a
revision that can't be built; 3 undecided (with --strict); 130 interrupted (go on with --resume)
"""


@dataclass(frozen=True)
class Settings:
    """What was asked for; kept in the report's folder. Times and shares as they were written."""

    ends: list[str]  # what was said of BASE and HEAD: none, one or two words
    time_budget: str
    effect: str
    workloads: list[str] = field(default_factory=list)
    matrix: list[str] = field(default_factory=list)
    profile: str = "auto"
    strict: bool = False
    history: Optional[str] = None
    always: bool = False
    base: str = ""  # what the words meant when the run began
    head: str = ""
    folder: Optional[str] = None  # what paths are relative to


@dataclass(frozen=True)
class Options:
    """The command line: new settings, or a folder to go on in."""

    settings: Optional[Settings]
    out: Optional[Path]
    resume: Optional[Path]


def _parser() -> argparse.ArgumentParser:
    parser = SentenceParser(
        prog="pr.py",
        description="Compares two builds of hakmem as continuous integration does for a pull request: "
        "builds both, measures them side by side, compares, profiles what got slower, writes a report.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    parser.add_argument("ends", nargs="*", metavar="BASE HEAD", help="what is compared, see below")
    parser.add_argument("--time-budget", metavar="TIME", help="time for measuring, such as 90s, 10m; "
                        f"building and profiling come on top (default {DEFAULT_BUDGET}; with --quick "
                        f"{QUICK_BUDGET})")
    parser.add_argument("--effect", metavar="SHARE", help="change from which on it counts (default "
                        f"{DEFAULT_EFFECT}; with --quick {QUICK_EFFECT})".replace("%", "%%"))
    parser.add_argument("--quick", action="store_true",
                        help="a coarse answer in a few minutes: less time, only larger changes, no profile")
    parser.add_argument("--workloads", action="append", default=[], metavar="NAMES",
                        help="as for run.py; default: all three drivers")
    parser.add_argument("--matrix", action="append", default=[], metavar="KEY=VALUES",
                        help="as for run.py; default: threads=1 and as many as there are cores")
    parser.add_argument("--profile", choices=PROFILE_WORDS,
                        help="profile what got slower most, in both builds: auto (default): if something "
                        "did; always: else where the change is largest")
    parser.add_argument("--strict", action="store_true", help="end with 3 if it stays undecided")
    parser.add_argument("--always", action="store_true",
                        help="measure even if the two revisions build the same library")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder for results and report (default: a new one in results/)")
    parser.add_argument("--history", metavar="DB", help="add the results to this history")
    parser.add_argument("--resume", type=Path, metavar="DIR",
                        help="go on with what was interrupted in this folder, as it was asked for then")
    return parser


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the checked options; raises UsageError, and SystemExit(0) after --help."""
    parser = _parser()
    given = parser.parse_intermixed_args(list(arguments))
    if given.resume is not None:
        others = [name for name, value in vars(given).items() if name != "resume" and value]
        if others:
            raise UsageError("--resume goes on as it was asked for at first; leave all else away.")
        return Options(None, None, given.resume)
    if len(given.ends) > 2:
        raise UsageError(f"'{given.ends[2]}' is one word too many; give BASE and HEAD, no more.")
    if any(not word or "\0" in word for word in given.ends):
        raise UsageError("the name of a revision is empty; leave it away, or give one.")
    budget = given.time_budget or (QUICK_BUDGET if given.quick else DEFAULT_BUDGET)
    parse_time(budget, "--time-budget")
    return Options(
        Settings(
            ends=given.ends, time_budget=budget,
            effect=given.effect or (QUICK_EFFECT if given.quick else DEFAULT_EFFECT),
            workloads=given.workloads, matrix=given.matrix,
            profile=given.profile or ("never" if given.quick else "auto"),
            strict=given.strict, history=given.history, always=given.always,
        ),
        given.out, None,
    )


def write_settings(settings: Settings, folder: Path) -> None:
    """Keep the settings in the report's folder. Raises UsageError."""
    path = folder / SETTINGS_NAME
    try:
        path.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(explain_os_error(error, path, "--out DIR")) from error


def read_settings(folder: Path) -> Settings:
    """Return the settings that a run in this folder was started with. Raises UsageError."""
    path = folder / SETTINGS_NAME
    try:
        value: Any = json.loads(path.read_text("utf-8"))
        found: Settings = decode(Settings, value)
        return found
    except FileNotFoundError as error:
        raise UsageError(
            f"--resume {folder}: that is no folder of an earlier run (there is no {SETTINGS_NAME} in it)."
        ) from error
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    except (ValueError, DecodeError) as error:
        raise UsageError(f"'{path}' is damaged ({error}); start anew without --resume.") from error
