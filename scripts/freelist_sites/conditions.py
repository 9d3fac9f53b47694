"""Evaluates the conditions of #if as far as they are certain without knowing any macro."""
from __future__ import annotations

import re
from typing import Optional

from .tokens import Token

Value = Optional[int]  # None: it depends on macros


def certain_value(tokens: list[Token]) -> Value:
    """Return the value of an #if's expression, or None where it depends on the build."""
    reader = _Reader(tokens)
    value = reader.either()
    return value if reader.at == len(tokens) else None


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def take(self, *texts: str) -> str:
        if self.peek() in texts and self.peek():
            self.at += 1
            return self.tokens[self.at - 1].text
        return ""

    def either(self) -> Value:
        value = self.both()
        while self.take("||"):
            right = self.both()
            if value or right:
                value = 1
            else:
                value = None if value is None or right is None else 0
        return value

    def both(self) -> Value:
        value = self.compared()
        while self.take("&&"):
            right = self.compared()
            if value == 0 or right == 0:
                value = 0
            else:
                value = None if value is None or right is None else 1
        return value

    def compared(self) -> Value:
        value = self.unary()
        while True:
            operator = self.take("==", "!=", "<", ">", "<=", ">=", "+", "-", "*")
            if not operator:
                return value
            right = self.unary()
            if value is None or right is None:
                value = None
            else:
                value = int({
                    "==": value == right, "!=": value != right, "<": value < right,
                    ">": value > right, "<=": value <= right, ">=": value >= right,
                    "+": value + right, "-": value - right, "*": value * right,
                }[operator])

    def unary(self) -> Value:
        if self.take("!"):
            value = self.unary()
            return None if value is None else int(not value)
        if self.take("-"):
            value = self.unary()
            return None if value is None else -value
        if self.take("("):
            value = self.either()
            self.take(")")
            return value
        if self.at >= len(self.tokens):
            return None
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "num":
            digits = re.sub(r"[uUlL]+$", "", token.text)
            try:
                return int(digits, 8 if re.fullmatch(r"0[0-7]+", digits) else 0)
            except ValueError:
                return None
        if token.text == "defined":
            bracket = self.take("(")
            name = self.peek()
            self.at += 1
            if bracket:
                self.take(")")
            return 0 if name == "__cplusplus" else None
        if token.text == "__cplusplus":
            return 0
        if self.peek() == "(":  # __has_include(...), or a macro
            depth = 0
            while self.at < len(self.tokens):
                depth += {"(": 1, ")": -1}.get(self.peek(), 0)
                self.at += 1
                if depth == 0:
                    break
        return None
