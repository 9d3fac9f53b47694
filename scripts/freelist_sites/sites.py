"""Finds every place where the sources access a slab's freelist or remote queue."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional

from .accessors import accessors
from .ctypes_table import MEMBERS, TARGET, Table, Type
from .parser import OFFSETOF, Reader
from .scopes import Scope, designated_type, expressions, expressions_of
from .syntax import Node
from .tokens import Place, Token
from .tree import INIT, LOAD, POP, STORE, Tree
from .units import Function

Key = tuple[Place, Optional[Place]]


@dataclass
class Site:
    """One access. `kind`: of accessors.KINDS, or "direct" for one past the header; `name`: the
    accessor or the member. `macro`: the macro whose body has it, written at `written`."""

    place: Place
    kind: str
    name: str
    function: Optional[Function]
    token: Token
    macro: str = ""
    written: Optional[Place] = None

    @property
    def file(self) -> str:
        return self.place.file

    @property
    def line(self) -> int:
        return self.place.line

    @property
    def is_direct(self) -> bool:
        return self.kind == "direct"


class SiteFinder:
    """Collects a tree's sites; each occurrence counts once, a macro's once for each use."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.names = accessors(tree)
        self.sites: dict[Key, Site] = {}
        self.harmless: set[Key] = set()  # members of other structs
        self.written: set[Place] = set()  # what of macros' bodies was seen in a use

    def find(self) -> list[Site]:
        for name in self.tree.outside_header():
            unit = self.tree.units[name]
            for function in unit.functions:
                self._settle_types(function)
                self._scan(function.tokens, function, calls=True)
            self._settle_outside(unit.outside, name)
            self._scan(unit.outside, None, calls=False)
            self._scan(self.tree.plain[name], None, calls=True)
        # Definitions that nothing uses count where they stand.
        for name in self.tree.outside_header():
            for macro in self.tree.macros[name]:
                unused = [t for t in macro.body if t.place not in self.written]
                if unused == macro.body:
                    self._scan(macro.body, None, calls=True, macro=macro.name)
        found = sorted(self.sites.values(), key=lambda s: (s.file, s.place.position, s.written or s.place))
        self._mark_initialisations(found)
        return found

    # ---- tokens ------------------------------------------------------------------------------

    def _scan(self, tokens: list[Token], function: Optional[Function], calls: bool, macro: str = "") -> None:
        for i, token in enumerate(tokens):
            if token.written is not None:
                self.written.add(token.written)
            if token.kind != "id" or token.key in self.sites or token.key in self.harmless:
                continue
            before = tokens[i - 1].text if i else ""
            kind = ""
            if token.text in MEMBERS:
                if before in ("->", ".") or _is_offset(tokens, i):
                    kind = "direct"
            elif token.text in self.names and before not in ("->", "."):
                inside = function or self._around(token)
                if calls and (inside or macro) or is_value_outside(tokens, i):
                    kind = self.names[token.text]
            if not kind:
                continue
            self.sites[token.key] = Site(
                token.place, kind, token.text, function or self._around(token), token,
                macro or token.macro, token.written)

    def _around(self, token: Token) -> Optional[Function]:
        """The function whose body a token stands in."""
        for function in self.tree.units[token.place.file].functions:
            if function.place.position < token.place.position and \
                    function.place.line <= token.place.line <= function.end_line and \
                    function.tokens and token.place >= function.tokens[0].place:
                return function
        return None

    # ---- types -------------------------------------------------------------------------------

    def _settle_types(self, function: Function) -> None:
        """Find the accesses that types tell to be of other structs."""
        for node, scope, braces in expressions(function):
            self._settle(node, scope, braces)

    def _settle_outside(self, tokens: list[Token], file: str) -> None:
        """The same for initialisers and constant expressions at file level."""
        start = 0
        for i, token in enumerate(tokens):
            if token.text != ";" or _depth(tokens[start:i]):
                continue
            reader = Reader(tokens[start:i], self.tree.table, file)
            scope = Scope(self.tree.table, file, {})
            base, _ = reader.specifiers()
            while not reader.done():
                before = reader.at
                _, type_, _ = reader.declarator(base)
                reader.skip_attributes()
                if reader.take("="):
                    value = reader.initialiser()
                    self._settle_all(value, scope, type_)
                elif reader.text() == "(":
                    self._settle_all(reader.unary(), scope, None)
                if not reader.take(",") and reader.at == before:
                    break
            start = i + 1

    def _settle_all(self, node: Node, scope: Scope, braces: Optional[Type]) -> None:
        for seen in expressions_of(node, scope, braces):
            self._settle(*seen)

    def _settle(self, node: Node, scope: Scope, braces: Optional[Type]) -> None:
        table, file = self.tree.table, scope.file
        if node.kind == "member" and node.token.text in MEMBERS:
            base = scope.type_of(node.parts[0])
            if not table.is_guarded(base, node.token.text, file) and \
                    not self._is_disguise(node.parts[0], scope):
                self.harmless.add(node.token.key)
        elif node.kind == "offsetof" and node.path:
            first = node.path[0]
            if first.text in MEMBERS and not table.is_guarded(node.type, first.text, file):
                self.harmless.add(first.key)
        elif node.kind == "designated":
            for i, token in enumerate(node.path):
                if token.text in MEMBERS:
                    base = designated_type(node, braces, scope, i)
                    if not table.is_guarded(base, token.text, file):
                        self.harmless.add(token.key)

    def _is_disguise(self, node: Node, scope: Scope) -> bool:
        """A slab's metadata cast to another struct is still a slab's metadata."""
        while node.kind == "unary" and node.token.text in ("*", "&"):
            node = node.parts[0]
        if node.kind != "cast":
            return False
        inner = scope.type_of(node.parts[0])
        return bool(inner.name) and self.tree.table.is_target(inner, scope.file)

    # ---- kinds -------------------------------------------------------------------------------

    def _mark_initialisations(self, sites: list[Site]) -> None:
        """A store of NULL in a function that never reads the list begins a list."""
        reading = {s.function for s in sites if s.name in (LOAD, POP) or s.kind == "direct"}
        for site in sites:
            if site.name == INIT:
                site.kind = "initialisation"
            elif site.name == STORE and site.function is not None and site.function not in reading and \
                    _stores_null(site, site.function.tokens):
                site.kind = "initialisation"


