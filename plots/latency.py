"""The picture of how long single calls take: percentiles of malloc and of free, of runs with --latency.

A point is the percentile of the calls of all rounds together, its bar the 95% interval that comes from
drawing whole rounds again, as in the tables (runner.tails).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from plots.album import Album
from plots.style import Look, draw_bars, legend_below, looks_of, save
from runner.allocators import SUBJECT
from runner.estimate import Analysis, interval_of
from runner.floor_distance import draw_rounds
from runner.records import Cell
from runner.tails import CALLS, QUANTILES, Histogram, call_histograms, tail_cells

MOST_CELLS = 4
_PLACES = ("half of\nthe calls", "99%", "99.9%", "all\n(slowest)")
_SHARES = (*QUANTILES, 1.0)
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
    clock = next(each.clock_ns for by_round in analysis.latencies.values() for each in by_round.values())
    text = (
        "Percentiles of the calls of all rounds together, with bars for the 95% interval, none for the slowest "
        f"call. Reading the clock, about {clock:.0f} ns, is contained."
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
        found = [(place + shift, _percentile(histograms, f"{cell.id}:{call}", share))
                 for place, share in enumerate(_SHARES)]
        known = [(place, values) for place, values in found if values is not None]
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


def _percentile(
    histograms: Sequence[Histogram], name: str, share: float
) -> Optional[tuple[float, float, float]]:
    """Return a percentile between the ends of its interval; None if it is no time that can be drawn."""
    times = sorted({time for histogram in histograms for time, _ in histogram})
    if not times:
        return None
    places = {time: place for place, time in enumerate(times)}
    counts = np.zeros((len(histograms), len(times)))
    for row, histogram in zip(counts, histograms):
        for time, calls in histogram:
            row[places[time]] += calls
    rounds = len(histograms)
    drawn = [np.bincount(drawing, minlength=rounds) for drawing in draw_rounds(name, rounds)]
    together = np.cumsum(np.vstack([np.ones(rounds), *drawn]) @ counts, axis=1)
    wanted = np.maximum(1, np.ceil(share * together[:, -1] - 1e-9))
    # Counts are whole numbers, far below where doubles stop to hold each.
    found = [times[place] for place in np.argmax(together >= wanted[:, None], axis=1)]
    if found[0] <= 0:
        return None
    ends = interval_of(found[1:]) if share < 1 else None
    return (ends.low, found[0], ends.high) if ends else (math.nan, found[0], math.nan)
