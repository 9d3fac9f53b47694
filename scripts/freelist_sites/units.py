"""Finds what stands at a file's top level: functions, and declarations for the table."""
from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

from .ctypes_table import Table, Type
from .parser import Reader
from .statements import parse_block
from .syntax import Block
from .tokens import Place, Token, matching


@dataclass(eq=False)
class Function:
    """A function's definition. `tokens`: of its body, macros expanded, without the braces."""

    name: str
    place: Place
    end_line: int
    words: frozenset[str]  # of the head: static, noinline, ...
    parameters: list[tuple[str, Type]]
    tokens: list[Token]
    table: Table = field(repr=False)

    @property
    def file(self) -> str:
        return self.place.file

    @property
    def is_static(self) -> bool:
        return "static" in self.words

    @cached_property
    def body(self) -> Block:
        return parse_block(self.tokens, self.table, self.file)


@dataclass
class Unit:
    """A file: its functions, and all other tokens at its top level."""

    file: str
    functions: list[Function]
    outside: list[Token]


def read_unit(tokens: list[Token], table: Table, file: str) -> Unit:
    """Read a file's expanded tokens; what it declares enters the table."""
    unit = Unit(file, [], [])
    at = 0
    while at < len(tokens):
        start = at
        brace: Optional[int] = None
        while at < len(tokens) and tokens[at].text != ";":
            text = tokens[at].text if tokens[at].kind == "op" else ""
            if text in ("(", "["):
                at = matching(tokens, at)
            elif text == "{":
                if _is_function_head(tokens[start:at]):
                    brace = at
                    break
                if at - 2 >= start and tokens[at - 1].kind == "str" and tokens[at - 2].text == "extern":
                    at += 1
                    start = at
                    continue
                at = matching(tokens, at)
            elif text == "}":
                at += 1
                start = at
                continue
            at += 1
        if brace is None:
            at += 1
            _declare(tokens[start:at - 1], table, file)
            unit.outside.extend(tokens[start:at])
            continue
        end = matching(tokens, brace)
        function = _function(tokens[start:brace], tokens[brace + 1:end], tokens[end], table, file)
        if function:
            unit.functions.append(function)
        at = end + 1
    return unit


def _without_attributes(head: list[Token]) -> list[Token]:
    kept, at = [], 0
    while at < len(head):
        if head[at].text in ("__attribute__", "__asm__", "asm", "_Alignas") and \
                at + 1 < len(head) and head[at + 1].text == "(":
            at = matching(head, at + 1)
        else:
            kept.append(head[at])
        at += 1
    return kept


def _is_function_head(head: list[Token]) -> bool:
    head = _without_attributes(head)
    if len(head) < 3 or head[-1].text != ")":
        return False
    depth = 0
    for token in head:
        if token.kind == "op":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == "=" and depth == 0:
                return False
    return True


def _function(head: list[Token], body: list[Token], end: Token, table: Table,
              file: str) -> Optional[Function]:
    words = frozenset(t.text for t in head if t.kind == "id")
    reader = Reader(_without_attributes(head), table, file)
    base, _ = reader.specifiers()
    name, type_, parameters = reader.declarator(base)
    if name is None:  # no type: f(x) { ... }
        reader.at = 0
        name, type_, parameters = reader.declarator(Type("int"))
    if name is None:
        return None
    table.add_value(name.text, file, type_)
    return Function(name.text, name.place, end.place.line, words,
                    _parameters(parameters or [], table, file), body, table)


def _parameters(tokens: list[Token], table: Table, file: str) -> list[tuple[str, Type]]:
    found = []
    reader = Reader(tokens, table, file)
    while not reader.done():
        before = reader.at
        base, _ = reader.specifiers()
        name, type_, _ = reader.declarator(base)
        found.append((name.text if name else "", type_))
        while not reader.done() and reader.text() != ",":
            reader.at += 1
        reader.take(",")
        if reader.at == before:
            break
    return found


def _declare(tokens: list[Token], table: Table, file: str) -> None:
    if not tokens or tokens[0].text in ("_Static_assert", "static_assert"):
        return
    reader = Reader(tokens, table, file)
    base, is_typedef = reader.specifiers()
    while not reader.done():
        before = reader.at
        name, type_, _ = reader.declarator(base)
        reader.skip_attributes()
        if reader.take("="):
            reader.initialiser()
        if name is not None and is_typedef:
            table.add_typedef(name.text, file, type_)
        elif name is not None:
            table.add_value(name.text, file, type_)
        if not reader.take(",") or reader.at == before:
            break
