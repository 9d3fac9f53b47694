#!/usr/bin/env python3
"""Draws the pictures of a results file, or of a history: plots/draw.py results/X.jsonl"""
from __future__ import annotations

import os
import sys
from pathlib import Path

_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [os.path.join(os.path.dirname(_FOLDER), "runner")] + [
    entry for entry in sys.path if os.path.realpath(entry or ".") != _FOLDER
]
import tree_path  # noqa: E402  (finds the tree that this file lies in)

from plots import Picture, draw_all, draw_trends  # noqa: E402
from plots.album import KINDS, check_only  # noqa: E402
from runner.errors import EXIT_USAGE, UsageError  # noqa: E402
from runner.results_file import read_run  # noqa: E402
from runner.sentence_parser import SentenceParser  # noqa: E402


def main() -> int:
    """Draw and return the exit status."""
    kinds = "; ".join(f"{name}: {meaning}" for name, meaning in KINDS.items())
    parser = SentenceParser(
        prog="draw.py", description="Draws a results file, or a history, as SVG and PNG.",
        epilog=f"Pictures: {kinds}.", allow_abbrev=False,
    )
    parser.add_argument("results", type=Path, nargs="?", metavar="FILE",
                        help="a results file of runner/run.py")
    parser.add_argument("--only", metavar="NAME,...", default="",
                        help="kinds of pictures, or single ones such as throughput-larson (default: all)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where to put the pictures (default: NAME-plots beside the results)")
    parser.add_argument("--history", type=Path, metavar="DB", help="a history of runner/history.py instead")
    try:
        given = parser.parse_args()
        only = [word.strip() for word in given.only.split(",") if word.strip()]
        check_only(only)
        if (given.results is None) == (given.history is None):
            raise UsageError("name a results file, or a history with --history DB.")
        tree_path.need({"matplotlib": "python3-matplotlib", "numpy": "python3-numpy"})
        pictures = _draw_history(given.history, given.out, only) if given.history is not None else (
            _draw_results(given.results, given.out, only)
        )
    except UsageError as error:
        print(f"draw.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    for picture in pictures:
        print(picture.svg)
        print(picture.png)
    return 0


def _draw_results(results: Path, out: Path | None, only: list[str]) -> list[Picture]:
    run = read_run(results)
    cut = run.cut_sentence()
    if cut is not None:
        print(cut, file=sys.stderr)
    return _some(draw_all(run, out or results.with_name(f"{results.stem}-plots"), only=only), results, only)


def _some(pictures: list[Picture], path: Path, only: list[str]) -> list[Picture]:
    if not pictures:
        raise UsageError(
            f"'{path}' can show none of {', '.join(only)}." if only else
            f"'{path}' has nothing to draw: no sample in it has numbers."
        )
    return pictures


def _draw_history(database: Path, out: Path | None, only: list[str]) -> list[Picture]:
    from runner.trends.store import open_to_read
    from runner.trends.trend import Wanted, find_trends

    with open_to_read(database) as history:
        trends = find_trends(history, Wanted())
    pictures = draw_trends(trends, out or database.with_name(f"{database.stem}-plots"), only)
    return _some(pictures, database, only)


if __name__ == "__main__":
    sys.exit(main())
