"""The pictures of real programs: processor time and peak memory of the others relative to the
subject's, one group of points for each program."""
from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from plots.album import Album
from plots.style import legend_below, looks_of, save
from runner.estimate import Analysis, Ratio

MOST_CELLS = 24
_GROUP_WIDTH = 0.7


def draw_programs(analysis: Analysis, album: Album) -> None:
    """Draw both pictures; none where there is nobody to compare with."""
    if not analysis.program_cells or not analysis.baselines or analysis.header.builds:
        return

    def time(cell: str, name: str) -> Optional[Ratio]:
        return analysis.ratios.get((cell, name))  # of speeds: the other's time over the subject's

    def memory(cell: str, name: str) -> Optional[Ratio]:
        found = analysis.memory_by_baseline.get((cell, name))
        return found.inverse() if found else None

    _draw(analysis, album, "time", "processor time for the same work", time)
    _draw(analysis, album, "memory", "peak resident memory", memory)


def _draw(
    analysis: Analysis, album: Album, file: str, what: str,
    value: Callable[[str, str], Optional[Ratio]],
) -> None:
    if not album.wants("programs", f"programs-{file}"):
        return
    looks = looks_of(analysis.allocators, analysis.subject)
    cells = analysis.program_cells[:MOST_CELLS]
    figure = Figure(figsize=(max(7.0, 1.5 * len(cells) + 2), 4.4), layout="constrained")
    axes = figure.subplots()
    seen: list[float] = [1.0]
    for number, name in enumerate(analysis.baselines):
        shift = ((number + 0.5) / len(analysis.baselines) - 0.5) * _GROUP_WIDTH
        found = [(place + shift, value(cell.id, name)) for place, cell in enumerate(cells)]
        known = [(place, ratio) for place, ratio in found if ratio is not None]
        look = looks[name]
        style = {"color": look.colour, "marker": look.marker, "linestyle": "none"}
        if not known:
            axes.plot([], [], label=f"{name} (no result)", **style)
            continue
        middle = [ratio.median for _, ratio in known]
        errors = [[r.median - r.interval.low for _, r in known],
                  [r.interval.high - r.median for _, r in known]]
        axes.errorbar([place for place, _ in known], middle, yerr=errors, capsize=4,
                      markersize=6.5, label=name, **style)
        seen += [bound for _, r in known for bound in (r.interval.low, r.interval.high)]
    _prepare(axes, analysis.subject, what, [cell.id for cell in cells], min(seen), max(seen))
    title = f"Real programs: {what}, others relative to {analysis.subject}"
    figure.suptitle(title, fontsize=12)
    legend_below(figure, [axes], most=6)
    left = len(analysis.program_cells) - len(cells)
    more = f" {left} more cells are left out." if left else ""
    save(figure, album, "programs", file, title,
         f"Median and 95% interval of the ratio; above 1 the other needs more.{more}")


def _prepare(
    axes: Axes, subject: str, what: str, labels: list[str], lowest: float, highest: float
) -> None:
    margin = max(0.05, 0.12 * (highest - lowest))
    axes.set_ylim(lowest - margin, highest + margin)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xticks(range(len(labels)), labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.grid(False)
    for edge in range(1, len(labels)):
        axes.axvline(edge - 0.5, color="#DDDDDD", linewidth=0.8)
    axes.set_xlabel("program")
    axes.set_ylabel(f"{what},\nother / {subject} (above 1: more than {subject})")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:.2f}"))
    axes.axhline(1, color="#333333", linewidth=1.2, linestyle=(0, (4, 2)))
    axes.annotate(
        subject, (1, 1), xycoords=("axes fraction", "data"), ha="left", va="center", fontsize=8,
        color="#333333", xytext=(3, 0), textcoords="offset points",
    )
