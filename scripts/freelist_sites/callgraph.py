"""Who calls whom, and on which path a function lies: fast, warm or cold."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable

from .tokens import Token
from .tree import Tree
from .units import Function

FAST_ROOTS = ("hak_malloc_fast", "hak_free_fast")
WARM_ROOTS = ("hak_heap_refill", "hak_heap_overflow", "hak_heap_take_blocks", "hak_heap_give_blocks")
# What only happens now and then, whoever calls it: thread's begin and end, set-up, fork, what
# time brings, and what prints.
COLD_ROOTS = re.compile(
    r"hak_heap_(enter|exit|tick)|at_thread_end|hak_init|init_\w+|\w+_init|\w*fork\w*|\w*purge\w*"
    r"|(\w+_)?tick(_\w+)?|\w*debug\w*|\w+_print|\w*dump\w*|hak_fatal|hak_message\w*"
)
PATHS = ("fast", "warm", "cold", "other")
LEGEND = {
    "fast": "reachable from " + " and ".join(FAST_ROOTS) + " without a slow function: one named "
            "..._slow, declared noinline or cold, or a root of the other paths",
    "warm": "reachable from " + ", ".join(WARM_ROOTS) + " without a root of the cold path",
    "cold": "reachable from thread begin and end, set-up, fork, purge and tick, debug and messages "
            "(a table of names), and not fast or warm",
    "other": "reached by no root: the API's entry points and what serves large blocks only",
}


@dataclass(frozen=True)
class Call:
    """A function's name in another one's body; `is_call` is false for a mere mention."""

    caller: Function
    name: str
    token: Token
    is_call: bool


def calls_in(function: Function, names: Iterable[str]) -> list[Call]:
    """Return where a function's body mentions one of `names`, each place once."""
    wanted, found, seen = set(names), [], set()
    tokens = function.tokens
    for i, token in enumerate(tokens):
        if token.kind != "id" or token.text not in wanted or token.key in seen:
            continue
        if i and tokens[i - 1].text in ("->", ".", "struct", "union", "enum", "goto"):
            continue
        end = i + 1
        while end < len(tokens) and tokens[end].text == ")":  # (f)(x)
            end += 1
        opened = 0
        while i - opened > 0 and tokens[i - opened - 1].text == "(":
            opened += 1
        called = end < len(tokens) and tokens[end].text == "(" and end - i - 1 <= opened
        seen.add(token.key)
        found.append(Call(function, token.text, token, called))
    return found


class CallGraph:
    """All calls between the functions of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.functions = tree.functions()
        names = {f.name for f in self.functions}
        self.calls: dict[Function, list[Call]] = {}
        for function in self.functions:
            own = {name for name, _ in function.parameters} | _locals(function, names)
            self.calls.setdefault(function, []).extend(calls_in(function, names - own))

    def targets(self, call: Call) -> list[Function]:
        return self.tree.defined(call.name, call.caller.file)

    def callers(self) -> dict[Function, list[Call]]:
        found: dict[Function, list[Call]] = {f: [] for f in self.functions}
        for calls in self.calls.values():
            for call in calls:
                for target in self.targets(call):
                    found[target].append(call)
        return found

    def reachable(self, roots: Iterable[Function], stop: set[Function]) -> set[Function]:
        """Return what the roots lead to; functions of `stop` are not entered."""
        todo = [f for f in roots if f not in stop]
        found = set(todo)
        while todo:
            for call in self.calls[todo.pop()]:
                for target in self.targets(call):
                    if target not in found and target not in stop:
                        found.add(target)
                        todo.append(target)
        return found

    def paths(self) -> dict[Function, str]:
        """Return each function's path, the hottest that it lies on."""
        fast_roots = [f for f in self.functions if f.name in FAST_ROOTS]
        warm_roots = [f for f in self.functions if f.name in WARM_ROOTS]
        cold_roots = {f for f in self.functions
                      if COLD_ROOTS.fullmatch(f.name) and f.file not in self.tree.headers
                      and f not in fast_roots and f not in warm_roots}
        slow = {f for f in self.functions
                if f.name.endswith("_slow") or f.words & {"noinline", "cold", "__noinline__", "__cold__"}}
        fast = self.reachable(fast_roots, (slow | cold_roots | set(warm_roots)) - set(fast_roots))
        warm = self.reachable(warm_roots, cold_roots)
        cold = self.reachable(cold_roots, set())
        return {
            f: "fast" if f in fast else "warm" if f in warm else "cold" if f in cold else "other"
            for f in self.functions
        }


def _locals(function: Function, names: set[str]) -> set[str]:
    """Names of functions that this one uses for variables of its own."""
    own = set()
    for i, token in enumerate(function.tokens[:-1]):
        if token.text in names and i:
            before, after = function.tokens[i - 1], function.tokens[i + 1].text
            if (before.kind == "id" and before.text not in ("return", "else", "do", "goto", "case", "sizeof")
                    or before.text == "*" and i > 1 and function.tokens[i - 2].kind == "id") and \
                    after in ("=", ";", ",", "["):
                own.add(token.text)
    return own
