"""The pictures of a run: throughput, ratio to the baselines, and peak memory of each workload.

A picture has one panel for each combination of the parameters that vary beside the one on the
horizontal axis, which is `threads` where threads vary, else the parameter with the most values.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plots.album import Album
from plots.style import Look, grid_of, legend_below, looks_of, save
from runner.estimate import Analysis, Estimate
from runner.records import Cell
from runner.units import speed_unit

MOST_PANELS = 12
_MEBIBYTE = 1 << 20
_UNITS = {
    "size": "largest block, bytes", "min": "smallest block, bytes", "max": "largest block, bytes",
    "chunks": "blocks of a thread", "slots": "slots", "batch": "blocks in a batch",
    "rounds": "rounds before a hand-over", "seconds": "length, s",
    "operations": "operations of a thread", "allocators": "allocating threads",
    "live": "live blocks, bytes", "factor": "factor of a step", "with-others": "small blocks before each step",
    "touch": "bytes touched", "alpha": "exponent of sizes", "life-alpha": "exponent of lifetimes",
    "releasers": "freeing threads", "threads": "threads", "seed": "seed", "sizes": "distribution",
}
# Ticks of a ratio's axis, from the finest; the first that gives few enough is taken.
_RATIO_TICKS: tuple[tuple[float, ...], ...] = (
    tuple(n / 50 for n in range(5, 250)),
    tuple(n / 20 for n in range(2, 100)),
    tuple(n / 10 for n in range(1, 60)),
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 50),
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100),
    (0.0001, 0.001, 0.01, 0.1, 1, 10, 100, 1000, 10000),
)
Bounds = tuple[float, float, float]  # middle, low, high


@dataclass(frozen=True)
class Kind:
    """What a picture shows: of whom, and what `value` it has in a cell (None: no result)."""

    name: str
    title: str
    unit: str
    names: Sequence[str]
    value: Callable[[Cell, str], Optional[Bounds]]


@dataclass(frozen=True)
class Panel:
    """The cells of one panel, in the order of the axis."""

    title: str
    cells: list[Cell]


@dataclass(frozen=True)
class Layout:
    """What is on the horizontal axis of a workload's pictures, and the panels."""

    axis: str
    panels: list[Panel]
    left_out: int


def layout_of(cells: Sequence[Cell]) -> Layout:
    """Return how the cells of a workload are spread over panels."""
    values: dict[str, list[object]] = {}
    for cell in cells:
        for name, value in cell.parameters.items():
            if (name == "operations" and cell.calibrated) or (name == "slots" and "fits" in cell.parameters):
                continue
            seen = values.setdefault(name, [])
            if value not in seen:
                seen.append(value)
    varying = [name for name, seen in values.items() if len(seen) > 1]
    everywhere = [name for name in values if all(name in cell.parameters for cell in cells)]
    candidates = [name for name in varying if name in everywhere]
    axis = "threads" if "threads" in candidates or not candidates else max(
        candidates, key=lambda name: len(values[name])
    )
    if axis not in everywhere:
        axis = next(iter(everywhere))
    others = [name for name in varying if name != axis]
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        title = ", ".join(
            f"{name} {Path(str(cell.parameters[name])).name}" for name in others if name in cell.parameters
        )
        groups.setdefault(title, []).append(cell)
    panels = [Panel(title, _sorted(group, axis)) for title, group in groups.items()]
    return Layout(axis, panels[:MOST_PANELS], max(0, len(panels) - MOST_PANELS))


def _sorted(cells: list[Cell], axis: str) -> list[Cell]:
    values = [cell.parameters[axis] for cell in cells]
    if any(isinstance(value, str) for value in values):
        return cells
    return sorted(cells, key=lambda cell: float(cell.parameters[axis]))


