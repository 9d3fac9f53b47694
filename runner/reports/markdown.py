"""Writes the report as Markdown for a pull request, never longer than a comment may be.

GitHub takes 65,536 characters. What stands in every report is cut to a fixed size first; the tables
then share what is left, the most important first, each line whole or not at all.
"""
from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional
from urllib.parse import quote

from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED
from runner.markdown_text import fenced
from runner.reports.model import Profile, Report, Row, Shown, Table, Trend
from runner.reports.figures import change, count, interval, quantity
from runner.table import Block

MARKER = "<!-- hakmem-report -->"
LIMIT_BYTES = 64_000  # of 65,536: whoever posts it may add a line
_MOST_REMARKS = 12
_MOST_NAME = 100
_MOST_SENTENCE = 600
_MOST_COMMANDS = 3_000  # bytes
_MOST_FACTS = 24
_MOST_OPEN_ROWS = 25  # rows that are not folded, in each of the first tables
_MOST_UNANSWERED = 100
_MOST_FUNCTIONS = 15
_MOST_COMMITS = 20
_PICTURE_SHARE = 8_000  # bytes
_LEFT_OUT_BYTES = 300  # for the sentence that says what did not fit

_TITLES = {
    SLOWER: "Slower, or more of what should be less",
    FASTER: "Faster, or less of what should be less",
    UNDECIDED: "Undecided",
    SAME: "The same",
}
Link = Callable[[Shown], str]


