"""Draws stacks as a flame graph (Gregg, "The Flame Graph", CACM 59(6), 2016): an SVG file that stands for
itself, zooms and can be searched in a browser, and can be put into a page as it is.

Every frame lies on those that called it; its width is what it costs with all that it calls. Places are
given in per cent, so that the picture is as wide as there is room and its letters keep their size. Nothing
in it has an id or a global name; its classes all begin with "hakflame".
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Optional

from runner.profiles.folded_stacks import ROLES, Place, Profile

MOST_BYTES = 480_000
SMALLEST_SHARE = 0.001  # narrower frames are drawn as one
DEEPEST = 90
_ROW, _FRAME_HEIGHT = 19, 18
_TOP, _BOTTOM = 106, 30
_LABELLED_SHARE = 0.03  # the script labels narrower frames where there is room
_STEPS = 6  # of a difference's colour
_FOLDER = Path(__file__).resolve().parent
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Node:
    """A frame with what lies on it. `width` is what is drawn; `own` its costs on both sides (of a
    single profile: on one)."""

    name: str
    place: Optional[Place]
    costs: list[float]
    children: dict[tuple[object, ...], Node] = field(default_factory=dict)
    merged: int = 0  # how many frames this one stands for, where they were too narrow

    @property
    def width(self) -> float:
        """What the frame is drawn as wide as: the mean of both sides, so that what is gone shows too."""
        return sum(self.costs) / len(self.costs)


@dataclass(frozen=True)
class Heading:
    """What stands over the picture."""

    title: str
    subtitle: str
    unit: str


@dataclass(frozen=True)
class _Drawn:
    x: float
    depth: int
    share: float
    node: Node


def flame_graph(profile: Profile, heading: Heading) -> str:
    """Return the flame graph of a profile."""
    tree = _tree([profile], lambda place: (place.name, place.role, place.object, place.inlined))

    def tell(node: Node) -> str:
        cost = node.costs[0]
        share = cost / tree.width if tree.width else 0.0
        return f"{share:.2%}, {figure(cost)} {heading.unit}{_where(node)}"

    legend = "".join(
        _legend(x, f"hakflame-{role}", role) for role, x in zip(ROLES, (8, 88, 146, 192, 250))
    )
    return _draw(tree, heading, legend, tell, _role_class)


def difference_graph(base: Profile, new: Profile, heading: Heading) -> str:
    """Return the flame graph of both: as wide as the mean of both costs, orange where `new` costs more
    and blue where it costs less, the stronger the more of all costs the change is."""
    tree = _tree([base, new], lambda place: (*place.key, place.inlined))
    whole = max(tree.width, 1e-30)

    def tell(node: Node) -> str:
        before, after = node.costs
        ratio = f", {after / before - 1:+.1%}" if before and after else ""
        return (
            f"{figure(before)} to {figure(after)} {heading.unit} ({figure(after - before, sign=True)}{ratio})"
            f"{_where(node)}"
        )

    def look(node: Node) -> str:
        change = (node.costs[1] - node.costs[0]) / whole
        step = min(_STEPS, round(_STEPS * (abs(change) / 0.10) ** 0.5))  # at 10% of all it is full
        if step == 0:
            return 'class="hakflame-other"'
        side = "grew" if change > 0 else "shrank"
        return f'class="hakflame-{side}" fill-opacity="{0.1 + 0.7 * step / _STEPS:.2f}"'

    legend = (
        _legend(8, "hakflame-grew", "costs more") + _legend(100, "hakflame-shrank", "costs less")
        + _legend(184, "hakflame-other", "the same")
    )
    return _draw(tree, heading, legend, tell, look)


def figure(value: float, sign: bool = False) -> str:
    """Return a cost with three digits that matter."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.0995 else 3
    return f"{value:{'+' if sign else ''}.{digits}f}"


def _tree(profiles: list[Profile], key_of: Callable[[Place], tuple[object, ...]]) -> Node:
    root = Node("all", None, [0.0] * len(profiles))
    for side, profile in enumerate(profiles):
        for stack, weight in profile.stacks.items():
            cost = profile.cost(weight)
            node = root
            node.costs[side] += cost
            for place in stack[:DEEPEST]:
                key = key_of(place)
                child = node.children.get(key)
                if child is None:
                    name = place.name if len(profiles) == 1 else place.key[1]
                    child = node.children[key] = Node(name, place, [0.0] * len(profiles))
                child.costs[side] += cost
                node = child
    return root


