"""Parses a function's body into statements."""
from __future__ import annotations

from typing import Optional

from .ctypes_table import Table
from .parser import Reader
from .syntax import (Block, Case, Declare, Evaluate, If, Jump, Label, Loop, Node, Statement, Switch,
                     Variable)
from .tokens import Token, matching


def parse_block(tokens: list[Token], table: Table, file: str) -> Block:
    """Parse what stands between a function's braces, or a block's."""
    reader = Reader(tokens, table, file)
    statements = []
    while not reader.done():
        before = reader.at
        statements.append(_statement(reader))
        if reader.at == before:
            reader.at += 1
    return Block(statements)


def _bracketed(reader: Reader) -> list[Token]:
    """Take the tokens between the brackets that begin here."""
    if reader.text() not in ("(", "{"):
        return []
    end = matching(reader.tokens, reader.at)
    inside = reader.tokens[reader.at + 1:end]
    reader.at = end + 1
    return inside


def _expression_of(tokens: list[Token], reader: Reader) -> Optional[Node]:
    return Reader(tokens, reader.table, reader.file).expression() if tokens else None


def _until_semicolon(reader: Reader) -> list[Token]:
    start = reader.at
    while not reader.done() and reader.text() not in (";", "}"):
        if reader.text() in ("(", "[", "{"):
            reader.skip_brackets()
        else:
            reader.at += 1
    found = reader.tokens[start:reader.at]
    reader.take(";")
    return found


def _statement(reader: Reader) -> Statement:
    while reader.text() == "[" and reader.text(1) == "[" or reader.text() == "__attribute__":
        reader.skip_attributes()
    token, text = reader.peek(), reader.text()
    if text == "{":
        return parse_block(_bracketed(reader), reader.table, reader.file)
    if text == ";" or text == "}":
        reader.at += 1
        return Block([])
    if text == "if":
        reader.at += 1
        condition = _expression_of(_bracketed(reader), reader) or Node("other", token)
        then = _statement(reader)
        otherwise = _statement(reader) if reader.take("else") else None
        return If(condition, then, otherwise)
    if text == "while":
        reader.at += 1
        condition = _expression_of(_bracketed(reader), reader)
        return Loop(None, condition, None, _statement(reader))
    if text == "do":
        reader.at += 1
        body = _statement(reader)
        condition = None
        if reader.take("while"):
            condition = _expression_of(_bracketed(reader), reader)
            reader.take(";")
        return Loop(None, condition, None, body, first_tested=False)
    if text == "for":
        return _for(reader)
    if text == "switch":
        reader.at += 1
        value = _expression_of(_bracketed(reader), reader) or Node("other", token)
        return Switch(value, _statement(reader))
    if text in ("case", "default"):
        while not reader.done() and reader.text() != ":":
            reader.skip_brackets() if reader.text() == "(" else reader.next()
        reader.take(":")
        return Case()
    if text in ("break", "continue", "goto", "return"):
        reader.at += 1
        rest = _until_semicolon(reader)
        target = rest[0].text if text == "goto" and rest else ""
        return Jump(text, token, target, _expression_of(rest, reader) if text == "return" else None)
    if token.kind == "id" and reader.text(1) == ":" and text != "else":
        reader.at += 2
        return Label(text)
    if text in ("asm", "__asm__", "__asm", "_Static_assert", "static_assert"):
        _until_semicolon(reader)
        return Block([])
    if text == "else":
        reader.at += 1
        return _statement(reader)
    return _simple(_until_semicolon(reader), reader)


def _simple(tokens: list[Token], outer: Reader) -> Statement:
    """A declaration or an expression, without its semicolon."""
    reader = Reader(tokens, outer.table, outer.file)
    if not tokens:
        return Block([])
    if reader.at_declaration():
        return _declaration(reader)
    return Evaluate(reader.expression())


def _declaration(reader: Reader) -> Statement:
    base, is_typedef = reader.specifiers()
    variables = []
    while not reader.done():
        before = reader.at
        name, type_, _ = reader.declarator(base)
        reader.skip_attributes()
        value = None
        if reader.take("="):
            value = reader.initialiser()
        if name is not None and not is_typedef:
            variables.append(Variable(name.text, type_, name, value))
        if not reader.take(",") or reader.at == before:
            break
    return Declare(variables)


def _for(reader: Reader) -> Statement:
    reader.at += 1
    inside = _bracketed(reader)
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in inside:
        if token.kind == "op":
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(token.text, 0)
        if token.text == ";" and token.kind == "op" and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    parts += [[], []]
    first = _simple(parts[0], reader) if parts[0] else None
    body = _statement(reader)
    return Loop(first, _expression_of(parts[1], reader), _expression_of(parts[2], reader), body)
