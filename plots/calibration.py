#!/usr/bin/env python3
"""Draws how often verdicts err: plots/calibration.py results/calibration-TIME.jsonl"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [os.path.join(os.path.dirname(_FOLDER), "runner")] + [
    entry for entry in sys.path if os.path.realpath(entry or ".") != _FOLDER
]
import tree_path  # noqa: E402  (finds the tree that this file lies in)

from runner.calibrating.records import read_records  # noqa: E402
from runner.calibrating.summary import (  # noqa: E402
    LEAST_DETECTED, MOST_FALSE_ALARMS, Point, Summary, summarise,
)
from runner.errors import EXIT_USAGE, UsageError, explain_os_error  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SAME = ("#555555", "x")  # colour and marker of a build with itself
_SLOWER = (("#56B4E9", "v"), ("#0072B2", "s"), ("#E69F00", "^"), ("#D55E00", "o"), ("#CC79A7", "D"),
           ("#5D3A9B", "P"), ("#7A6A00", "X"))
_TICKS = {1: "1 s", 2: "2 s", 5: "5 s", 15: "15 s", 30: "30 s", 60: "1 min", 120: "2 min", 300: "5 min",
          600: "10 min", 1800: "30 min", 3600: "1 h"}


def main() -> int:
    """Draw and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Draws the rate of false alarms and of detection over the time budget, as SVG and PNG.",
        allow_abbrev=False,
    )
    parser.add_argument("results", type=Path, help="the .jsonl file of runner/calibrate.py")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where to put the pictures (default: NAME-plots beside the results)")
    given = parser.parse_args()
    try:
        folder = given.out or given.results.with_name(f"{given.results.stem}-plots")
        return _draw(summarise(read_records(given.results)), folder)
    except UsageError as error:
        print(f"calibration.py: {error}", file=sys.stderr)
        return EXIT_USAGE


def _draw(summary: Summary, folder: Path) -> int:
    if not summary.points:
        raise UsageError(f"'{summary.records.path}' has no resampled comparisons to draw yet; go on with it by "
                         "runner/calibrate.py --resume.")
    tree_path.need({"matplotlib": "python3-matplotlib", "numpy": "python3-numpy"})
    from plots.album import Album
    from plots.style import grid_of, legend_below, save, set_defaults

    set_defaults()
    cells = [cell.id for cell in summary.records.plan.cells if any(p.cell == cell.id for p in summary.points)]
    figure, panels = grid_of(len(cells))
    for axes, cell in zip(panels, cells):
        _panel(axes, summary, cell)
        axes.set_title(cell)
    legend_below(figure, panels, most=3 if len(cells) == 1 else 6)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        album = Album(folder)
        save(figure, album, "calibration", "", "How often the verdicts are right",
             "Share of comparisons that call a slower build slower, and of false alarms, over the time budget")
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    for picture in album.pictures:
        print(picture.svg)
        print(picture.png)
    return 0


def _panel(axes: Axes, summary: Summary, cell: str) -> None:
    """Lines are resampled comparisons with their intervals, hollow signs real ones."""
    plan = summary.records.plan
    slower = [share for share in plan.resampled_slow_downs if share]
    looks = {0.0: _SAME, **dict(zip(slower, _SLOWER))}
    for slow_down, (colour, marker) in looks.items():
        points = [p for p in summary.points if (p.cell, p.slow_down) == (cell, slow_down)]
        if not points:
            continue
        name = f"{100 * slow_down:g}% slower: detected" if slow_down else "the same build: false alarms"
        _line(axes, points, color=colour, marker=marker, label=name,
              linestyle="--" if slow_down == 0 else "-")
        real = summary.real(cell, slow_down)
        if real.trials:
            axes.plot([plan.budget_each], [100 * real.share], linestyle="none", marker=marker, markersize=10,
                      markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.6, zorder=5)
    axes.axhline(100 * LEAST_DETECTED, color="#999999", linewidth=0.9, linestyle=":")
    axes.axhline(100 * MOST_FALSE_ALARMS, color="#999999", linewidth=0.9, linestyle=":")
    axes.set_xscale("log")
    budgets = sorted({p.budget for p in summary.points if p.cell == cell})
    axes.set_xticks(budgets, [_TICKS.get(int(b), f"{b:g} s") if b == int(b) else f"{b:g} s" for b in budgets])
    axes.minorticks_off()
    axes.set_ylim(-4, 104)
    axes.set_xlabel("time budget of a comparison")
    axes.set_ylabel("share of comparisons, %")


def _line(axes: Axes, points: list[Point], **style: Any) -> None:
    where = [point.budget for point in points]
    low = [100 * point.rate.interval[0] for point in points]
    high = [100 * point.rate.interval[1] for point in points]
    axes.fill_between(where, low, high, color=style["color"], alpha=0.16, linewidth=0)
    axes.plot(where, [100 * point.rate.share for point in points], markersize=5, linewidth=1.6, **style)


if __name__ == "__main__":
    sys.exit(main())
