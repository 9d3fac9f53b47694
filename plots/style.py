"""How the pictures look: colours, markers, sizes, and how they are saved.

The colours are those of Okabe and Ito, which people with any kind of colour blindness can tell
apart; every allocator has a marker of its own besides.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PNG_DOTS_PER_INCH = 130
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


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and PNG; return both paths."""
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    figure.savefig(paths[0], metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    figure.savefig(
        paths[1], dpi=PNG_DOTS_PER_INCH, metadata={"Software": None}, bbox_inches="tight"
    )
    return paths


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
