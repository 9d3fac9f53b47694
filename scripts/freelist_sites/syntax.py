"""The nodes of the syntax tree that the parser builds: expressions and statements."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterator, Optional, Union

from .ctypes_table import Type
from .tokens import Token


@dataclass
class Node:
    """An expression. `kind` and what goes with it:

    name, constant, string: `token` · call: parts[0] is called, the others are arguments ·
    member: `token` is the member's name, parts[0] what it belongs to · index, unary, postfix,
    binary, assign, conditional, comma: `token` is the operator · cast: `type` and one part ·
    literal: a compound literal, `type` and one part · list: an initialiser's braces · designated:
    `path` of member names, one part · sizeof: nothing is evaluated, parts for what is named ·
    offsetof: `type` and `path` · block: a statement expression's `block` · other: anything else.
    """

    kind: str
    token: Token
    parts: list[Node] = field(default_factory=list)
    type: Type = Type()
    path: list[Token] = field(default_factory=list)
    block: Optional[Block] = None

    def walk(self) -> Iterator[Node]:
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass
class Variable:
    """A variable that a statement declares."""

    name: str
    type: Type
    token: Token
    value: Optional[Node] = None


@dataclass
class Declare:
    variables: list[Variable]


@dataclass
class Evaluate:
    value: Node


@dataclass
class Block:
    statements: list[Statement]


@dataclass
class If:
    condition: Node
    then: Statement
    otherwise: Optional[Statement]


@dataclass
class Loop:
    """while, for and do; `first_tested` is false for do."""

    first: Optional[Statement]
    condition: Optional[Node]
    step: Optional[Node]
    body: Statement
    first_tested: bool = True


@dataclass
class Switch:
    value: Node
    body: Statement


@dataclass
class Case:
    """case and default."""


@dataclass
class Label:
    name: str


@dataclass
class Jump:
    """break, continue, goto or return."""

    kind: str
    token: Token
    target: str = ""
    value: Optional[Node] = None


Statement = Union[Declare, Evaluate, Block, If, Loop, Switch, Case, Label, Jump]


def spell_node(node: Node) -> str:
    """Return an expression in one spelling, whatever its blanks, brackets and casts."""
    parts = [spell_node(part) for part in node.parts]
    if node.kind in ("name", "constant", "string", "other"):
        return node.token.text
    if node.kind == "call":
        return f"{parts[0]}({','.join(parts[1:])})"
    if node.kind == "member":
        if node.parts[0].kind == "unary" and node.parts[0].token.text in ("*", "&"):
            parts = [spell_node(node.parts[0].parts[0])]
        return f"{parts[0]}->{node.token.text}"
    if node.kind == "index":
        return f"{parts[0]}[{parts[1]}]"
    if node.kind in ("cast", "literal"):
        return parts[0]
    if node.kind == "postfix":
        return parts[0] + node.token.text
    if node.kind == "unary":
        return node.token.text + parts[0]
    if len(parts) == 2:
        return f"({parts[0]}{node.token.text}{parts[1]})"
    return f"{node.kind}({','.join(parts)})"