def markdown(report: Report, link: Link, page: str = "", limit: int = LIMIT_BYTES) -> str:
    """Return the report, at most `limit` bytes in UTF-8. `link` gives the address of a picture; `page`
    says where everything is, such as "the page"."""
    more = page or "the page that --html writes"
    first = _first_lines(report)
    last = _last_lines(report)
    rest = limit - _size(first) - _size(last)
    pictures = _pictures(report.pictures, link, min(_PICTURE_SHARE, rest // 4))
    rest -= _size(pictures) + _LEFT_OUT_BYTES
    middle: list[str] = []
    left_out: list[str] = []
    for part in _parts(report):
        lines = part.lines(rest, more)
        if not lines:
            left_out.append(part.title)
        middle += lines
        rest -= _size(lines)
    if left_out:
        middle += [f"Left out for length, and shown in {more}: {count(len(left_out), 'table')}.", ""]
    return "\n".join([*first, *middle, *pictures, *last]) + "\n"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8")) + 1 for line in lines)


@dataclass(frozen=True)
class _Lines:
    """A table whose lines are made when they are needed: of most rows of a large one none ever is."""

    headings: list[str]
    rows: Sequence[Any]
    cells: Callable[[Any], list[str]]
    numbers: frozenset[int] = frozenset()


class _Part:
    """A heading and a table, whose lines are cut to what fits; folded ones have a summary."""

    def __init__(self, title: str, table: _Lines, folded: bool, before: Sequence[str] = (),
                 most_rows: Optional[int] = None) -> None:
        self.title, self.table, self.folded = title, table, folded
        self.before, self.most_rows = before, most_rows

    def lines(self, room: int, more: str) -> list[str]:
        """Return the lines that fit into `room` bytes, none if not even a line of the table does."""
        if self.folded:
            head = ["<details>", f"<summary>{html.escape(one_line(self.title))}</summary>", "",
                    *self.before]
            foot = ["", "</details>", ""]
        else:
            head, foot = [f"### {escape(self.title)}", "", *self.before], [""]
        rows = self.table.rows
        if rows:
            marks = ["---:" if n in self.table.numbers else "---" for n in range(len(self.table.headings))]
            head += [_line([escape(text) for text in self.table.headings]), _line(marks)]
        cut = f"\u2026 and {len(rows):,} more in {more}."
        rest = room - _size(head) - _size(foot) - len(cut.encode("utf-8")) - 2
        shown: list[str] = []
        for row in rows[:self.most_rows]:
            text = _line(self.table.cells(row))
            rest -= len(text.encode("utf-8")) + 1
            if rest < 0:
                break
            shown.append(text)
        if rest < 0 and not shown:
            return []
        if len(shown) < len(rows):
            foot = ["", f"\u2026 and {len(rows) - len(shown):,} more in {more}.", *foot]
        return [*head, *shown, *foot]


def _parts(report: Report) -> list[_Part]:
    """The tables, the most important first."""
    changed: list[_Part] = []
    if report.broken:
        fails = Table(["where", "why"], [[entry.where, entry.reason] for entry in report.broken])
        changed.append(_Part(f"Fails: {len(report.broken):,}", _text_table(fails, _MOST_SENTENCE), False,
                             most_rows=_MOST_OPEN_ROWS))
    folded: list[_Part] = []
    for verdict, title in _TITLES.items():
        rows = report.with_verdict(verdict)
        title = f"{title}: {len(rows):,}"
        if rows and verdict in (SLOWER, FASTER):
            changed.append(_Part(title, _answers(report, rows[:_MOST_OPEN_ROWS]), False))
            rows, title = rows[_MOST_OPEN_ROWS:], f"{verdict.capitalize()}, the others"
        if rows:
            folded.append(_Part(title, _answers(report, rows), True))
    blocks = [
        _Part(block.title, _block(block), True) for block in report.blocks
    ]
    extra = [part for profile in report.profiles for part in _profile(profile)]
    extra += [_trend(trend) for trend in report.trends]
    if report.unanswered:
        reasons = [[entry.where, entry.title, entry.reason] for entry in report.unanswered]
        table = _text_table(Table(["where", "metric", "why"], reasons), _MOST_SENTENCE)
        extra.append(_Part(f"Not answered: {len(reasons):,}", table, True, most_rows=_MOST_UNANSWERED))
    if report.kind == "run":
        return [*changed, *blocks, *extra, *folded]
    return [*changed, *extra, *folded, *blocks]


def _answers(report: Report, rows: Sequence[Row]) -> _Lines:
    sides = ["other", report.new] if report.kind == "run" else ["base", "new"]
    phases, versus = any(row.phase for row in rows), report.many_versus
    headings = [
        "where", *(["phase"] if phases else []),
        *([("against" if report.kind == "run" else "build")] if versus else []),
        "metric", "change", "interval", *sides, "pairs",
    ]

    def cells(row: Row) -> list[str]:
        return [
            escape(row.cell), *([escape(row.phase_title)] if phases else []),
            *([escape(row.versus)] if versus else []), escape(row.title), f"**{change(row.ratio)}**",
            interval(row.low, row.high), quantity(row.base, row.unit), quantity(row.new, row.unit),
            f"{row.pairs:,}",
        ]

    return _Lines(headings, rows, cells, frozenset(range(len(headings) - 5, len(headings))))


def _text_table(table: Table, most: int = _MOST_NAME) -> _Lines:
    return _Lines(table.headings, table.rows, lambda row: [escape(text, most) for text in row],
                  table.numbers)


def _block(block: Block) -> _Lines:
    return _text_table(Table(block.headings, block.rows, frozenset(range(1, len(block.headings)))))


def _first_lines(report: Report) -> list[str]:
    lines = [f"**{escape(report.strong.strip(), 300)}**{escape(report.sentence, 1500)}", MARKER, ""]
    remarks = report.remarks[:_MOST_REMARKS]
    lines += [f"> - {escape(remark, _MOST_SENTENCE)}" for remark in remarks]
    if len(report.remarks) > len(remarks):
        lines.append(f"> - and {count(len(report.remarks) - len(remarks), 'more remark')}.")
    return lines + ([""] if remarks else [])


def _last_lines(report: Report) -> list[str]:
    facts = [*report.builds, *report.machine]
    lines = ["<details>", "<summary>Machine, builds, and how to repeat it</summary>", ""]
    lines += [f"{escape(sentence, 1000)}\n" for sentence in report.method]
    lines += [f"- {escape(name)}: {escape(value, 300)}" for name, value in facts[:_MOST_FACTS]]
    if len(facts) > _MOST_FACTS:
        lines.append(f"- and {count(len(facts) - _MOST_FACTS, 'more line')}.")
    commands, room = [], _MOST_COMMANDS
    for command in report.commands:
        room -= len(command.encode("utf-8"))
        if room < 0:
            break
        commands.append(command.replace("\n", " "))
    if commands:
        lines += ["", *fenced("\n".join(commands), "sh")]
    if len(commands) < len(report.commands):
        left = len(report.commands) - len(commands)
        lines += ["", f"{count(left, 'command')} left out, for length."]
    return [*lines, "", "</details>"]


def _pictures(pictures: Sequence[Shown], link: Link, room: int) -> list[str]:
    if not pictures:
        return []
    head = ["<details>", f"<summary>Pictures: {len(pictures):,}</summary>", ""]
    foot = ["", "</details>", ""]
    room -= _size(head) + _size(foot) + 60
    lines: list[str] = []
    for number, picture in enumerate(pictures):
        text = f"![{escape(picture.title)}]({address(link(picture))})"
        room -= len(text.encode("utf-8")) + 2
        if room < 0:
            lines.append(f"\u2026 and {count(len(pictures) - number, 'more picture')}.")
            break
        lines += [text, ""]
    return [*head, *lines, *foot]


def _profile(profile: Profile) -> list[_Part]:
    """A part for each table; the first one has the sentences."""
    before = [f"{escape(sentence, _MOST_SENTENCE)}\n" for sentence in profile.sentences[:8]]
    if profile.flames:
        before.append("The page has the flame graphs.\n")
    tables = profile.tables or [Block("", [], [])]
    return [
        _Part(f"Profile: {profile.title}" if not number else f"Profile: {block.title}", _block(block),
              True, before if not number else [], _MOST_FUNCTIONS)
        for number, block in enumerate(tables)
    ]


def _trend(trend: Trend) -> _Part:
    before = [f"{escape(sentence, _MOST_SENTENCE)}\n" for sentence in trend.sentences[:6]]
    table = _text_table(trend.table or Table([], []))
    return _Part(f"History: {trend.title}", table, True, before, _MOST_COMMITS)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def one_line(text: str) -> str:
    """Return the text without line breaks and other control characters."""
    return re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters, cut in the middle: names differ at their ends."""
    if len(text) <= most:
        return text
    front = (most - 1) * 2 // 3
    return text[:front] + "\u2026" + text[len(text) - (most - 1 - front):]


def escape(text: str, most: int = _MOST_NAME) -> str:
    """Return text that Markdown shows as it is, in a line or in a cell of a table, and that calls
    nobody: a zero-width space follows each @ and #."""
    text = shorten(one_line(text), most)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\|*`\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", text)
    text = re.sub(r"^([#+=-])", r"\\\1", text)
    return re.sub(r"([@#])(?=\w)|(?<=https:)(//)|(?<=http:)(//)", lambda m: m.group() + "\u200b", text)


def address(text: str) -> str:
    """Return an address that can stand in a Markdown link."""
    return quote(one_line(text), safe="/:?&=%+@~,;!$*#.-_")
