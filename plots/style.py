"""How the pictures look: colours, markers, sizes, and how they are saved.

The colours are those of Okabe and Ito, which people with any kind of colour blindness can tell
apart; every allocator has a marker of its own besides.
"""
from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.album import Album, Picture

PNG_DOTS_PER_INCH = 130
_REFERENCE = re.compile(r'(xlink:href="#|url\(#)([^")]+)')
_FAMILIES = "'DejaVu Sans', 'Verdana', sans-serif"
_TEXT_FONT = rf"font: (?:(\w+) )?([\d.]+px) {_FAMILIES}"
_INHERITED = f'style="stroke-linejoin: round; stroke-linecap: butt; font-family: {_FAMILIES}"'
_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A6A00", "#5D3A9B")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_KNOWN = {
    "hakmem": ("#D55E00", "o"),
    "mimalloc": ("#0072B2", "s"),
    "jemalloc": ("#009E73", "^"),
    "tcmalloc": ("#CC79A7", "D"),
    "tbbmalloc": ("#E69F00", "v"),
    "system": ("#56B4E9", "P"),
    "none": ("#555555", "x"),
    "floor": ("#7A6A00", "X"),
    "base": ("#0072B2", "s"),
    "new": ("#D55E00", "o"),
}


@dataclass(frozen=True)
class Look:
    """How one allocator is drawn."""

    colour: str
    marker: str
    width: float


def set_defaults() -> None:
    """Set what holds for all pictures; the same results give the same files."""
    matplotlib.rcParams.update({
        "font.size": 10,
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "svg.hashsalt": "hakmem",
        "svg.fonttype": "none",
    })
    if "text.parse_math" in matplotlib.rcParams:  # since 3.6; a dollar in a branch's name is no formula
        matplotlib.rcParams["text.parse_math"] = False


def looks_of(names: Sequence[str], subject: str) -> dict[str, Look]:
    """Return a look for each allocator; the subject's line is thicker."""
    used = {_KNOWN[name] for name in names if name in _KNOWN}
    free = [
        pair for shift in range(len(_MARKERS))
        for pair in zip(_PALETTE, _MARKERS[shift:] + _MARKERS[:shift])
        if pair not in used
    ]
    # Colours that no known allocator of this run has come first.
    taken = {colour for colour, _ in used}
    free.sort(key=lambda pair: pair[0] in taken)
    looks: dict[str, Look] = {}
    for name in names:
        colour, marker = _KNOWN[name] if name in _KNOWN else free.pop(0)
        looks[name] = Look(colour, marker, 2.4 if name == subject else 1.4)
    return looks


def save(
    figure: Figure, album: Album, kind: str, subject: str, title: str, caption: str
) -> None:
    """Write a figure as SVG and PNG into an album. `subject` tells it from others of its kind; it is
    made fit for a file's name."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", subject).strip("-.")
    name = f"{kind}-{plain}" if plain else kind
    picture = Picture(
        kind, name, title, caption, album.folder / f"{name}.svg", album.folder / f"{name}.png"
    )
    # Both are done once here, and not again for each file.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    around = figure.get_tightbbox().padded(0.1)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches=around)
    picture.svg.write_text(_finish_svg(drawn.getvalue(), picture), "utf-8")
    if album.png:
        figure.savefig(
            picture.png, dpi=PNG_DOTS_PER_INCH, metadata={"Software": None}, bbox_inches=around
        )
    album.pictures.append(picture)


def _finish_svg(text: str, picture: Picture) -> str:
    """Give every id the picture's name, since several pictures may stand in one page; say what it shows
    to who can't see it; and leave out what only makes the file longer."""
    # Its style sheet would hold for the whole page.
    text = re.sub(r'<defs>\s*<style type="text/css">.*?</style>\s*</defs>\n?', "", text, flags=re.S)
    text = re.sub(r"<metadata>.*?</metadata>\n?", "", text, flags=re.S)
    text = re.sub(r"(?m)^ +|<!--.*?-->\n?|<\?xml.*?\?>\n?|<!DOCTYPE[^>]*>\n?", "", text)
    used = dict.fromkeys(_REFERENCE.findall(text))
    new = {old: f"{picture.name}-{number}" for number, (_, old) in enumerate(used)}

    def finish_tag(match: re.Match[str]) -> str:
        tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{new[m[1]]}"' if m[1] in new else "", match[0])
        tag = _REFERENCE.sub(lambda m: m[1] + new[m[2]], tag)
        tag = re.sub(_TEXT_FONT, r"font-weight: \1; font-size: \2", tag).replace("font-weight: ; ", "")
        return re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)

    text = re.sub(r"<[^>]+>", finish_tag, text)
    text = re.sub(r'(<g clip-path="[^"]+")>\n((?:<use [^>]+/>\n)+)</g>', _hoist_style, text)
    label = html.escape(f"{picture.title}. {picture.caption}", quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" {_INHERITED} ', 1)


def _hoist_style(match: re.Match[str]) -> str:
    """Say once what all points of a line look like."""
    styles = set(re.findall(r' style="([^"]*)"', match[2]))
    if len(styles) != 1 or match[2].count(" style=") != match[2].count("<use "):
        return match[0]
    points = re.sub(r' style="[^"]*"', "", match[2])
    return f'{match[1]} style="{styles.pop()}">\n{points}</g>'


def draw_bars(
    axes: Axes, places: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str,
    width: float, alpha: float,
) -> None:
    """Draw a bar at each place from low to high, all as one line: an SVG says its style once."""
    across = [value for place in places for value in (place, place, math.nan)]
    up = [value for low, high in zip(lows, highs) for value in (low, high, math.nan)]
    axes.plot(across, up, color=colour, linewidth=width, alpha=alpha, solid_capstyle="butt")


def legend_below(figure: Figure, axes: Sequence[Axes], most: int) -> None:
    """Put one legend for all panels under them, where it covers nothing, in rows of about equal
    length with at most `most` entries."""
    entries: dict[str, object] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, 0.0),
        ncol=math.ceil(len(entries) / math.ceil(len(entries) / most)),
    )


def grid_of(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, in one to three columns."""
    columns = min(count, 1 if count == 1 else 2 if count <= 4 else 3)
    rows = math.ceil(count / columns)
    figure = Figure(
        figsize=(7.6 if columns == 1 else 4.6 * columns, 4.2 if rows == 1 else 3.3 * rows),
        layout="constrained",
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]
