"""The picture of what speed costs in memory: peak memory over throughput, a line for each allocator that
joins its cells in the order of the axis."""
from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from plots.album import Album
from plots.figures import Layout, layout_of
from plots.style import Look, grid_of, legend_below, looks_of, save
from runner.estimate import Analysis
from runner.records import Cell
from runner.units import speed_unit

_MEBIBYTE = 1 << 20
_WIDE = 12  # the axis of memory is logarithmic from this ratio of largest to smallest on


def draw_tradeoff(analysis: Analysis, album: Album) -> None:
    """Draw a picture of every workload but the real programs."""
    looks = looks_of(analysis.allocators, analysis.subject)
    programs = {cell.workload for cell in analysis.program_cells}
    for workload in analysis.header.workloads:
        if workload in programs or not album.wants("tradeoff", f"tradeoff-{workload}"):
            continue
        layout = layout_of(analysis.cells_of(workload))
        figure, panels = grid_of(len(layout.panels))
        for axes, panel in zip(panels, layout.panels):
            _draw_panel(axes, analysis, panel.cells, layout.axis, looks)
            axes.set_title(panel.title)
        title = f"{workload}: peak memory over throughput"
        figure.suptitle(f"{title}\n{_key(analysis, layout)}".rstrip(), fontsize=12)
        legend_below(figure, panels, most=5 if len(panels) == 1 else 8)
        save(figure, album, "tradeoff", workload, title, _caption(analysis, layout))


def _key(analysis: Analysis, layout: Layout) -> str:
    cells = [cell for panel in layout.panels for cell in panel.cells]
    hollow = any(analysis.oversubscribed(cell) for cell in cells)
    parts = [f"numbers: {layout.axis}"] if len(cells) > len(layout.panels) else []
    parts += [f"hollow: more threads than the {analysis.header.machine.cores_available} cores"] * hollow
    return "; ".join(parts)


def _caption(analysis: Analysis, layout: Layout) -> str:
    text = "Medians; best is to the right and low."
    if any(len(panel.cells) > 1 for panel in layout.panels):
        text += f" A line joins an allocator's cells; the numbers at its ends are {layout.axis}."
    if any(analysis.oversubscribed(cell) for panel in layout.panels for cell in panel.cells):
        cores = analysis.header.machine.cores_available
        text += f" Hollow: more threads than the {cores} cores."
    if layout.left_out:
        text += f" {layout.left_out} more combinations of parameters are left out."
    return text


def _draw_panel(
    axes: Axes, analysis: Analysis, cells: list[Cell], axis: str, looks: dict[str, Look]
) -> None:
    heights: list[float] = []
    ends: list[tuple[float, float, str, str]] = []
    for name in analysis.allocators:
        look, points = looks[name], _points(analysis, cells, name)
        if not points:
            axes.plot([], [], color=look.colour, marker=look.marker, label=f"{name} (no result)")
            continue
        across, up = [point[1] for point in points], [point[2] for point in points]
        axes.plot(across, up, color=look.colour, linewidth=look.width * 0.6, alpha=0.55)
        # One marker of the label's own, so that the legend's is filled even where all points are hollow.
        axes.plot([], [], color=look.colour, marker=look.marker, label=name, linewidth=look.width * 0.6)
        for hollow in (False, True):
            chosen = [p for p in points if analysis.oversubscribed(p[0]) == hollow]
            axes.plot([p[1] for p in chosen], [p[2] for p in chosen], linestyle="none",
                      marker=look.marker, color=look.colour, markersize=6,
                      markerfacecolor="white" if hollow else look.colour)
        heights += up
        if len(points) > 1:
            ends += [(p[1], p[2], str(p[0].parameters[axis]), look.colour) for p in (points[0], points[-1])]
    axes.set_xlabel(f"throughput, {speed_unit(analysis, cells[0].workload).name} (right is better)")
    axes.set_ylabel("peak memory, MiB (low is better)")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    _scale(axes, heights)
    _label_ends(axes, ends)


def _points(analysis: Analysis, cells: list[Cell], name: str) -> list[tuple[Cell, float, float]]:
    found: list[tuple[Cell, float, float]] = []
    for cell in cells:
        result = analysis.results[cell.id, name]
        if result.throughput is not None and result.peak_rss is not None:
            speed = result.throughput.median / speed_unit(analysis, cell.workload).size
            found.append((cell, speed, result.peak_rss.median / _MEBIBYTE))
    return found


def _scale(axes: Axes, heights: list[float]) -> None:
    if not heights or max(heights) < _WIDE * min(heights) or min(heights) <= 0:
        axes.set_ylim(bottom=0, top=1.12 * max(heights, default=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
        return
    axes.set_yscale("log")
    axes.set_ylim(min(heights) / 1.4, max(heights) * 1.4)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(LogLocator(base=10, subs=()))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write the value of the axis at both ends of every line, except where a label stands already."""
    taken: list[tuple[float, float]] = []
    to_screen = axes.transData.transform
    for across, up, text, colour in ends:
        x, y = to_screen((across, up))
        if all(math.hypot((x - a) / 1.6, y - b) > 11 for a, b in taken):
            taken.append((x, y))
            axes.annotate(text, (across, up), xytext=(5, 5), textcoords="offset points", fontsize=8,
                          color=colour)
