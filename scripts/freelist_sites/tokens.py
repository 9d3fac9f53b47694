"""Splits C text into tokens, with the line of each: comments and line continuations are gone."""
from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional


class Place(NamedTuple):
    """Where something is written: a file, the position in its text, and the line for people."""

    file: str
    position: int
    line: int


@dataclass(frozen=True)
class Token:
    """One token. `kind` is id, num, str, chr or op.

    A token that a macro brought is at the macro's use; `written` is then where the macro's body
    has it, and `macro` the outermost macro's name. `hidden`: macros it came from, not to be
    expanded in it again."""

    kind: str
    text: str
    place: Place
    macro: str = ""
    written: Optional[Place] = None
    hidden: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[Place, Optional[Place]]:
        """What tells this occurrence from every other one, however often it was copied."""
        return self.place, self.written

    def brought_by(self, use: Token, macro: str) -> Token:
        """Return this token of a macro's body as it stands where the macro is used."""
        return replace(
            self, place=use.place, macro=use.macro or macro, written=self.written or self.place,
            hidden=self.hidden | use.hidden | {macro},
        )


_SPLICE = re.compile(r"\\[ \t]*\n")
_TOKEN = re.compile(
    r"""(?P<skip>/\*.*?(?:\*/|\Z)|//[^\n]*|[ \t\f\v\r]+)
      |(?P<newline>\n)
      |(?P<str>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*"?)
      |(?P<chr>[uUL]?'(?:\\.|[^'\\\n])*'?)
      |(?P<num>\.?\d(?:[eEpP][+-]|[\w.])*)
      |(?P<id>[^\W\d]\w*|\$\w*)
      |(?P<op>%:%:|%:|<:|:>|<%|%>|\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|[<>=!]=|&&|\|\||[-+*/%&|^]=
             |\#\#|.)""",
    re.X | re.S,
)
_DIGRAPHS = {"<:": "[", ":>": "]", "<%": "{", "%>": "}", "%:": "#", "%:%:": "##"}


def lines_of_tokens(text: str, file: str) -> list[list[Token]]:
    """Return the tokens of C text, line by line as the preprocessor sees lines."""
    text = text.replace("\r\n", "\n")
    # Splices vanish first, as the standard has it; `removed` finds the lines again.
    pieces, removed, last, gone = [], [], 0, 0
    for match in _SPLICE.finditer(text):
        pieces.append(text[last:match.start()])
        removed.append(match.start() - gone)
        gone += match.end() - match.start()
        last = match.end()
    joined = "".join(pieces) + text[last:]
    newlines = [match.start() for match in re.finditer("\n", joined)]

    lines: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(joined):
        kind, start = match.lastgroup, match.start()
        if kind == "newline":
            lines.append([])
        elif kind and kind != "skip":
            line = 1 + bisect_right(newlines, start) + bisect_right(removed, start)
            spelled = match.group()
            spelled = _DIGRAPHS.get(spelled, spelled)
            lines[-1].append(Token(kind, spelled, Place(file, start, line)))
    return lines


def spell(tokens: list[Token]) -> str:
    """Return tokens as text that a person can read."""
    text = ""
    for token in tokens:
        if re.search(r"\w$", text) and re.match(r"\w", token.text):
            text += " "
        text += token.text
    return text


def matching(tokens: list[Token], start: int) -> int:
    """Return the index of the bracket that closes the one at `start`; the last index without one."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    stack = []
    for i in range(start, len(tokens)):
        text = tokens[i].text
        if tokens[i].kind != "op":
            continue
        if text in pairs:
            stack.append(pairs[text])
        elif stack and text == stack[-1]:
            stack.pop()
            if not stack:
                return i
    return len(tokens) - 1