def _where(node: Node) -> str:
    if node.place is None:
        return f"\n{node.merged} frames too narrow to show" if node.merged else ""
    parts = [node.place.object] if node.place.object else []
    parts += [node.place.role] if node.place.role not in parts else []
    return f"\n{', '.join(parts)}{', inlined' if node.place.inlined else ''}"


def _role_class(node: Node) -> str:
    role = node.place.role if node.place is not None else "other"
    inlined = " hakflame-inlined" if node.place is not None and node.place.inlined else ""
    return f'class="hakflame-{role}{inlined}"'


def _lay_out(root: Node, smallest: float) -> list[_Drawn]:
    """Return the frames to draw, a frame before what lies on it; `smallest` is a share of all."""
    whole = root.width
    drawn = [_Drawn(0.0, 0, 1.0, root)]
    waiting = [drawn[0]]
    while waiting:
        below = waiting.pop()
        x = below.x
        narrow: list[Node] = []
        for child in sorted(below.node.children.values(), key=lambda node: node.name):
            share = child.width / whole if whole else 0.0
            if share < smallest:
                narrow.append(child)
                continue
            drawn.append(_Drawn(x, below.depth + 1, share, child))
            waiting.append(drawn[-1])
            x += share
        costs = [sum(node.costs[side] for node in narrow) for side in range(len(root.costs))]
        rest = Node("(others)", None, costs, merged=len(narrow))
        if whole and rest.width / whole >= smallest:
            drawn.append(_Drawn(x, below.depth + 1, rest.width / whole, rest))
    return drawn


def _draw(
    root: Node, heading: Heading, legend: str, tell: Callable[[Node], str], look: Callable[[Node], str]
) -> str:
    smallest = SMALLEST_SHARE
    while True:
        drawn = _lay_out(root, smallest)
        rows = 1 + max(frame.depth for frame in drawn)
        text = _document(heading, legend, rows, (_frame(f, rows, tell, look) for f in drawn))
        if len(text.encode("utf-8")) <= MOST_BYTES or len(drawn) <= 2:
            return text
        smallest *= 1.5


def _frame(
    frame: _Drawn, rows: int, tell: Callable[[Node], str], look: Callable[[Node], str]
) -> str:
    node = frame.node
    name = _text(node.name)
    y = _TOP + (rows - 1 - frame.depth) * _ROW
    label = f'<text x="3" y="13">{name}</text>' if frame.share >= _LABELLED_SHARE else ""
    return (
        f'<svg class="hakflame-frame" x="{frame.x * 100:.4f}%" y="{y}" width="{frame.share * 100:.4f}%" '
        f'height="{_FRAME_HEIGHT}"><title>{name}\n{_text(tell(node))}</title>'
        f'<rect {look(node)} width="100%" height="100%" rx="2"/>{label}</svg>\n'
    )


def _legend(x: int, look: str, word: str) -> str:
    return (
        f'<rect class="{look}" x="{x}" y="48" width="12" height="12" rx="2"/>'
        f'<text class="hakflame-soft" x="{x + 16}" y="58">{word}</text>'
    )


def _document(heading: Heading, legend: str, rows: int, frames: Iterable[str]) -> str:
    height = _TOP + rows * _ROW + _BOTTOM
    style = (_FOLDER / "flame_graph.css").read_text("utf-8")
    script = (_FOLDER / "flame_graph.js").read_text("utf-8")
    title = _text(heading.title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="hakflame" width="100%" height="{height}">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n"
        '<rect class="hakflame-back" width="100%" height="100%"/>\n'
        f'<text class="hakflame-title" x="8" y="21">{title}</text>\n'
        f'<text class="hakflame-soft" x="8" y="39">{_text(heading.subtitle)}</text>\n'
        f"{legend}\n{''.join(frames)}"
        f'<text class="hakflame-soft hakflame-detail" x="8" y="{height - 10}">'
        "click a frame to zoom, point at it to read</text>\n"
        f"<script><![CDATA[\n{script}]]></script>\n</svg>\n"
    )


def _text(text: str) -> str:
    """Return a text as it may stand in XML, whatever a symbol's name holds."""
    return escape(_NOT_XML.sub("\ufffd", text))