def _stores_null(site: Site, tokens: list[Token]) -> bool:
    for i, token in enumerate(tokens):
        if token.key == site.token.key and i + 1 < len(tokens) and tokens[i + 1].text == "(":
            reader = Reader(tokens[i:], site.function.table if site.function else Table(), site.file)
            call = reader.unary()
            return call.kind == "call" and len(call.parts) == 3 and is_null(call.parts[2])
    return False


def is_null(node: Node) -> bool:
    """Return whether an expression is a null pointer written out."""
    if node.kind == "cast":
        return is_null(node.parts[0])
    text = node.token.text
    if node.kind == "constant":
        return text.rstrip("uUlL") in ("0", "0x0", "00") or text == "'\\0'"
    return node.kind == "name" and text in ("NULL", "nullptr")


def _depth(tokens: Iterable[Token]) -> int:
    return sum({"{": 1, "(": 1, "}": -1, ")": -1}.get(t.text, 0) for t in tokens if t.kind == "op")


def _is_offset(tokens: list[Token], i: int) -> bool:
    """offsetof(TYPE, member), and macros from elsewhere that take a type and a member."""
    if i < 3 or i + 1 >= len(tokens) or tokens[i - 1].text != "," or \
            tokens[i + 1].text not in (")", ".", "[", ","):
        return False
    start = i - 2
    while start >= 0 and tokens[start].text not in ("(", ",", ";", "{", "}"):
        start -= 1
    if start >= 1 and tokens[start].text == "(" and tokens[start - 1].text in OFFSETOF:
        return True
    return any(t.text == TARGET for t in tokens[start + 1:i - 1]) and start >= 0


def is_value_outside(tokens: list[Token], i: int) -> bool:
    """Outside functions: a use in an initialiser, not a declaration."""
    depth = 0
    for j in range(i - 1, -1, -1):
        text = tokens[j].text if tokens[j].kind == "op" else ""
        depth += {")": 1, "}": 1, "(": -1, "{": -1}.get(text, 0)
        if text == ";" and depth == 0:
            return False
        if text == "=":
            return True
    return False
