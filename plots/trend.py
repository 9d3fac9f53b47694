"""The picture of a history: a metric over commits, a panel for each cell, with the commits where it changed
and the level between them."""
from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plots.album import Album
from plots.style import draw_bars, grid_of, legend_below, save
from runner.estimate import median
from runner.trends.trend import NamedChange, Trend

MOST_PANELS = 9
MOST_POINTS = 700  # in all panels; a file with more becomes unwieldy
_LINE, _WORSE, _BETTER = "#555555", "#D55E00", "#0072B2"
_LABELS = {1: 26, 2: 14, 3: 12}  # names of commits under a panel, by columns
_TITLE_LENGTH = {1: 90, 2: 52, 3: 46}


def draw_trend(trends: Sequence[Trend], album: Album) -> None:
    """Draw a picture for each workload and metric; cells that changed come first if not all find room."""
    groups: dict[tuple[str, str], list[Trend]] = {}
    for trend in trends:
        groups.setdefault((trend.workload, trend.metric.name), []).append(trend)
    for (workload, metric), found in groups.items():
        name = workload if metric == "ops_per_second" else f"{workload}-{metric}"
        if album.wants("history", f"history-{name}"):
            _draw(workload, found, name, album)


def _draw(workload: str, found: Sequence[Trend], name: str, album: Album) -> None:
    ordered = sorted(found, key=lambda trend: not trend.changes)
    longest = max(len(trend.points) for trend in found)
    room = max(2, min(MOST_PANELS, MOST_POINTS // longest))
    kept = {id(trend) for trend in ordered[:room]}
    shown = [trend for trend in found if id(trend) in kept]
    figure, panels = grid_of(len(shown))
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() * 1.12)
    for axes, trend in zip(panels, shown):
        _draw_panel(axes, trend, columns)
    first = shown[0]
    title = f"{workload}: {first.metric.title} of {first.allocator}"
    if first.baselines:
        title += " relative to " + (
            first.baselines[0] if len(first.baselines) == 1 else "the baselines"
        )
    figure.suptitle(f"{title}\n{_clip(first.machine, 100)}", fontsize=12 if columns == 1 else 13)
    legend_below(figure, panels, most=4)
    save(figure, album, "history", name, title, _caption(found, shown))


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length - 1]}…"


def _caption(found: Sequence[Trend], shown: Sequence[Trend]) -> str:
    baselines = shown[0].baselines
    text = "Median and quartiles of each commit, in their order; lines are the levels between changes."
    if baselines:
        text += f" The baselines are {', '.join(baselines)} (geometric mean), measured in the same rounds."
    count = sum(len(trend.changes) for trend in found)
    text += f" {count} {'change' if count == 1 else 'changes'} in {len(found)} cells."
    if len(shown) < len(found):
        text += f" {len(found) - len(shown)} cells are left out."
    return text


def _draw_panel(axes: Axes, trend: Trend, columns: int) -> None:
    scale = 1e6 if trend.metric.unit == "ops/s" and not trend.baselines else (
        1 << 20 if trend.metric.unit == "bytes" and not trend.baselines else 1
    )
    numbers = [point.number for point in trend.points]
    places = list(range(len(numbers)))
    draw_bars(axes, places, [n.lower_quartile / scale for n in numbers],
              [n.upper_quartile / scale for n in numbers], "#999999", width=2.2, alpha=0.6)
    for dirty, label in ((False, "a commit"), (True, "with changes not committed")):
        where = [place for place in places if trend.points[place].entry.dirty == dirty]
        if where:
            axes.plot(where, [numbers[place].median / scale for place in where], linestyle="none",
                      marker="o", markersize=4.5, color=_LINE, label=label,
                      markerfacecolor="white" if dirty else _LINE)
    ends = [0, *(found.change.place for found in trend.changes), len(numbers)]
    for low, high in zip(ends, ends[1:]):
        level = median(number.median for number in numbers[low:high]) / scale
        axes.hlines(level, low - 0.4, high - 0.6, color="#009E73", linewidth=1.8, zorder=3)
    _set_limits(axes, [n / scale for number in numbers
                       for n in (number.lower_quartile, number.median, number.upper_quartile)])
    for number, found in enumerate(trend.changes):
        _mark(axes, found, ends[number + 1] - 0.5, number)
    _set_names(axes, trend, columns)
    axes.set_ylabel(_unit(trend, scale))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.set_title(_clip(trend.title, _TITLE_LENGTH[columns]))


def _unit(trend: Trend, scale: float) -> str:
    unit = {"ops/s": "million operations a second", "bytes": "MiB"}.get(trend.metric.unit, trend.unit)
    return f"{trend.metric.title},\n{unit if scale != 1 else trend.unit}"


def _set_limits(axes: Axes, values: Sequence[float]) -> None:
    """Leave room for the marks on top; an outlier far away does not flatten the rest."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + 3.4 * margin)


def _mark(axes: Axes, found: NamedChange, place: float, number: int) -> None:
    colour = _WORSE if found.worse else _BETTER
    word = "worse" if found.worse else "better"
    axes.axvline(place, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), label=f"a change to the {word}")
    axes.annotate(
        f"{100 * (found.change.ratio - 1):+.1f}%", (place, 0.985 - 0.075 * (number % 3)),
        xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points", va="top",
        fontsize=8.5, color=colour, weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
    )


def _set_names(axes: Axes, trend: Trend, columns: int) -> None:
    """Name commits under the axis: those of changes for sure, others as they find room."""
    count = len(trend.points)
    apart = max(1, math.ceil(count / _LABELS[columns]))
    named = [found.change.place for found in trend.changes]
    for place in range(count - 1, -1, -1):
        if all(abs(place - other) >= apart for other in named):
            named.append(place)
    named.sort()
    axes.set_xticks(named, [trend.points[place].name for place in named], rotation=60, ha="right",
                    rotation_mode="anchor", fontsize=7.5)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.8, max(count - 0.2, 0.8))
    axes.set_xlabel("commit")
    axes.xaxis.grid(False)
