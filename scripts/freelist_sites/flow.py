"""Follows popped blocks and hand-made links through a function, along every path."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Optional

from .ctypes_table import MEMBERS, Type
from .scopes import Scope
from .sites import is_null
from .syntax import Block, Declare, Evaluate, Jump, Node, spell_node
from .tokens import Token
from .tree import LINK_READ, LINK_WRITE, LOAD, POP, PUSH, STORE
from .units import Function
from .values import (Derived, Head, Key, Link, Pop, Popped, State, Summary, Twice, Unknown, Value,
                     Values)
from .walk import Walker

NONE: Values = {}
_ATOMIC_WRITES = ("atomic_store", "atomic_exchange", "atomic_compare_exchange")
_LINK_NAMES = ("next", "link", "next_free")


class Flow(Walker[State]):
    """Walks one function and collects what its pops and pushes do."""

    def __init__(self, function: Function, summary_of: Callable[[str], Summary]) -> None:
        super().__init__()
        self.function, self.summary_of = function, summary_of
        self.asserting = False
        self.pops: dict[Key, Pop] = {}
        self.double_pops: dict[Key, Twice] = {}
        self.double_pushes: dict[Key, Twice] = {}
        self.summary = Summary()
        self.parameters = {n: i for i, (n, _) in enumerate(function.parameters) if n}
        self.types = dict(function.parameters)
        self.run(function.body, State())
        self.summary.links -= self.summary.pushes

    # ---- statements ----------------------------------------------------------------------------

    def copy(self, state: State) -> State:
        return state.copy()

    def merge(self, one: State, other: State) -> State:
        return one.merged(other)

    def evaluate(self, node: Node, state: State) -> None:
        self.value(node, state)  # a popped block that nothing takes stays untested

    def choose(self, node: Node, state: State) -> None:
        self.note_test(self.value(node, state))

    def test(self, node: Node, state: State) -> tuple[State, State]:
        kind, text = node.kind, node.token.text
        if kind == "unary" and text == "!":
            yes, no = self.test(node.parts[0], state)
            return no, yes
        if kind == "binary" and text in ("&&", "||"):
            yes, no = self.test(node.parts[0], state)
            if text == "&&":
                further, stopped = self.test(node.parts[1], yes)
                return further, no.merged(stopped)
            further, stopped = self.test(node.parts[1], no)
            return yes.merged(further), stopped
        if kind == "binary" and text in ("==", "!="):
            for tested, other in (node.parts, node.parts[::-1]):
                if is_null(other):
                    yes, no = self.test(tested, state)
                    return (yes, no) if text == "!=" else (no, yes)
        if _expected(node):
            return self.test(node.parts[1], state)
        if kind == "cast":
            return self.test(node.parts[0], state)
        if kind == "comma":
            self.evaluate(node.parts[0], state)
            return self.test(node.parts[1], state)
        values = self.value(node, state)
        self.note_test(values)
        return state.refined(values, True), state.refined(values, False)

    def declare(self, statement: Declare, state: State) -> None:
        for variable in statement.variables:
            self.types[variable.name] = variable.type
            if variable.value is None or variable.value.kind == "list":
                if variable.value is not None:
                    self.value(variable.value, state)
                self.forget(variable.name, state)
            else:
                self.assign(Node("name", variable.token), variable.value, state)

    def returned(self, jump: Jump, state: State) -> None:
        if jump.value is None:
            return
        for value, known in self.value(jump.value, state).items():
            if isinstance(value, Popped):
                self.pops[value.key].returned = True
                if known is not True:
                    self.summary.passes_pop = True
        if is_null(jump.value) and any(
                isinstance(value, Popped) and known is False
                for held in state.values.values() for value, known in held.items()):
            self.summary.passes_pop = True

    # ---- expressions ---------------------------------------------------------------------------

    def value(self, node: Node, state: State) -> Values:
        """Evaluate an expression; return what its value may be."""
        kind, parts, text = node.kind, node.parts, node.token.text
        if kind == "name":
            return self.lookup(node, state)
        if kind == "cast":
            return self.value(parts[0], state)
        if kind == "assign":
            return self.assign(parts[0], parts[1], state, text)
        if kind == "comma":
            self.evaluate(parts[0], state)
            return self.value(parts[1], state)
        if kind == "conditional":
            yes, no = self.test(parts[0], state)
            found = {**self.value(parts[1], yes), **self.value(parts[2], no)}
            state.become(yes.merged(no))
            return found
        if kind == "call":
            return self.call(node, state)
        if kind == "sizeof":
            return NONE
        if kind == "block" and node.block is not None:
            return self.statement_expression(node.block, state)
        if _is_test(node):
            yes, no = self.test(node, state)
            state.become(yes.merged(no))
            return NONE
        if kind == "unary" and text == "&":
            if parts[0].kind != "name":
                for part in parts[0].parts:
                    self.use(self.value(part, state), "followed", part.token)
            return NONE
        if kind in ("member", "index") or kind == "unary" and text == "*":
            return self.read(node, state)
        if kind in ("postfix", "unary") and text in ("++", "--"):
            self.value(parts[0], state)
            self.changed(parts[0], state)
            return NONE
        found = {}
        for part in parts:
            values = self.value(part, state)
            if kind in ("list", "designated", "literal"):
                self.use(values, "stored", node.token)
            elif text in ("+", "-"):
                found.update({Derived(v): None for v in values if isinstance(v, Popped)})
        return found

    def statement_expression(self, block: Block, state: State) -> Values:
        last = block.statements[-1] if block.statements else None
        rest = block.statements[:-1] if isinstance(last, Evaluate) else block.statements
        inner = self._walk(Block(rest), state)
        if inner is None:
            return NONE
        values = self.value(last.value, inner) if isinstance(last, Evaluate) else NONE
        state.become(inner)
        return values

    def lookup(self, node: Node, state: State) -> Values:
        text = spell_node(node)
        if text in state.values:
            return state.values[text]
        names = sorted({n.token.text for n in node.walk() if n.kind == "name"})
        return {Unknown(text, tuple(state.changes.get(n, 0) for n in names)): None}

    def read(self, node: Node, state: State) -> Values:
        """*b, b->m, b[i]: what is read must be there."""
        first: Values = NONE
        for i, part in enumerate(node.parts):
            held = self.value(part, state)
            if i == 0:
                first = held
                self.use(held, "followed", node.token)
        text = spell_node(node)
        if text in state.values:
            return state.values[text]
        if node.kind == "index" and not is_null(node.parts[1]):
            return self.lookup(node, state)  # not the first word
        links = self.links_of(first)
        if node.kind == "member" and node.token.text not in _LINK_NAMES:
            links = {v: known for v, known in links.items() if not isinstance(v.of, Unknown)}
        return dict(links) or self.lookup(node, state)

    def call(self, node: Node, state: State) -> Values:
        callee, arguments = node.parts[0], node.parts[1:]
        name = callee.token.text if callee.kind == "name" else ""
        if _expected(node):
            for argument in arguments[1:]:
                self.value(argument, state)
            return self.value(arguments[0], state)
        if "assert" in name.lower():  # not in a release build: tests nothing, uses nothing
            before, self.asserting = self.asserting, True
            for argument in arguments:
                self.value(argument, state.copy())
            self.asserting = before
            return NONE
        if callee.kind != "name":
            self.use(self.value(callee, state), "called", node.token)
        given = [self.value(a, state) for a in arguments]
        for values in given:
            self.use(values, f"passed to {name or 'a function'}", callee.token)
        summary = self.summary_of(name)
        if name == POP or summary.passes_pop:
            key = callee.token.key
            self.pops.setdefault(key, Pop(callee.token, name))
            if name == POP and arguments:
                state.popped[spell_node(arguments[0])] = callee.token.place.line
            return {Popped(key): None}
        if name == LOAD and arguments:
            return {Head(spell_node(arguments[0])): None}
        if name == LINK_READ and given:
            return dict(self.links_of(given[0]))
        self.effects(name, summary, callee.token, arguments, given, state)
        return NONE

    def effects(self, name: str, summary: Summary, token: Token, arguments: list[Node],
                given: list[Values], state: State) -> None:
        """What a call changes: lists, links, and variables whose address it got."""
        if name == STORE and len(given) > 1:
            self.advance(spell_node(arguments[0]), given[1], token, state)
        elif name.lstrip("_").startswith(_ATOMIC_WRITES) and len(given) > 1:
            self.atomic_write(arguments, given, "compare_exchange" in name, token, state)
        elif name == LINK_WRITE and given:
            self.write_link(given[0], token, state)
        pushed = {1} if name == PUSH else summary.pushes
        for i in pushed:
            if i < len(given):
                self.push(given[i], token, state)
        for i in summary.links:
            if i < len(given):
                self.write_link(given[i], token, state)
        for i in summary.advances:
            if i < len(given):
                self.advance("", dict(self.links_of(given[i])), token, state)
        for argument in arguments:
            while argument.kind == "cast":
                argument = argument.parts[0]
            if argument.kind == "unary" and argument.token.text == "&":
                self.changed(argument.parts[0], state)
        if name in ("memcpy", "__builtin_memcpy", "memmove") and len(arguments) == 3:
            self.copied(arguments, given, token, state)

    def atomic_write(self, arguments: list[Node], given: list[Values], compares: bool, token: Token,
                     state: State) -> None:
        target = arguments[0]
        while target.kind == "cast":
            target = target.parts[0]
        written = given[2] if compares and len(given) > 2 else given[1]
        if target.kind == "unary" and target.parts[0].kind == "member" and \
                target.parts[0].token.text in MEMBERS:
            self.advance(spell_node(target.parts[0].parts[0]), written, token, state)
        elif self.is_link_pointer(arguments[0]):
            self.write_link(given[0], token, state)

    def assign(self, left: Node, right: Node, state: State, operator: str = "=") -> Values:
        values = self.value(right, state)
        if operator != "=":
            self.value(left, state)
            self.changed(left, state)
            return NONE
        while left.kind == "cast":
            left = left.parts[0]
        if left.kind == "name":
            self.forget(left.token.text, state)
            if values:
                state.values[left.token.text] = dict(values)
            return values
        if left.kind == "member" and left.token.text in MEMBERS:
            self.advance(spell_node(left.parts[0]), values, left.token, state)
        self.write_link(self.link_written(left, state), left.token, state)
        for part in left.parts:
            self.use(self.value(part, state), "followed", left.token)
        text = spell_node(left)
        state.values.pop(text, None)
        popped = {v: known for v, known in values.items() if isinstance(v, Popped)}
        if popped:
            state.values[text] = dict(popped)
            for value in popped:
                self.pops[value.key].stored = True
        return values

    # ---- what is found -------------------------------------------------------------------------

    def note_test(self, values: Values) -> None:
        for value in values:
            if isinstance(value, Popped) and not self.asserting:
                self.pops[value.key].tested = True

    def use(self, values: Values, how: str, token: Token) -> None:
        for value in values:
            popped = value.of if isinstance(value, Derived) else value
            if isinstance(popped, Popped) and not self.asserting:
                pop = self.pops[popped.key]
                if not pop.tested and not pop.misuse:
                    pop.misuse, pop.misuse_line = how, token.place.line

    def advance(self, slab: str, values: Values, token: Token, state: State) -> None:
        """The list's head is stored: the link of a popped block, or of the next, is one too many."""
        for value in values:
            if isinstance(value, Link) and isinstance(value.of, Popped):
                first = self.pops[value.of.key].token.place.line
                self.double_pops.setdefault(token.key, Twice(token, first))
            elif isinstance(value, Link) and isinstance(value.of, Head) and value.of.slab in state.popped:
                self.double_pops.setdefault(token.key, Twice(token, state.popped[value.of.slab]))
            elif isinstance(value, Link):
                self.note_parameter(value.of, self.summary.advances)
        if not any(isinstance(value, Link) for value in values):
            state.popped.pop(slab, None)  # another list stands there now

    def write_link(self, values: Values, token: Token, state: State) -> None:
        for value in values:
            state.linked.setdefault(value, token.place.line)
            self.note_parameter(value, self.summary.links)

    def push(self, values: Values, token: Token, state: State) -> None:
        for value in values:
            if value in state.linked:
                self.double_pushes.setdefault(token.key, Twice(token, state.linked[value]))
            self.note_parameter(value, self.summary.pushes)

    def links_of(self, values: Values) -> dict[Link, Optional[bool]]:
        """Return the links in blocks, of those blocks that matter."""
        return {
            Link(v): None for v in values
            if isinstance(v, (Popped, Head)) or isinstance(v, Unknown) and v.text in self.parameters
        }

    def note_parameter(self, value: Value, into: set[int]) -> None:
        if isinstance(value, Unknown) and value.text in self.parameters and value.changes == (0,):
            into.add(self.parameters[value.text])

    # ---- links by hand -------------------------------------------------------------------------

    def type_of(self, node: Node) -> Type:
        return Scope(self.function.table, self.function.file, self.types).type_of(node)

    def is_link_pointer(self, node: Node) -> bool:
        """Return whether an expression points at a pointer, and so perhaps at a block's link."""
        return node.kind in ("name", "cast") and self.type_of(node).stars >= 2

    def link_written(self, left: Node, state: State) -> Values:
        """Return the blocks whose first word an assignment to `left` writes."""
        if left.kind == "unary" and left.token.text == "*" or \
                left.kind == "index" and is_null(left.parts[1]):
            if self.is_link_pointer(left.parts[0]):
                return self.value(left.parts[0], state)
        elif left.kind == "member" and left.token.text in _LINK_NAMES:
            base = self.type_of(left.parts[0])
            if not self.function.table.is_target(base, self.function.file):
                return self.value(left.parts[0], state)
        return NONE

    def copied(self, arguments: list[Node], given: list[Values], token: Token, state: State) -> None:
        """memcpy(&next, block, ...) reads a link, memcpy(block, &next, ...) writes one."""
        target, source, size = arguments
        while target.kind == "cast":
            target = target.parts[0]
        while source.kind == "cast":
            source = source.parts[0]
        if target.kind == "unary" and target.token.text == "&" and target.parts[0].kind == "name":
            links = self.links_of(given[1])
            if links:
                state.values[target.parts[0].token.text] = dict(links)
        elif source.kind == "unary" and source.token.text == "&" and self.is_pointer_size(size):
            self.write_link(given[0], token, state)

    def is_pointer_size(self, node: Node) -> bool:
        if node.kind != "sizeof":
            return node.kind == "constant" and node.token.text == "8"
        return (self.type_of(node.parts[0]) if node.parts else node.type).stars >= 1

    # ---- variables -----------------------------------------------------------------------------

    def forget(self, name: str, state: State) -> None:
        """A variable changes: so does every expression that it is part of."""
        state.changes[name] = state.changes.get(name, 0) + 1
        mention = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        for text in [t for t in state.values if mention.search(t)]:
            del state.values[text]

    def changed(self, node: Node, state: State) -> None:
        while node.kind in ("cast", "member", "index") and node.parts:
            node = node.parts[0]
        if node.kind == "name":
            self.forget(node.token.text, state)


def _expected(node: Node) -> bool:
    """A hint for the compiler around a value: __builtin_expect, or a macro such as likely."""
    if node.kind != "call" or node.parts[0].kind != "name" or len(node.parts) < 2:
        return False
    name = node.parts[0].token.text
    return name.startswith("__builtin_expect") or name.lower().endswith("likely")


def _is_test(node: Node) -> bool:
    """An expression that is a truth value because of a test against NULL."""
    if node.kind == "unary":
        return node.token.text == "!"
    return node.kind == "binary" and (
        node.token.text in ("&&", "||")
        or node.token.text in ("==", "!=") and any(is_null(part) for part in node.parts))
