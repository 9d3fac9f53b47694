"""Reads from a Markdown page what can be wrong about it: its headings' anchors, its links, its code."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*$")
_CODE_SPAN = re.compile(r"(`+)(.+?)(?<!`)\1(?!`)", re.S)
_LINK = re.compile(r"\]\(\s*<?([^()<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.M)
_ANCHOR = re.compile(r"<a\s[^>]*?\b(?:id|name)=[\"']([^\"']+)")
_COMMENT = re.compile(r"<!--.*?-->", re.S)


@dataclass(frozen=True)
class Piece:
    """A link's target or a line of code, with its line in the page."""

    line: int
    text: str


@dataclass
class Page:
    """A page. `code` holds the lines of code blocks and the texts between backticks."""

    anchors: set[str] = field(default_factory=set)
    links: list[Piece] = field(default_factory=list)
    code: list[Piece] = field(default_factory=list)


def read_page(text: str) -> Page:
    """Return what a page's text holds."""
    page = Page()
    prose = _without_blocks(_COMMENT.sub(_blank, text), page)
    for match in _CODE_SPAN.finditer(prose):
        page.code.append(Piece(_line_of(prose, match.start()), " ".join(match[2].split())))
    _read_headings(prose, page)
    bare = _CODE_SPAN.sub(_blank, prose)
    for pattern in (_LINK, _REFERENCE):
        page.links += [Piece(_line_of(bare, m.start(1)), unquote(m[1])) for m in pattern.finditer(bare)]
    page.anchors.update(_ANCHOR.findall(bare))
    return page


def _blank(match: re.Match[str]) -> str:
    """What is taken out leaves its line ends, so that lines keep their numbers."""
    return "\n" * match[0].count("\n")


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _without_blocks(text: str, page: Page) -> str:
    """Return the text with code blocks emptied; their lines go to the page, continued ones as one."""
    kept: list[str] = []
    fence, begin, code = "", 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        match = _FENCE.match(line)
        if not fence and match:
            fence = match[1]
        elif fence and match and match[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif fence:
            begin = begin if code else number
            code += line
            if code.endswith("\\"):
                code = code[:-1] + " "
            else:
                page.code.append(Piece(begin, code))
                code = ""
        else:
            kept.append(line)
            continue
        kept.append("")
    return "\n".join(kept)


def _read_headings(prose: str, page: Page) -> None:
    counts: dict[str, int] = {}
    for line in prose.splitlines():
        match = _HEADING.match(line)
        if match is None:
            continue
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = counts.get(slug, 0)
        counts[slug] = count + 1
        page.anchors.add(slug if not count else f"{slug}-{count}")