def draw_workloads(analysis: Analysis, album: Album) -> None:
    """Draw throughput, ratio and memory of every workload but the real programs."""
    names = analysis.allocators
    looks = looks_of(names, analysis.subject)
    programs = {cell.workload for cell in analysis.program_cells}

    def speed(cell: Cell, name: str) -> Optional[Bounds]:
        return _bounds(analysis.results[cell.id, name].throughput, speed_unit(analysis, cell.workload).size)

    def memory(cell: Cell, name: str) -> Optional[Bounds]:
        return _bounds(analysis.results[cell.id, name].peak_rss, _MEBIBYTE)

    def ratio(cell: Cell, name: str) -> Optional[Bounds]:
        found = analysis.ratios.get((cell.id, name))
        return (found.median, found.interval.low, found.interval.high) if found else None

    kinds = [
        Kind("throughput", "throughput", "", names, speed),  # the unit is the workload's
        Kind("memory", "peak resident memory", "peak memory, MiB", names, memory),
    ]
    if analysis.baselines and not analysis.header.builds:  # builds have pictures of their own
        subject = analysis.subject
        kinds.insert(1, Kind(
            "ratio", f"throughput of {subject} relative to the others",
            f"throughput, {subject} / other", analysis.baselines, ratio,
        ))
    for workload in analysis.header.workloads:
        for kind in kinds:
            if workload not in programs and album.wants(kind.name, f"{kind.name}-{workload}"):
                layout = layout_of(analysis.cells_of(workload))
                if kind.name == "throughput":
                    kind = replace(kind, unit=f"throughput, {speed_unit(analysis, workload).name}")
                figure = _figure(analysis, workload, layout, kind, looks)
                save(figure, album, kind.name, workload, f"{workload}: {kind.title}",
                     _caption(analysis, layout, kind))


def _bounds(found: Optional[Estimate], unit: float) -> Optional[Bounds]:
    if found is None:
        return None
    return (found.median / unit, found.interval.low / unit, found.interval.high / unit)


def _caption(analysis: Analysis, layout: Layout, kind: Kind) -> str:
    text = f"Median and 95% interval of {kind.title}, over {_UNITS.get(layout.axis, layout.axis)}."
    if layout.axis == "threads":
        cores = analysis.header.machine.cores_available
        text += f" The machine has {cores} {'core' if cores == 1 else 'cores'};"
        text += " where more threads run, the ground is grey."
    if layout.left_out:
        text += f" {layout.left_out} more combinations of parameters are left out."
    return text


def _figure(
    analysis: Analysis, workload: str, layout: Layout, kind: Kind, looks: dict[str, Look]
) -> Figure:
    figure, panels = grid_of(len(layout.panels))
    for axes, panel in zip(panels, layout.panels):
        places = _places(panel.cells, layout.axis)
        _draw_lines(axes, panel.cells, places, kind.names, looks, kind.value)
        _prepare(axes, analysis, panel, layout.axis, places, at_one=kind.name == "ratio")
        axes.set_ylabel(kind.unit)
        axes.set_title(panel.title)
    more = f" ({layout.left_out} more panels left out)" if layout.left_out else ""
    figure.suptitle(f"{workload}: {kind.title}{more}", fontsize=12)
    legend_below(figure, panels, most=5 if len(panels) == 1 else 8)
    return figure


def _places(cells: Sequence[Cell], axis: str) -> list[float]:
    """Return where the cells stand: by the logarithm of wide positive values, by the value
    itself, or one after the other for words."""
    values = [cell.parameters[axis] for cell in cells]
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return [float(n) for n in range(len(values))]
    if _is_wide(numbers):
        return [math.log2(number) for number in numbers]
    return numbers


def _is_wide(numbers: Sequence[float]) -> bool:
    """True for steps that double rather than count: even spacing would crush the small ones."""
    if len(numbers) < 3 or min(numbers) <= 0:
        return False
    steps = [high - low for low, high in zip(numbers, numbers[1:])]
    return max(steps) > 1.9 * min(steps) and max(numbers) / min(numbers) >= 4


