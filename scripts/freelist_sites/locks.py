"""Decides which calls and accesses happen while a lock is held."""
from __future__ import annotations

from typing import Optional

from .callgraph import Call, CallGraph
from .sites import Site
from .syntax import Declare, Jump, Node, spell_node
from .tokens import Place
from .units import Function
from .walk import Walker

LOCKS = frozenset((
    "hak_lock", "pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_timedlock", "pthread_spin_lock",
    "pthread_spin_trylock", "pthread_rwlock_rdlock", "pthread_rwlock_wrlock", "mtx_lock", "mtx_trylock",
))
UNLOCKS = frozenset(("hak_unlock", "pthread_mutex_unlock", "pthread_spin_unlock", "pthread_rwlock_unlock", "mtx_unlock"))
LEGEND = (
    "lexical: between a lock and its unlock on every path of the function, or of functions that "
    "it calls to lock and unlock; callers: the function is only called while a lock is held; "
    "calls through pointers are not followed"
)

Held = frozenset[str]
Key = tuple[Place, Optional[Place]]


class _Walk(Walker[set[str]]):
    """Follows the locks through one function. `at`: what is held at each name or member."""

    def __init__(self, effects: dict[str, tuple[Held, Held]]) -> None:
        super().__init__()
        self.effects = effects
        self.at: dict[Key, Held] = {}
        self.ends: list[Held] = []
        self.released: set[str] = set()

    def copy(self, state: set[str]) -> set[str]:
        return set(state)

    def merge(self, one: set[str], other: set[str]) -> set[str]:
        return one & other

    def evaluate(self, node: Node, state: set[str]) -> None:
        if node.kind == "block" and node.block is not None:
            self._walk(node.block, state)
        for part in node.parts:
            self.evaluate(part, state)
        if node.kind in ("name", "member", "field"):
            held = frozenset(state)
            self.at[node.token.key] = self.at.get(node.token.key, held) & held
        for token in node.path:
            self.at[token.key] = frozenset(state)
        if node.kind == "call" and node.parts[0].kind == "name":
            name = node.parts[0].token.text
            lock = spell_node(node.parts[1]).lstrip("&") if len(node.parts) > 1 else "?"
            if name in LOCKS:
                state.add(lock)
            elif name in UNLOCKS:
                if lock not in state:
                    self.released.add(lock)
                state.discard(lock)
            elif name in self.effects:
                taken, given = self.effects[name]
                state -= given
                state |= taken

    def test(self, node: Node, state: set[str]) -> tuple[set[str], set[str]]:
        self.evaluate(node, state)
        yes, no = set(state), set(state)
        tried = _tried(node)
        if tried is not None:  # which way means success
            lock, taken_if = tried
            (no if taken_if else yes).discard(lock)
        return yes, no

    def declare(self, statement: Declare, state: set[str]) -> None:
        for variable in statement.variables:
            if variable.value is not None:
                self.evaluate(variable.value, state)

    def returned(self, jump: Jump, state: set[str]) -> None:
        if jump.value is not None:
            self.evaluate(jump.value, state)
        self.ends.append(frozenset(state))


def _tried(node: Node) -> Optional[tuple[str, bool]]:
    """A trylock in a condition: the lock, and whether the condition is true when it was got."""
    if node.kind == "unary" and node.token.text == "!":
        inner = _tried(node.parts[0])
        return (inner[0], not inner[1]) if inner else None
    if node.kind == "binary" and node.token.text in ("==", "!=") and len(node.parts) == 2:
        for call, other in (node.parts, node.parts[::-1]):
            inner = _tried(call)
            if inner and other.token.text in ("0", "thrd_success"):
                return inner[0], (node.token.text == "==")
        return None
    if node.kind == "call" and node.parts[0].kind == "name" and len(node.parts) > 1 and \
            "trylock" in node.parts[0].token.text:
        return spell_node(node.parts[1]).lstrip("&"), False  # 0 is success
    return None


class LockTable:
    """What is held at every place of the tree."""

    def __init__(self, graph: CallGraph) -> None:
        self.graph = graph
        self.at: dict[Key, Held] = {}
        effects: dict[str, tuple[Held, Held]] = {}
        # Functions that lock for their callers: as many rounds as such calls are nested.
        for _ in range(4):
            before = dict(effects)
            self.at.clear()
            for function in graph.functions:
                if function.name in LOCKS or function.name in UNLOCKS:
                    continue
                walk = _Walk(effects)
                end = walk.run(function.body, set())
                ends = walk.ends + ([frozenset(end)] if end is not None else [])
                left = frozenset.intersection(*ends) if ends else frozenset()
                if left or walk.released:
                    effects[function.name] = (left, frozenset(walk.released))
                self.at.update(walk.at)
            if before == effects:
                break
        self.under = self._only_called_locked()

    def _held(self, call: Call) -> Held:
        return self.at.get(call.token.key, frozenset())

    def _only_called_locked(self) -> dict[Function, str]:
        """Return the functions that are called, and only while a lock is held, with the lock."""
        callers = self.graph.callers()
        locked = {f for f, calls in callers.items() if calls and all(c.is_call for c in calls)}
        while True:
            gone = {f for f in locked
                    if any(not self._held(c) and c.caller not in locked for c in callers[f])}
            if not gone:
                break
            locked -= gone
        # A ring of functions that only call each other holds nothing: the lock must come in.
        names: dict[Function, str] = {}
        while True:
            more = {}
            for f in locked - set(names):
                for call in callers[f]:
                    lock = ", ".join(sorted(self._held(call))) or names.get(call.caller, "")
                    if lock:
                        more[f] = lock
                        break
            if not more:
                return names
            names.update(more)

    def of(self, site: Site) -> tuple[str, str]:
        """Return the lock that a site runs under and how that was decided; "" for none."""
        held = self.at.get(site.token.key, frozenset())
        if held:
            return ", ".join(sorted(held)), "lexical"
        if site.function is not None and site.function in self.under:
            return self.under[site.function], "callers"
        return "", ""
