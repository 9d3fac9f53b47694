"""Reads a file's directives, leaves out what is never compiled, and expands macros."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

from .conditions import certain_value
from .tokens import Place, Token, lines_of_tokens, matching


@dataclass
class Define:
    """A macro's definition; `parameters` is None for one without brackets."""

    name: str
    parameters: Optional[list[str]]
    body: list[Token]
    place: Place


@dataclass
class Undef:
    name: str


@dataclass
class Include:
    target: str


@dataclass
class Group:
    """#if to #endif: each branch with what is certain of its condition (None: either way)."""

    branches: list[tuple[Optional[int], list[Item]]] = field(default_factory=list)


Item = Union[Token, Define, Undef, Include, Group]


def read_items(text: str, file: str) -> list[Item]:
    """Return a file's tokens and directives, conditional groups as a tree."""
    top: list[Item] = []
    levels: list[list[Item]] = [top]
    groups: list[Group] = []
    for line in lines_of_tokens(text, file):
        if not line or line[0].text != "#" or line[0].kind != "op":
            levels[-1].extend(line)
            continue
        if len(line) == 1:
            continue
        name, rest = line[1].text, line[2:]
        if name in ("if", "ifdef", "ifndef"):
            condition = certain_value(rest) if name == "if" else None
            if rest and rest[0].text == "__cplusplus" and name != "if":
                condition = int(name == "ifndef")
            groups.append(Group([(condition, [])]))
            levels[-1].append(groups[-1])
            levels.append(groups[-1].branches[-1][1])
        elif name in ("elif", "else", "elifdef", "elifndef") and groups:
            condition = 1 if name == "else" else certain_value(rest) if name == "elif" else None
            groups[-1].branches.append((condition, []))
            levels[-1] = groups[-1].branches[-1][1]
        elif name == "endif" and groups:
            groups.pop()
            levels.pop()
        elif name == "define" and rest:
            levels[-1].append(_define(rest))
        elif name == "undef" and rest:
            levels[-1].append(Undef(rest[0].text))
        elif name == "include" and rest and rest[0].kind == "str":
            levels[-1].append(Include(rest[0].text.strip('"')))
    return top


def _define(rest: list[Token]) -> Define:
    name, after = rest[0], rest[1:]
    parameters = None
    # Only a bracket that touches the name begins parameters.
    if after and after[0].text == "(" and \
            after[0].place.position == name.place.position + len(name.text):
        end = matching(after, 0)
        inside = [t.text for t in after[1:end] if t.text != ","]
        parameters = []
        for text in inside:
            if text != "...":
                parameters.append(text)
            elif len(parameters) and after[end - 2].kind == "id":
                parameters[-1] = "..." + parameters[-1]  # GNU's named rest
            else:
                parameters.append("...__VA_ARGS__")
        after = after[end + 1:]
    return Define(name.text, parameters, after, name.place)


def flatten(items: list[Item], loose: list[Token], pick: int = 0) -> list[Item]:
    """Return what may be compiled, in order. Of alternatives whose brackets don't close, number
    `pick` stays, so that the rest can be read; the others' tokens go to `loose`."""
    flat: list[Item] = []
    for item in items:
        if not isinstance(item, Group):
            flat.append(item)
            continue
        live = []
        for condition, branch in item.branches:
            if condition == 0:
                continue
            live.append(flatten(branch, loose, pick))
            if condition:
                break
        unbalanced = [branch for branch in live if not _is_balanced(branch)]
        kept = unbalanced[min(pick, len(unbalanced) - 1)] if unbalanced else None
        for branch in live:
            if kept is None or branch is kept or _is_balanced(branch):
                flat.extend(branch)
            else:
                loose.extend(t for t in branch if isinstance(t, Token))
                flat.extend(t for t in branch if not isinstance(t, Token))
    return flat


def _is_balanced(items: list[Item]) -> bool:
    depth = 0
    for item in items:
        if isinstance(item, Token) and item.kind == "op":
            depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(item.text, 0)
            if depth < 0:
                return False
    return depth == 0


