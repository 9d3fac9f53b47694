"""Tells the types of expressions, following the variables that a function declares."""
from __future__ import annotations

from typing import Iterator, Optional

from .ctypes_table import Table, Type
from .syntax import (Block, Declare, Evaluate, If, Jump, Loop, Node, Statement, Switch, Variable)
from .units import Function


class Scope:
    """The variables that are known at a place."""

    def __init__(self, table: Table, file: str, names: dict[str, Type]) -> None:
        self.table, self.file, self.names = table, file, names

    def inner(self) -> Scope:
        return Scope(self.table, self.file, dict(self.names))

    def type_of(self, node: Node) -> Type:
        """Return an expression's type; Type() where it can't be told."""
        kind, parts = node.kind, node.parts
        if kind == "name":
            name = node.token.text
            return self.names[name] if name in self.names else self.table.value(name, self.file)
        if kind in ("cast", "literal", "field"):
            return node.type
        if kind == "member":
            return self.table.member(self.type_of(parts[0]), node.token.text, self.file)
        if kind == "call":
            if parts[0].kind == "name" and parts[0].token.text == "__builtin_expect" and len(parts) > 1:
                return self.type_of(parts[1])
            return self.type_of(parts[0])
        if kind == "index":
            base = self.type_of(parts[0])
            return Type(base.name, max(base.stars - 1, 0))
        if kind == "unary":
            base = self.type_of(parts[0])
            return Type(base.name, base.stars + {"*": -1, "&": 1}.get(node.token.text, 0))
        if kind in ("postfix", "assign"):
            return self.type_of(parts[0])
        if kind == "comma":
            return self.type_of(parts[1])
        if kind == "conditional":
            then = self.type_of(parts[1])
            return then if then.name and then.name != "void" else self.type_of(parts[2])
        if kind == "binary" and node.token.text in ("+", "-"):
            left = self.type_of(parts[0])
            return left if left.stars else self.type_of(parts[1])
        return Type()


Seen = tuple[Node, Scope, Optional[Type]]


def expressions(function: Function) -> Iterator[Seen]:
    """Return every expression node of a function with its scope and, for what stands in an
    initialiser's braces, the type that these initialise."""
    names = {name: type_ for name, type_ in function.parameters if name}
    yield from _of_statement(function.body, Scope(function.table, function.file, names))


def _of_statement(statement: Optional[Statement], scope: Scope) -> Iterator[Seen]:
    if statement is None:
        return
    if isinstance(statement, Block):
        inner = scope.inner()
        for child in statement.statements:
            yield from _of_statement(child, inner)
    elif isinstance(statement, Declare):
        for variable in statement.variables:
            yield from _of_variable(variable, scope)
    elif isinstance(statement, Evaluate):
        yield from expressions_of(statement.value, scope)
    elif isinstance(statement, If):
        yield from expressions_of(statement.condition, scope)
        yield from _of_statement(statement.then, scope.inner())
        yield from _of_statement(statement.otherwise, scope.inner())
    elif isinstance(statement, Loop):
        inner = scope.inner()
        yield from _of_statement(statement.first, inner)
        for node in (statement.condition, statement.step):
            if node is not None:
                yield from expressions_of(node, inner)
        yield from _of_statement(statement.body, inner)
    elif isinstance(statement, Switch):
        yield from expressions_of(statement.value, scope)
        yield from _of_statement(statement.body, scope.inner())
    elif isinstance(statement, Jump) and statement.value is not None:
        yield from expressions_of(statement.value, scope)


def _of_variable(variable: Variable, scope: Scope) -> Iterator[Seen]:
    type_ = variable.type
    if not type_.name and variable.value is not None:  # __auto_type
        type_ = scope.type_of(variable.value)
    scope.names[variable.name] = type_
    if variable.value is not None:
        yield from expressions_of(variable.value, scope, type_)


def expressions_of(node: Node, scope: Scope, braces: Optional[Type] = None) -> Iterator[Seen]:
    yield node, scope, braces
    if node.block is not None:
        yield from _of_statement(node.block, scope)
    for part in node.parts:
        if node.kind == "list":
            inner = braces if part.kind == "designated" else _in_braces(braces, scope)
            yield from expressions_of(part, scope, inner)
        elif node.kind == "designated":
            yield from expressions_of(part, scope, designated_type(node, braces, scope))
        elif node.kind == "literal":
            yield from expressions_of(part, scope, node.type)
        elif node.kind == "assign" and part.kind == "list":
            yield from expressions_of(part, scope, scope.type_of(node.parts[0]))
        else:
            yield from expressions_of(part, scope)


def _in_braces(type_: Optional[Type], scope: Scope) -> Optional[Type]:
    """What nested braces without a name initialise: an array's element, or who knows what."""
    if type_ is None or type_.stars:
        return Type(type_.name, type_.stars - 1) if type_ else None
    if scope.table.struct(scope.table.resolve(type_, scope.file).name, scope.file) is None:
        return Type()
    return Type("" if scope.table.holds(type_, scope.file) else type_.name)


def designated_type(node: Node, braces: Optional[Type], scope: Scope, upto: Optional[int] = None) -> Type:
    """Return the type that a designator's path leads to, or its first `upto` names."""
    type_ = braces or Type()
    for token in node.path[:upto]:
        type_ = scope.table.member(type_, token.text, scope.file)
    return type_
