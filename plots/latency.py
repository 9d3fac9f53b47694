"""The picture of how long single calls take: percentiles of malloc and of free, of runs with --latency.

A point is the percentile of the calls of all rounds together, its bar the 95% interval that comes from
drawing whole rounds again, as in the tables (runner.tails).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from plots.album import Album
from plots.style import Look, draw_bars, legend_below, looks_of, save
from runner.allocators import SUBJECT
from runner.estimate import Analysis, interval_of
from runner.records import Cell
from runner.tails import (
    CALLS, QUANTILES, CallPool, Histogram, call_histograms, clock_ns, tail_cells, weights_of_drawings,
)

MOST_CELLS = 4
_PLACES = ("half of\nthe calls", "99%", "99.9%", "all\n(slowest)")
_GROUP_WIDTH = 0.62


def draw_latency(analysis: Analysis, album: Album) -> None:
    """Draw a picture of every workload whose samples hold the times of calls."""
    timed = {each.cell.id for each in tail_cells(analysis)}
    for workload in analysis.header.workloads:
        cells = [cell for cell in analysis.cells_of(workload) if cell.id in timed]
        if cells and album.wants("latency", f"latency-{workload}"):
            _draw(analysis, workload, cells, album)


def _draw(analysis: Analysis, workload: str, cells: Sequence[Cell], album: Album) -> None:
    shown = _spread(cells)
    names = [name for name in analysis.allocators
             if any(name in each.times for each in tail_cells(analysis) if each.cell in shown)]
    looks = looks_of(names, SUBJECT if SUBJECT in names else names[0])
    figure = Figure(figsize=(9.2, 3.4 if len(shown) == 1 else 2.7 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    for row, cell in zip(grid, shown):
        for axes, call in zip(row, CALLS):
            _draw_panel(axes, analysis, cell, call, names, looks)
            over = ", more threads than cores" if analysis.oversubscribed(cell) else ""
            axes.set_title(f"{call}, {_label(cell, workload)}{over}")
        row[0].set_ylabel("time of a call, ns")
    for axes in grid[-1]:
        axes.set_xlabel("share of calls that take at most so long")
    title = f"{workload}: time of single calls"
    figure.suptitle(title, fontsize=12)
    legend_below(figure, list(grid.flat), most=8)
    save(figure, album, "latency", workload, title, _caption(analysis, cells, shown))


def _spread(cells: Sequence[Cell]) -> list[Cell]:
    """Return at most MOST_CELLS cells, the first and the last among them."""
    if len(cells) <= MOST_CELLS:
        return list(cells)
    step = (len(cells) - 1) / (MOST_CELLS - 1)
    return [cells[round(number * step)] for number in range(MOST_CELLS)]


def _label(cell: Cell, workload: str) -> str:
    """Return what tells a cell from others of its workload; folders of files are left out."""
    words = cell.id[len(workload):].split() if cell.id.startswith(workload) else [cell.id]
    kept = []
    for word in words:
        name, equals, value = word.partition("=")
        kept.append(f"{name}={Path(value).name}" if equals else name)
    text = " ".join(kept) or workload
    return text if len(text) <= 40 else f"{text[:39]}…"


def _caption(analysis: Analysis, cells: Sequence[Cell], shown: Sequence[Cell]) -> str:
    text = (
        "Percentiles of the calls of all rounds together, with bars for the 95% interval, none for the slowest "
        f"call. Reading the clock, about {clock_ns(analysis):.0f} ns, is contained."
    )
    if len(shown) < len(cells):
        text += f" {len(cells) - len(shown)} of {len(cells)} cells are left out."
    return text


def _draw_panel(
    axes: Axes, analysis: Analysis, cell: Cell, call: str, names: Sequence[str], looks: dict[str, Look]
) -> None:
    for number, name in enumerate(names):
        shift = ((number + 0.5) / len(names) - 0.5) * _GROUP_WIDTH
        look = looks[name]
        style = {"color": look.colour, "marker": look.marker, "label": name}
        histograms = list(call_histograms(analysis, cell, name, call).values())
        found = _percentiles(histograms, f"{cell.id}:{call}") if histograms else []
        known = [(place + shift, values) for place, values in enumerate(found) if values[1] > 0]
        if not known:
            axes.plot([], [], **{**style, "label": f"{name} (no result)"})
            continue
        middle = [values[1] for _, values in known]
        where = [place for place, _ in known]
        draw_bars(axes, where, [values[0] for _, values in known], [values[2] for _, values in known],
                  look.colour, width=4, alpha=0.35)
        axes.plot(where, middle, markersize=5.5, linewidth=look.width * 0.5, **style)
    axes.set_yscale("log")
    low, high = axes.dataLim.intervaly
    if 0 < low <= high < float("inf"):
        axes.set_ylim(low / 1.5, high * 1.6)
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:,.0f}"))
    axes.set_xlim(-0.5, len(_PLACES) - 0.5)
    axes.set_xticks(range(len(_PLACES)), _PLACES)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.grid(False)
    for edge in range(1, len(_PLACES)):
        axes.axvline(edge - 0.5, color="#DDDDDD", linewidth=0.8)


def _percentiles(histograms: Sequence[Histogram], name: str) -> list[tuple[float, float, float]]:
    """Return each percentile between the ends of its interval; the slowest call has none."""
    pool, once = CallPool(histograms), [1] * len(histograms)
    drawings = weights_of_drawings(name, len(histograms))
    found: list[tuple[float, float, float]] = []
    for share in QUANTILES:
        ends = interval_of([pool.percentile(share, weights) for weights in drawings])
        found.append((ends.low, pool.percentile(share, once), ends.high))
    return [*found, (math.nan, pool.percentile(1, once), math.nan)]