class Macros:
    """The macros in force at a place. A name may have several definitions, one a build."""

    def __init__(self, opaque: frozenset[str], revealing: frozenset[str]) -> None:
        self.known: dict[str, list[Define]] = {}
        self.opaque = opaque  # names that are never expanded
        self.revealing = revealing  # identifiers that decide which definition is looked at

    def define(self, definition: Define) -> None:
        known = self.known.setdefault(definition.name, [])
        if definition not in known:
            known.append(definition)

    def undefine(self, name: str) -> None:
        self.known.pop(name, None)

    def reveals(self, definition: Define, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether a body, or one that it uses, mentions what we look for."""
        if definition.name in seen:
            return False
        return any(
            token.text in self.revealing
            or any(self.reveals(d, seen | {definition.name}) for d in self.known.get(token.text, []))
            for token in definition.body if token.kind == "id"
        )

    def choose(self, name: str) -> Optional[Define]:
        """Return the definition to expand: of several the one that shows most."""
        if name not in self.known or name in self.opaque:
            return None

        def worth(d: Define) -> tuple[bool, int, int]:
            texts = {t.text for t in d.body}
            return self.reveals(d), sum(p in texts for p in d.parameters or []), len(d.body)

        best = max(self.known[name], key=worth)
        # An assertion is no code of a release build: its arguments are looked at as they stand.
        if "assert" in name.lower() and best.parameters is not None and not self.reveals(best):
            return None
        return best

    def expand(self, tokens: list[Token]) -> list[Token]:
        """Return tokens with every macro replaced."""
        out: list[Token] = []
        todo = tokens[::-1]
        while todo:
            token = todo.pop()
            if token.kind != "id" or token.text in token.hidden:
                out.append(token)
                continue
            macro = self.choose(token.text)
            if macro is None:
                out.append(token)
            elif macro.parameters is None:
                todo.extend(reversed(self._substitute(macro, token, [])))
            elif todo and todo[-1].text == "(":
                arguments = _arguments(todo)
                if arguments is None:
                    out.append(token)
                    continue
                todo.extend(reversed(self._substitute(macro, token, arguments)))
            else:
                out.append(token)
        return out

    def _substitute(self, macro: Define, use: Token, arguments: list[list[Token]]) -> list[Token]:
        given: dict[str, list[Token]] = {}
        for i, parameter in enumerate(macro.parameters or []):
            if parameter.startswith("..."):
                rest: list[Token] = []
                for j, argument in enumerate(arguments[i:]):
                    if j:
                        rest.append(Token("op", ",", use.place))
                    rest.extend(argument)
                given[parameter[3:]] = rest
            else:
                given[parameter] = arguments[i] if i < len(arguments) else []
        out: list[Token] = []
        body, i = macro.body, 0
        while i < len(body):
            token = body[i]
            if token.text == "#" and i + 1 < len(body) and body[i + 1].text in given:
                out.append(Token("str", '""', use.place))
                i += 2
            elif token.text == "##" and out and i + 1 < len(body):
                right = given.get(body[i + 1].text, [body[i + 1].brought_by(use, macro.name)])
                if right and out[-1].kind in ("id", "num") and right[0].kind in ("id", "num"):
                    whole = right[0] if right[0].macro == "" else out[-1]
                    left = out.pop()
                    out.append(Token(left.kind, left.text + right[0].text, whole.place, whole.macro,
                                     whole.written, left.hidden))
                    out.extend(right[1:])
                else:
                    out.extend(right)
                i += 2
            elif token.text in given and token.kind == "id":
                pasted = i + 1 < len(body) and body[i + 1].text == "##"
                out.extend(given[token.text] if pasted else self.expand(given[token.text]))
                i += 1
            else:
                out.append(token.brought_by(use, macro.name))
                i += 1
        return out


def _arguments(todo: list[Token]) -> Optional[list[list[Token]]]:
    """Take a macro's arguments from the end of a reversed list; None, and nothing is taken, if
    the bracket doesn't close."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for taken, token in enumerate(reversed(todo), 1):
        if token.kind == "op" and token.text == "(":
            depth += 1
            if depth == 1:
                continue
        elif token.kind == "op" and token.text == ")":
            depth -= 1
            if depth == 0:
                del todo[-taken:]
                return arguments
        elif token.text == "," and depth == 1:
            arguments.append([])
            continue
        arguments[-1].append(token)
    return None
