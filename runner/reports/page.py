"""Writes the report as one HTML page that holds everything it shows.

The page's policy forbids it to ask any place for anything, and to run any script but those that are named
by their hash: its own, and those of the flame graphs, each of which runs in a frame of its own.
"""
from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED, VERDICTS
from runner.errors import UsageError, explain_os_error
from runner.estimate import quantile
from runner.reports.model import Flame, Report, Row, Shown, Table, distinct
from runner.reports.figures import change, count, interval, percent, quantity
from runner.table import Block

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_MOST_SVG_BYTES = 400_000  # of a picture; a larger one is shown as its PNG
_NICE = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 9, 19, 49, 99)
_FEW_CARDS = 6
_LONG_DIGITS = re.compile(r"(\d+\.\d\d)\d+")
_PLACES = re.compile(r"""\b(?:d|x|y|width|height|points|transform)=(["']).*?\1""", re.S)
_NUMBER = re.compile(r"[-+\u2212]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script>", re.S | re.I)


@dataclass(frozen=True)
class Card:
    """The phases of one cell."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class CardGroup:
    """Cards under one heading."""

    title: str
    folded: bool
    cards: list[Card]


@dataclass(frozen=True)
class Scale:
    """A scale of changes, to twice as good and half as good alike; `end` is the change at its ends."""

    end: float

    def place(self, row: Row) -> dict[str, str]:
        """Return where a row's change and its interval are, in percent from the left, worse left."""
        ends = sorted(self._at(ratio, row) for ratio in (row.low, row.high))
        middle = self._at(row.ratio, row)
        band = f";--e:{_short(self._share(1 + row.effect))}%" if row.effect else ""
        low, high, shown = (_short(min(100.0, max(0.0, value))) for value in (*ends, middle))
        clipped = " out-left" if middle < 0 else " out-right" if middle > 100 else ""
        return {"style": f"--l:{low}%;--r:{high}%;--m:{shown}%{band}", "clipped": clipped}

    def _share(self, ratio: float) -> float:
        return 50 * math.log(ratio) / math.log(1 + self.end)

    def _at(self, ratio: float, row: Row) -> float:
        if not 0 < ratio < math.inf:
            return 50.0
        share = self._share(ratio)
        return 50 + (share if row.higher_is_better else -share)


