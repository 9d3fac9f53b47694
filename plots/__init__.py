"""Draws results. What others call is here:

    pictures = draw_all(run_or_path, folder)             every picture that a results file can show
    pictures = draw_all(run, folder, comparison=found)   ... with a comparison that is known already
    pictures = draw_comparison(comparison, folder)       of a comparison whose runs lie in other files
    pictures = draw_trends(trends, folder)               of a history, see runner.trends.trend

Each returns `Picture`s in a fixed order, and writes an SVG and a PNG of each. The ids inside an SVG begin
with the picture's name, so that several can stand in one page. Drawing needs matplotlib; importing this
doesn't. Errors are UsageError, and ImportError where matplotlib is missing.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from plots.album import KINDS, Album, Picture, check_only
from runner.verdict.comparison import Comparison
from runner.errors import UsageError, explain_os_error
from runner.estimate import analyse
from runner.results_file import Run, read_run

if TYPE_CHECKING:
    from runner.trends.trend import Trend

__all__ = ["KINDS", "Picture", "draw_all", "draw_comparison", "draw_trends"]


def draw_all(
    run: Union[Run, Path], folder: Path, comparison: Optional[Comparison] = None,
    only: Sequence[str] = (), png: bool = True,
) -> list[Picture]:
    """Draw what a results file can show. Of a run with builds the comparisons of each with its first
    are made here, unless one is given. `only` names kinds or single pictures;
    without `png` there is only the SVG of each, in less time."""
    album = _open(folder, only, png)
    from plots.figures import draw_workloads
    from plots.latency import draw_latency
    from plots.programs import draw_programs
    from plots.regression import draw_regression
    from plots.tradeoff import draw_tradeoff

    run = run if isinstance(run, Run) else read_run(run)
    analysis = analyse(run.header, run.samples)
    try:
        if album.wants("regression"):
            for found in [comparison] if comparison is not None else _comparisons(run, bool(only)):
                draw_regression(found, album)
        draw_programs(analysis, album)
        draw_workloads(analysis, album)
        draw_tradeoff(analysis, album)
        draw_latency(analysis, album)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    return album.pictures


def draw_comparison(
    comparison: Comparison, folder: Path, only: Sequence[str] = (), png: bool = True
) -> list[Picture]:
    """Draw the changes of every phase, one picture for each family of metrics that has answers."""
    album = _open(folder, only, png)
    from plots.regression import draw_regression

    try:
        draw_regression(comparison, album)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    return album.pictures


def draw_trends(
    trends: Sequence[Trend], folder: Path, only: Sequence[str] = (), png: bool = True
) -> list[Picture]:
    """Draw a metric over commits; one picture for each workload."""
    album = _open(folder, only, png)
    from plots.trend import draw_trend

    try:
        draw_trend(trends, album)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    return album.pictures


def _open(folder: Path, only: Sequence[str], png: bool) -> Album:
    check_only(only)
    from plots.style import set_defaults

    set_defaults()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    return Album(folder, only, png)


def _comparisons(run: Run, must: bool) -> list[Comparison]:
    """Return the comparison of each further build of a run with its first. A run that can't be compared
    shows everything else, unless nothing else is wanted."""
    from runner.verdict.runs import CompareOptions, compare_runs

    found: list[Comparison] = []
    for build in run.header.builds[1:]:
        try:
            found.append(compare_runs([run], [run], CompareOptions(new_allocator=build.allocator)))
        except UsageError:
            if must:
                raise
    return found
