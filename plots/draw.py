#!/usr/bin/env python3
"""Draws the pictures of a results file: plots/draw.py results/X.jsonl"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [os.path.dirname(_FOLDER)] + [
    entry for entry in sys.path if os.path.realpath(entry or ".") != _FOLDER
]

from runner.errors import EXIT_USAGE, UsageError, explain_os_error  # noqa: E402
from runner.estimate import analyse  # noqa: E402
from runner.results_file import read_run  # noqa: E402


def main() -> int:
    """Draw and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Draws throughput, ratio to the baselines and peak memory as SVG and PNG.",
        allow_abbrev=False,
    )
    parser.add_argument("results", type=Path, help="a results file of runner/run.py")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where to put the pictures (default: NAME-plots beside the results)")
    given = parser.parse_args()
    try:
        return _draw(given.results, given.out)
    except UsageError as error:
        print(f"draw.py: {error}", file=sys.stderr)
        return EXIT_USAGE


def _draw(results: Path, out: Path | None) -> int:
    run = read_run(results)
    try:
        from plots.figures import draw_all
        from plots.style import set_defaults
    except ImportError as error:
        raise UsageError(
            f"pictures need matplotlib ({error}); install Debian's package python3-matplotlib, and "
            "start this with Debian's own Python, /usr/bin/python3."
        ) from error
    cut = run.cut_sentence()
    if cut is not None:
        print(cut, file=sys.stderr)
    folder = out or results.with_name(f"{results.stem}-plots")
    set_defaults()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = draw_all(analyse(run.header, run.samples), folder)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder)) from error
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
