"""Draws the report's pictures, where matplotlib is there, and says how the Markdown links to them."""
from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Optional

from plots.album import KINDS, Picture
from runner.verdict.comparison import Comparison
from runner.errors import UsageError
from runner.reports.model import Shown
from runner.results_file import Run

MISSING = (
    "There are no pictures: drawing them needs matplotlib; install Debian's package python3-matplotlib "
    "and write the report again."
)


_ORDER = ("regression", "programs", "throughput", "ratio", "memory", "tradeoff", "latency")
_FIRST_HALF = ("regression", "throughput", "tradeoff")
_SECOND_HALF = tuple(kind for kind in KINDS if kind not in _FIRST_HALF)


def draw_pictures(
    run: Optional[Run], comparisons: Sequence[Comparison], folder: Path, png: bool
) -> tuple[list[Shown], Optional[str]]:
    """Draw into `folder` what a run (None: its samples lie in several files) and its comparisons can
    show; `png` where PNG files are wanted beside the SVG. Return the pictures, or a sentence that says
    why there are none."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return [], MISSING
    from plots import draw_comparison

    drawn: list[Picture] = []
    try:
        if run is not None:
            drawn += _draw_run(run, folder, comparisons[0] if comparisons else None, png)
        others = comparisons[1:] if run is not None else comparisons
        for comparison in others:
            drawn += draw_comparison(comparison, folder, png=png)
    except (ImportError, UsageError) as error:
        return shown_pictures(drawn), f"There are no pictures: {str(error).rstrip('.')}."
    return shown_pictures(drawn), None


def _draw_run(
    run: Run, folder: Path, comparison: Optional[Comparison], png: bool
) -> list[Picture]:
    """Draw what a run shows, half of it in a second process: drawing takes most of a report's time."""
    from plots import draw_all

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    helper = context.Process(
        target=_help, args=(theirs, run, folder, comparison, png), daemon=True
    )
    helper.start()
    theirs.close()
    try:
        drawn = draw_all(run, folder, comparison, only=_FIRST_HALF, png=png)
        try:
            found = ours.recv()
        except EOFError:
            found = draw_all(run, folder, comparison, only=_SECOND_HALF, png=png)
    finally:
        helper.terminate()
        helper.join()
    if isinstance(found, Exception):
        raise found
    return sorted([*drawn, *found], key=lambda picture: [*_ORDER, picture.kind].index(picture.kind))


def _help(
    answer: Connection, run: Run, folder: Path, comparison: Optional[Comparison], png: bool
) -> None:
    """Draw the other half, and send the pictures, or what went wrong."""
    from plots import draw_all

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        answer.send(draw_all(run, folder, comparison, only=_SECOND_HALF, png=png))
    except Exception as error:
        answer.send(error)


def shown_pictures(drawn: Sequence[Picture]) -> list[Shown]:
    """Return the pictures of plots/ as the report shows them, each name once."""
    by_name = {picture.name: picture for picture in drawn}
    return [
        Shown(picture.kind, picture.title, picture.caption, picture.svg, picture.png)
        for picture in by_name.values()
    ]


def link_to(picture: Shown, markdown: Optional[Path], prefix: Optional[str]) -> str:
    """Return a picture's address in the Markdown: under a prefix, else relative to its folder."""
    if prefix is not None:
        return f"{prefix.rstrip('/')}/{picture.png.name}"
    folder = Path.cwd() if markdown is None or str(markdown) == "-" else markdown.parent
    return Path(os.path.relpath(picture.png.resolve(), folder.resolve())).as_posix()
