"""A forgiving parser of C: declarations, statements, expressions. It never refuses a text; what it
doesn't understand becomes a node without meaning."""
from __future__ import annotations

from typing import Optional

from .ctypes_table import QUALIFIERS, TAGGED, TYPE_WORDS, Struct, Table, Type
from .syntax import Node
from .tokens import Place, Token

_END = Token("end", "", Place("", 0, 0))
_BINARY = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}
_ASSIGN = frozenset("= += -= *= /= %= &= |= ^= <<= >>=".split())
_ATTRIBUTES = frozenset(("__attribute__", "__attribute", "_Alignas", "__declspec", "__asm__", "asm", "__asm"))
_TYPEOF = frozenset(("typeof", "__typeof__", "__typeof", "typeof_unqual"))
_SIZES = frozenset(("sizeof", "_Alignof", "__alignof__", "alignof"))
OFFSETOF = ("offsetof", "__builtin_offsetof")


class Reader:
    """A place in a list of tokens, and what can be read from there."""

    def __init__(self, tokens: list[Token], table: Table, file: str) -> None:
        self.tokens, self.at, self.table, self.file = tokens, 0, table, file

    # ---- tokens ----------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else _END

    def text(self, ahead: int = 0) -> str:
        token = self.peek(ahead)
        return token.text if token.kind in ("op", "id") else ""

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def take(self, text: str) -> bool:
        if self.text() == text:
            self.at += 1
            return True
        return False

    def done(self) -> bool:
        return self.at >= len(self.tokens)

    def skip_brackets(self) -> None:
        """Go past a bracket and all that it holds."""
        depth = 0
        while not self.done():
            text = self.text()
            self.at += 1
            if text in ("(", "[", "{"):
                depth += 1
            elif text in (")", "]", "}"):
                depth -= 1
            if depth <= 0:
                return

    def skip_attributes(self) -> None:
        while True:
            if self.text() in _ATTRIBUTES and self.text(1) == "(":
                self.at += 1
                self.skip_brackets()
            elif self.text() == "[" and self.text(1) == "[":
                self.skip_brackets()
            elif self.text() in QUALIFIERS or self.text() == "_Atomic" and self.text(1) != "(":
                self.at += 1
            else:
                return

    # ---- types -----------------------------------------------------------------------------

    def at_type(self) -> bool:
        """Return whether a type's name begins here, inside brackets."""
        text = self.text()
        if text in TAGGED or text in QUALIFIERS or text in _TYPEOF or text == "_Atomic" or \
                text in _ATTRIBUTES or text == "__auto_type":
            return True
        if self.peek().kind != "id":
            return False
        if self.table.is_type_name(text) or text.endswith("_t") and self.text(1) in (")", "*"):
            return True
        ahead = 1
        while self.text(ahead) in ("*", "const", "_Atomic"):
            ahead += 1
        if self.text(ahead) == ")" and ahead > 1:
            return True
        # (Word) before an operand: a cast to a type from elsewhere
        operand = self.peek(2).kind in ("id", "num", "str", "chr") or self.text(2) == "{"
        return self.text(1) == ")" and operand

    def at_declaration(self) -> bool:
        """Return whether a statement here is a declaration."""
        text = self.text()
        if text in TAGGED or text in QUALIFIERS or text in _TYPEOF or \
                text in ("_Atomic", "_Alignas", "__auto_type", "_Static_assert", "static_assert"):
            return True
        if self.peek().kind != "id":
            return False
        if text in TYPE_WORDS:
            return True
        ahead = 1
        while self.text(ahead) in ("*", "const", "volatile", "restrict", "_Atomic") or \
                self.text(ahead) in TYPE_WORDS:
            ahead += 1
        if self.peek(ahead).kind == "id":
            return ahead == 1 or self.text(ahead + 1) in ("=", ";", ",", "[", "")
        return self.table.is_type_name(text) and self.text(1) == "(" and self.text(2) == "*"

    def specifiers(self) -> tuple[Type, bool]:
        """Read a declaration's type; return it and whether it is a typedef."""
        found, is_typedef = None, False
        while not self.done():
            text = self.text()
            if text == "typedef":
                is_typedef = True
                self.at += 1
            elif text == "_Atomic" and self.text(1) == "(" or text in _TYPEOF:
                known = text == "_Atomic"
                self.at += 2
                inner = self.type_name() if known or self.at_type() else Type()
                while not self.done() and self.text() != ")":
                    self.skip_brackets() if self.text() in ("(", "[") else self.next()
                self.take(")")
                found = inner
            elif text in _ATTRIBUTES or text in QUALIFIERS or text in ("_Atomic", "["):
                before = self.at
                self.skip_attributes()
                if self.at == before:
                    break
            elif text in TAGGED:
                found = self.tagged()
            elif text in TYPE_WORDS:
                found = Type(text) if found is None or found.name in TYPE_WORDS else found
                self.at += 1
            elif self.peek().kind == "id" and found is None and text not in KEYWORD_STOPS:
                found = Type("" if text == "__auto_type" else text)
                self.at += 1
            else:
                break
        return found or Type(), is_typedef

    def tagged(self) -> Type:
        """Read struct, union or enum; a definition enters the table."""
        word = self.next().text
        self.skip_attributes()
        tag = self.next() if self.peek().kind == "id" else None
        start = self.peek()
        name = f"{word} {tag.text}" if tag else f"{word} @{start.place.file}:{start.place.position}"
        if self.text() != "{":
            return Type(name)
        if word == "enum":
            self.skip_brackets()
            return Type(name)
        self.at += 1
        struct = Struct(self.file)
        while not self.done() and self.text() != "}":
            before = self.at
            self.members(struct)
            if self.at == before:
                self.at += 1
        self.take("}")
        self.skip_attributes()
        self.table.add_struct(name, struct)
        return Type(name)

    def members(self, struct: Struct) -> None:
        if self.text() in ("_Static_assert", "static_assert"):
            self.at += 1
            self.skip_brackets()
        base, _ = self.specifiers()
        if self.text() == ";":
            inner = self.table.struct(base.name, self.file)
            if inner and "@" in base.name:
                struct.members.update(inner.members)
        while not self.done() and self.text() not in (";", "}"):
            name, type_, _ = self.declarator(base)
            if name:
                struct.members[name.text] = type_
            if self.take(":"):
                self.expression(min_level=0)
            self.skip_attributes()
            if not self.take(","):
                break
        while not self.done() and self.text() not in (";", "}"):
            self.at += 1
        self.take(";")

    def declarator(self, base: Type) -> tuple[Optional[Token], Type, Optional[list[Token]]]:
        """Read what follows a type: return the name, the type, and a function's parameters."""
        stars = 0
        self.skip_attributes()
        while self.text() in ("*", "^"):
            stars += 1
            self.at += 1
            self.skip_attributes()
        name: Optional[Token] = None
        parameters: Optional[list[Token]] = None
        if self.text() == "(" and (self.text(1) in ("*", "(", "^") or
                                   self.peek(1).kind == "id" and self.text(2) == ")" and
                                   not self.table.is_type_name(self.text(1))):
            self.at += 1
            name, inner, parameters = self.declarator(Type(base.name, stars))
            stars = inner.stars
            self.take(")")
        elif self.peek().kind == "id" and self.text() not in KEYWORD_STOPS:
            name = self.next()
        self.skip_attributes()
        while self.text() in ("(", "["):
            start = self.at
            if self.text() == "[":
                stars += 1
                self.skip_brackets()
            else:
                self.skip_brackets()
                if parameters is None:
                    parameters = self.tokens[start + 1:self.at - 1]
        return name, Type(base.name, base.stars + stars), parameters

    def type_name(self) -> Type:
        """Read the name of a type, as in a cast."""
        base, _ = self.specifiers()
        return self.declarator(base)[1]

    # ---- expressions -----------------------------------------------------------------------

    def expression(self, min_level: int = -1) -> Node:
        """Read an expression; `min_level` 0: up to a comma, -1: with commas."""
        node = self.assignment()
        while min_level < 0 and self.text() == ",":
            operator = self.next()
            node = Node("comma", operator, [node, self.assignment()])
        return node

    def assignment(self) -> Node:
        left = self.binary(1)
        if self.text() == "?":
            operator = self.next()
            then = left if self.text() == ":" else self.expression()
            self.take(":")
            return Node("conditional", operator, [left, then, self.assignment()])
        if self.text() in _ASSIGN:
            operator = self.next()
            right = self.initialiser()
            return Node("assign", operator, [left, right])
        return left

    def binary(self, level: int) -> Node:
        left = self.unary()
        while True:
            strength = _BINARY.get(self.text(), 0)
            if strength < level or not strength:
                return left
            operator = self.next()
            left = Node("binary", operator, [left, self.binary(strength + 1)])

    def unary(self) -> Node:
        token, text = self.peek(), self.text()
        if text in ("!", "~", "-", "+", "*", "&", "++", "--", "&&", "__extension__"):
            self.at += 1
            inner = self.unary()
            return inner if text == "__extension__" else Node("unary", token, [inner])
        if text in _SIZES:
            self.at += 1
            if self.text() == "(":
                end = Reader(self.tokens, self.table, self.file)
                end.at = self.at
                end.skip_brackets()
                self.at += 1
                node = Node("sizeof", token)
                if self.at_type():
                    node.type = self.type_name()
                    self.at = end.at
                else:
                    self.at -= 1
                    node.parts = [self.unary()]
                return node
            return Node("sizeof", token, [self.unary()])
        if text == "(" and self.text(1) != "{":
            start = self.at
            self.at += 1
            if self.at_type():
                type_ = self.type_name()
                if self.take(")"):
                    if self.text() == "{":
                        return self.suffixes(Node("literal", token, [self.braces()], type_))
                    return Node("cast", token, [self.unary()], type_)
            self.at = start
        return self.suffixes(self.primary())

    def primary(self) -> Node:
        token, text = self.next(), ""
        text = token.text if token.kind in ("op", "id") else ""
        if token.kind in ("num", "chr"):
            return Node("constant", token)
        if token.kind == "str":
            while self.peek().kind == "str" or self.peek().kind == "id" and self.text().isupper():
                self.at += 1  # "..." PRIu64 "..."
            return Node("string", token)
        if text == "(" and self.text() == "{":
            start = self.at
            self.skip_brackets()
            from .statements import parse_block  # a block in an expression, and expressions in blocks
            block = parse_block(self.tokens[start + 1:self.at - 1], self.table, self.file)
            self.take(")")
            return Node("block", token, block=block)
        if text == "(":
            node = self.expression()
            self.close(")")
            return node
        if text in OFFSETOF and self.text() == "(":
            self.at += 1
            type_ = self.type_name()
            self.take(",")
            node = Node("offsetof", token, type=type_)
            if self.peek().kind == "id":
                first = self.next()
                node.path = [first]
                node.parts = [self.suffixes(Node("field", first, type=type_))]
            self.close(")")
            return node
        if text == "_Generic" and self.text() == "(":
            self.skip_brackets()
            return Node("other", token)
        if token.kind == "id":
            return Node("name", token)
        if text in (")", "]", "}", ";", ","):
            self.at -= 1  # an operand is missing: not ours to read
        return Node("other", token)

    def close(self, bracket: str) -> None:
        """Go past the closing bracket, over whatever wasn't understood before it."""
        while not self.done() and self.text() != bracket:
            if self.text() in ("(", "[", "{"):
                self.skip_brackets()
            elif self.text() in (")", "]", "}", ";"):
                return
            else:
                self.at += 1
        self.take(bracket)

    def suffixes(self, node: Node) -> Node:
        while True:
            token, text = self.peek(), self.text()
            if text == "(":
                self.at += 1
                node = Node("call", node.token, [node, *self.arguments()])
            elif text == "[":
                self.at += 1
                node = Node("index", token, [node, self.expression()])
                self.close("]")
            elif text in (".", "->") and self.peek(1).kind == "id":
                self.at += 1
                node = Node("member", self.next(), [node])
            elif text in ("++", "--"):
                self.at += 1
                node = Node("postfix", token, [node])
            else:
                return node

    def arguments(self) -> list[Node]:
        found = []
        while not self.done() and self.text() != ")":
            before = self.at
            if self.at_type() and not (self.peek().kind == "id" and self.text(1) == ")" and
                                       not self.table.is_type_name(self.text())):
                token = self.peek()
                found.append(Node("other", token, type=self.type_name()))  # va_arg(list, type)
            else:
                found.append(self.assignment())
            if not self.take(","):
                if self.text() == ")":
                    break
                self.close(")")
                return found
            if self.at == before:
                self.at += 1
        self.take(")")
        return found

    def initialiser(self) -> Node:
        """Read what follows an =, where braces may stand for an expression."""
        return self.braces() if self.text() == "{" else self.assignment()

    def braces(self) -> Node:
        """Read an initialiser's braces."""
        node = Node("list", self.next())
        while not self.done() and self.text() != "}":
            before = self.at
            path: list[Token] = []
            while self.text() in (".", "["):
                if self.text() == "[":
                    self.skip_brackets()
                elif self.peek(1).kind == "id":
                    self.at += 1
                    path.append(self.next())
                else:
                    break
            start = self.peek()
            self.take("=")
            value = self.initialiser()
            node.parts.append(Node("designated", start, [value], path=path) if path else value)
            self.take(",")
            if self.at == before:
                self.at += 1
        self.take("}")
        return node


# Words that end a declaration's type instead of being part of it.
KEYWORD_STOPS = frozenset(("if", "while", "for", "return", "else", "do", "switch", "goto", "case"))