def page(report: Report) -> str:
    """Return the page. Needs jinja2; raises UsageError where a picture can't be read."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=False,
        undefined=jinja2.StrictUndefined,
    )
    script = (_TEMPLATES / "report.js").read_text("utf-8")
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    scale = Scale(scale_end(report.rows))
    speeds = [row for row in report.rows if row.metric == "ops_per_second"]
    phase_scale = Scale(scale_end(speeds))
    known: dict[str, Any] = {
        "report": report, "script": Markup(script), "style": Markup(style),
        "policy": _policy(script, report), "sections": _sections(report),
        "phases": _card_groups(report), "phase_scale": phase_scale, "phase_effect": _effect(report),
        "filters": _filters(report), "columns": _columns(report), "rows": _sorted_rows(report),
        "has": _has(report), "unanswered": _unanswered(report),
        "blocks": [(block.title, _table(block)) for block in report.blocks],
        "table_scale": scale, "as_table": _table, "percent": percent, "interval": interval, "change": change,
        "quantity": quantity, "short": _short, "leading_number": leading_number,
        "verdict_place": VERDICTS.index, "picture_data": _of_markup(Markup, picture_data),
        "flame_text": _of_markup(Markup, flame_text), "flame_height": flame_height,
    }
    text: str = environment.get_template("report.html").render(known)
    return text


def _of_markup(markup: Callable[[str], Any], function: Callable[[Any], str]) -> Callable[[Any], Any]:
    return lambda value: markup(function(value))


def _policy(script: str, report: Report) -> str:
    scripts = [script, *(
        text for profile in report.profiles for flame in profile.flames for text in scripts_of(flame.svg)
    )]
    hashes = distinct(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {' '.join(hashes)}; "
        "base-uri 'none'; form-action 'none'"
    )


def scripts_of(svg: str) -> list[str]:
    """Return the scripts in an SVG, as the page that holds it will run them."""
    found: list[str] = []
    for text in _SCRIPT.findall(svg):
        inside = text.strip()
        if inside.startswith("<![CDATA[") and inside.endswith("]]>"):
            begin = text.index("<![CDATA[")
            end = text.rindex("]]>")
            found.append(text[:begin] + text[begin + 9:end] + text[end + 3:])
        else:
            found.append(html.unescape(text))
    return found


def scale_end(rows: Sequence[Row]) -> float:
    """Return the change at the ends of the scale: twice the limit fits, most intervals do, and most
    changes that are sure; what is beyond is marked at the edge, so that one change hides no other."""
    needed = 2 * max((row.effect for row in rows), default=0.0)
    ends = sorted(max(_size(row.low), _size(row.high)) for row in rows)
    changes = sorted(_size(row.ratio) for row in rows if row.verdict in (SLOWER, FASTER))
    for found, share, room in ((ends, 0.75, 1.2), (changes, 0.5, 1.6)):
        if found:
            needed = max(needed, room * math.expm1(quantile(found, share)))
    return next((nice for nice in _NICE if nice >= needed), _NICE[-1])


def _size(ratio: float) -> float:
    return abs(math.log(ratio)) if 0 < ratio < math.inf else 0.0


def _effect(report: Report) -> float:
    return next((row.effect for row in report.rows if row.metric == "ops_per_second"), 0.0)


def _card_groups(report: Report) -> list[CardGroup]:
    """The cells whose throughput is known by phase; those where something changed come first."""
    cards: dict[tuple[str, str], list[Row]] = {}
    for row in report.rows:
        if row.metric == "ops_per_second":
            cards.setdefault((row.cell, row.versus), []).append(row)
    changed: list[Card] = []
    others: list[Card] = []
    for (cell, versus), rows in cards.items():
        if not any(row.phase for row in rows):
            continue
        title = f"{cell}, {versus}" if report.many_versus else cell
        kind = changed if any(row.verdict in (SLOWER, FASTER) for row in rows) else others
        kind.append(Card(title, rows))
    groups = [CardGroup("", False, changed)] if changed else []
    if others:
        title = f"{count(len(others), 'cell')} in which no phase got surely slower or faster"
        groups.append(CardGroup(title, bool(changed) or len(others) > _FEW_CARDS, others))
    return groups


def _sorted_rows(report: Report) -> list[Row]:
    return sorted(report.rows, key=lambda row: row.rank)


def _has(report: Report) -> dict[str, Any]:
    notes = distinct(
        f"{row.where}, {row.title}: {'; '.join(row.notes)}" for row in report.rows
        if row.notes and report.kind == "comparison"
    )
    if report.kind == "run":
        notes = distinct(note for row in report.rows for note in row.notes)
    return {
        "phase": any(row.phase for row in report.rows), "versus": report.many_versus, "notes": notes,
    }


def _columns(report: Report) -> list[dict[str, Any]]:
    has = _has(report)
    against = "against" if report.kind == "run" else "build"
    names: list[tuple[str, str, bool]] = [("cell", "cell", False)]
    names += [("phase", "phase", False)] if has["phase"] else []
    names += [("versus", against, False)] if has["versus"] else []
    base, new = ("other", report.new) if report.kind == "run" else ("base", "new")
    names += [
        ("metric", "metric", False), ("verdict", "verdict", False), ("change", "change", True),
        ("chart", "", False), ("interval", "interval", True), ("base", base, True), ("new", new, True),
        ("pairs", "pairs", True),
    ]
    return [
        {"name": name, "title": title, "number": number,
         "sorted": "ascending" if name == "verdict" else ""}
        for name, title, number in names
    ]


def _filters(report: Report) -> list[tuple[str, str, list[str]]]:
    choices = [
        ("workload", "Workload", distinct(row.workload for row in report.rows)),
        ("phase", "Phase", distinct(row.phase_title for row in report.rows)),
        ("versus", "Against" if report.kind == "run" else "Build",
         distinct(row.versus for row in report.rows)),
        ("metric", "Metric", distinct(row.title for row in report.rows)),
    ]
    shown = [choice for choice in choices if len(choice[2]) > 1]
    present = [word for word in VERDICTS if any(row.verdict == word for row in report.rows)]
    every = [SLOWER, FASTER, UNDECIDED, SAME] if report.kind == "comparison" else present
    return [*shown, ("verdict", "Verdict", every)]


def _sections(report: Report) -> list[tuple[str, str]]:
    known = [
        ("phases", "By phase", bool(_card_groups(report))), ("answers", "Answers", bool(report.rows)),
        ("unanswered", "Not answered", bool(report.unanswered)),
        ("tables", "Tables", bool(report.blocks)), ("pictures", "Pictures", bool(report.pictures)),
        ("profiles", "Profiles", bool(report.profiles)), ("history", "History", bool(report.trends)),
        ("machine", "Machine", True),
    ]
    return [(name, title) for name, title, there in known if there]


def _unanswered(report: Report) -> Table:
    return Table(["where", "metric", "why"],
                 [[entry.where, entry.title, entry.reason] for entry in report.unanswered])


def _table(block: Block) -> Table:
    return Table(block.headings, block.rows, frozenset(range(1, len(block.headings))))


def leading_number(text: str) -> str:
    """Return the first number in a text, to sort by; an empty text where there is none."""
    found = _NUMBER.search(text)
    return found.group().replace(",", "").replace("\u2212", "-") if found else ""


def _short(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def picture_data(picture: Shown) -> str:
    """Return a picture as the address of an image, safe between double quotes."""
    try:
        small = picture.svg.is_file() and picture.svg.stat().st_size <= _MOST_SVG_BYTES
        if small or not picture.png.is_file():
            svg = picture.svg.read_text("utf-8")
            return f"data:image/svg+xml,{_quoted(_rounded(svg))}"
        data = base64.b64encode(picture.png.read_bytes()).decode("ascii")
        return f"data:image/png;base64,{data}"
    except OSError as error:
        raise UsageError(explain_os_error(error, Path(error.filename or picture.svg))) from error


def _rounded(svg: str) -> str:
    """Hundredths of a point are as fine as anyone sees, and half as long."""
    short = _PLACES.sub(lambda found: _LONG_DIGITS.sub(r"\1", found.group()), svg)
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", short, flags=re.S))


def _quoted(text: str) -> str:
    for character, code in (("%", "%25"), ("#", "%23"), ('"', "%22"), ("&", "%26"), ("<", "%3C"),
                            (">", "%3E")):
        text = text.replace(character, code)
    return text


def flame_text(flame: Flame) -> str:
    """Return a flame graph as a JSON string that can stand in a script."""
    page_of_its_own = f"<!DOCTYPE html><style>body{{margin:0}}</style>{flame.svg}"
    return json.dumps(page_of_its_own, ensure_ascii=False).replace("<", "\\u003c").replace(
        "\u2028", "\\u2028").replace("\u2029", "\\u2029")


def flame_height(flame: Flame) -> int:
    """Return how high a flame graph is, in pixels."""
    found = re.search(r"<svg\b[^>]*?\bheight=[\"']([\d.]+)", flame.svg)
    return math.ceil(float(found.group(1))) + 2 if found else 600
