"""The picture of how long single calls take: percentiles of malloc and of free, of runs with --latency.

The records hold percentiles of each sample, not the calls: a point is the median of a percentile over the
samples, its bar reaches from their lower to their upper quartile.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from plots.album import Album
from plots.style import Look, draw_bars, legend_below, looks_of, save
from runner.allocators import SUBJECT
from runner.estimate import median, quantile
from runner.records import CallLatency, Cell, RunHeader, Sample
from runner.results_file import Run

MOST_CELLS = 4
_CALLS = ("malloc", "free")
_PLACES = (("p50", "half of\nthe calls"), ("p99", "99%"), ("p999", "99.9%"), ("max", "all\n(slowest)"))
_GROUP_WIDTH = 0.62
Samples = dict[tuple[str, str], list[Sample]]  # by cell and allocator


def draw_latency(run: Run, album: Album) -> None:
    """Draw a picture of every workload whose samples hold latencies."""
    grouped: Samples = {}
    for sample in run.samples:
        if not sample.warmup and sample.measured is not None and sample.measured.latency is not None:
            grouped.setdefault((sample.cell, sample.allocator), []).append(sample)
    for workload in run.header.workloads:
        cells = [cell for cell in run.header.cells if cell.workload == workload
                 and any(cell.id == known for known, _ in grouped)]
        if cells and album.wants("latency", f"latency-{workload}"):
            _draw(run.header, workload, cells, grouped, album)


def _draw(
    header: RunHeader, workload: str, cells: Sequence[Cell], grouped: Samples, album: Album
) -> None:
    shown = _spread(cells)
    names = [entry.name for entry in header.allocators
             if any((cell.id, entry.name) in grouped for cell in shown)]
    looks = looks_of(names, SUBJECT if SUBJECT in names else names[0])
    figure = Figure(figsize=(9.2, 3.4 if len(shown) == 1 else 2.7 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    for row, cell in zip(grid, shown):
        for axes, call in zip(row, _CALLS):
            _draw_panel(axes, cell, call, names, grouped, looks)
            over = "" if cell.concurrency <= header.machine.cores_available else ", more threads than cores"
            axes.set_title(f"{call}, {_label(cell, workload)}{over}")
        row[0].set_ylabel("time of a call, ns")
    for axes in grid[-1]:
        axes.set_xlabel("share of calls that take at most so long")
    title = f"{workload}: time of single calls"
    figure.suptitle(title, fontsize=12)
    legend_below(figure, list(grid.flat), most=8)
    save(figure, album, "latency", workload, title, _caption(cells, shown, grouped))


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


def _caption(cells: Sequence[Cell], shown: Sequence[Cell], grouped: Samples) -> str:
    first = next(samples[0] for (cell, _), samples in grouped.items() if cell == shown[0].id)
    text = "Median over the samples, with bars from quartile to quartile."
    if first.measured is not None and first.measured.latency is not None:
        text += f" Reading the clock, about {first.measured.latency.clock_ns:.0f} ns, is contained."
    if len(shown) < len(cells):
        text += f" {len(cells) - len(shown)} of {len(cells)} cells are left out."
    return text


def _draw_panel(
    axes: Axes, cell: Cell, call: str, names: Sequence[str], grouped: Samples, looks: dict[str, Look]
) -> None:
    for number, name in enumerate(names):
        shift = ((number + 0.5) / len(names) - 0.5) * _GROUP_WIDTH
        look = looks[name]
        style = {"color": look.colour, "marker": look.marker, "label": name}
        found = [(place + shift, _quartiles(grouped.get((cell.id, name), []), call, field))
                 for place, (field, _) in enumerate(_PLACES)]
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
    axes.set_xticks(range(len(_PLACES)), [label for _, label in _PLACES])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.grid(False)
    for edge in range(1, len(_PLACES)):
        axes.axvline(edge - 0.5, color="#DDDDDD", linewidth=0.8)


def _quartiles(
    samples: Sequence[Sample], call: str, field: str
) -> Optional[tuple[float, float, float]]:
    """Return lower quartile, median and upper quartile of a percentile, None if none was sampled."""
    values: list[float] = []
    for sample in samples:
        if sample.measured is not None and sample.measured.latency is not None:
            times: CallLatency = getattr(sample.measured.latency, call)
            value = getattr(times, field)
            if value is not None and value > 0:
                values.append(value)
    if not values:
        return None
    ordered = sorted(values)
    return quantile(ordered, 0.25), median(ordered), quantile(ordered, 0.75)