def _draw_lines(
    axes: Axes, cells: Sequence[Cell], places: Sequence[float], names: Sequence[str],
    looks: dict[str, Look], value: Callable[[Cell, str], Optional[Bounds]],
) -> None:
    """Draw a line with its confidence band for each name; single points get bars instead."""
    for number, name in enumerate(names):
        look = looks[name]
        found = [(place, value(cell, name)) for place, cell in zip(places, cells)]
        known = [(place, bounds) for place, bounds in found if bounds is not None]
        if not known:
            axes.plot([], [], color=look.colour, marker=look.marker, label=f"{name} (no result)")
            continue
        middle = [bounds[0] for _, bounds in known]
        low = [bounds[1] for _, bounds in known]
        high = [bounds[2] for _, bounds in known]
        where = [place for place, _ in known]
        style = {"color": look.colour, "marker": look.marker, "label": name,
                 "markersize": 8.0 if name == "base" else 6.0}
        if len(cells) == 1:
            shift = places[0] + (number - (len(names) - 1) / 2) * 0.1
            errors = [[middle[0] - low[0]], [high[0] - middle[0]]]
            axes.errorbar([shift], middle, yerr=errors, capsize=4, linestyle="none", **style)
            continue
        axes.fill_between(where, low, high, color=look.colour, alpha=0.18, linewidth=0)
        # A comparison's base lies broad under the new build, which it would hide where they are the same.
        order = -look.width if name == "base" else look.width
        axes.plot(where, middle, linewidth=look.width, zorder=3 + order / 10, **style)


def _prepare(
    axes: Axes, analysis: Analysis, panel: Panel, axis: str, places: Sequence[float], at_one: bool
) -> None:
    """Set limits, ticks and labels; mark the cores, and the line of equality."""
    margin = 0.04 * (places[-1] - places[0]) if len(places) > 1 else 0.6
    axes.set_xlim(places[0] - margin, places[-1] + margin)
    _set_ticks(axes, panel.cells, axis, places)
    axes.set_xlabel(_UNITS.get(axis, axis))
    if at_one:
        _prepare_ratio(axes)
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.1)  # room for the note on top
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    _mark_cores(axes, analysis, panel, axis, places)


def _prepare_ratio(axes: Axes) -> None:
    """Twice as fast and half as fast are equally far from the line of equality."""
    bottom, top = axes.dataLim.intervaly
    if not 0 < bottom <= top < math.inf:
        bottom = top = 1.0
    bottom, top = min(bottom / 1.03, 0.93), max(top, 1.05)
    top *= (top / bottom) ** 0.12  # room for the note on top
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    for steps in _RATIO_TICKS:
        ticks = [tick for tick in steps if bottom <= tick <= top]
        if len(ticks) <= 9:
            break
    axes.set_yticks(ticks)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
    axes.axhline(1, color="#333333", linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        "equal", (1, 1), xycoords=("axes fraction", "data"), ha="left", va="center",
        fontsize=8, color="#333333", xytext=(3, 0), textcoords="offset points",
    )


def _set_ticks(axes: Axes, cells: Sequence[Cell], axis: str, places: Sequence[float]) -> None:
    values = [cell.parameters[axis] for cell in cells]
    step = math.ceil(len(values) / 16)
    labels = {place: value for place, value in list(zip(places, values))[::step]}
    axes.set_xticks(list(labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda place, _: _tick(labels.get(place, "")))
    )


def _tick(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and value >= 100_000:
        return f"{value:.3g}"
    return Path(value).name if isinstance(value, str) else str(value)


def _mark_cores(
    axes: Axes, analysis: Analysis, panel: Panel, axis: str, places: Sequence[float]
) -> None:
    """Shade the side where more threads run than there are cores, on an axis of threads."""
    if axis != "threads":
        return
    cores = analysis.header.machine.cores_available
    over = [analysis.oversubscribed(cell) for cell in panel.cells]
    left, right = axes.get_xlim()
    if all(over):
        edge = left
    elif any(over):
        first = over.index(True)
        edge = (places[first - 1] + places[first]) / 2 if first else left
    else:
        axes.set_xlabel(f"threads (the machine has {cores} cores)")
        return
    axes.axvspan(edge, right, color="#000000", alpha=0.05, linewidth=0, zorder=0)
    plural = "core" if cores == 1 else "cores"
    axes.annotate(
        f"more threads than the {cores} {plural}", ((edge + right) / 2, 0.985),
        xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=8, color="#555555",
    )
    if edge > left:
        axes.axvline(edge, color="#777777", linewidth=1, linestyle=":")
