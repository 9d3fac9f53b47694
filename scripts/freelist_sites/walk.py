"""Follows a function's statements along every path, for analyses that keep a state on the way."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Optional, TypeVar

from .syntax import (Block, Case, Declare, Evaluate, If, Jump, Label, Loop, Node, Statement,
                     Switch)

S = TypeVar("S")


@dataclass
class _Exits(Generic[S]):
    """Where break and continue of a loop or switch lead, with the states that come there."""

    is_loop: bool
    breaks: list[S] = field(default_factory=list)
    continues: list[S] = field(default_factory=list)


class Walker(Generic[S]):
    """Walks a body. A state is None where nothing comes by. Loops are gone through twice, so that
    what the first round left is seen by the next; so are functions with a goto backwards."""

    def __init__(self) -> None:
        self._exits: list[_Exits[S]] = []
        self._jumps: dict[str, list[S]] = {}
        self._labels: set[str] = set()
        self._backwards: set[str] = set()
        self._starts: list[Optional[S]] = []  # of the switches around

    # ---- for the analysis to fill in -----------------------------------------------------------

    def copy(self, state: S) -> S:
        raise NotImplementedError

    def merge(self, one: S, other: S) -> S:
        raise NotImplementedError

    def evaluate(self, node: Node, state: S) -> None:
        """An expression whose value is dropped."""
        raise NotImplementedError

    def test(self, node: Node, state: S) -> tuple[S, S]:
        """A condition; return the states where it is true and where it is false."""
        raise NotImplementedError

    def declare(self, statement: Declare, state: S) -> None:
        raise NotImplementedError

    def returned(self, jump: Jump, state: S) -> None:
        raise NotImplementedError

    def choose(self, node: Node, state: S) -> None:
        """What a switch looks at."""
        self.evaluate(node, state)

    # ---- the walk ------------------------------------------------------------------------------

    def run(self, body: Block, start: S) -> Optional[S]:
        """Walk a function's body; return the state at its end, None if that isn't reached."""
        self._labels.clear()
        self._jumps.clear()
        end = self._walk(body, self.copy(start))
        if self._backwards:
            self._labels.clear()
            end = self._walk(body, self.copy(start))
        return end

    def either(self, one: Optional[S], other: Optional[S]) -> Optional[S]:
        if one is None or other is None:
            return other if one is None else one
        return self.merge(one, other)

    def _walk(self, statement: Optional[Statement], state: Optional[S]) -> Optional[S]:
        if isinstance(statement, Block):
            for i, child in enumerate(statement.statements):
                before = self.copy(state) if state is not None else None
                state = self._walk(child, state)
                following = statement.statements[i + 1:i + 2]
                if state is None and following and not isinstance(following[0], (Label, Case)):
                    state = before  # #if's alternatives stand one after the other: go on
            return state
        if isinstance(statement, Label):
            self._labels.add(statement.name)
            for waiting in self._jumps.get(statement.name, ()):
                state = self.either(state, self.copy(waiting))
            return state
        if isinstance(statement, Case):
            start = self._starts[-1] if self._starts else None
            return self.either(state, self.copy(start) if start is not None else None)
        if state is None:
            # Not reached as far as can be told; labels and cases inside may be.
            return self._walk_unreached(statement)
        if isinstance(statement, Evaluate):
            self.evaluate(statement.value, state)
            return state
        if isinstance(statement, Declare):
            self.declare(statement, state)
            return state
        if isinstance(statement, If):
            yes, no = self.test(statement.condition, state)
            then = self._walk(statement.then, yes)
            return self.either(then, self._walk(statement.otherwise, no) if statement.otherwise else no)
        if isinstance(statement, Loop):
            return self._loop(statement, state)
        if isinstance(statement, Switch):
            return self._switch(statement, state)
        if isinstance(statement, Jump):
            self._jump(statement, state)
            return None
        return state

    def _walk_unreached(self, statement: Optional[Statement]) -> Optional[S]:
        if isinstance(statement, If):
            then = self._walk(statement.then, None)
            return self.either(then, self._walk(statement.otherwise, None) if statement.otherwise else None)
        if isinstance(statement, Loop):
            return self._loop(statement, None)
        if isinstance(statement, Switch):
            return self._switch(statement, None)
        return None

    def _loop(self, loop: Loop, state: Optional[S]) -> Optional[S]:
        if loop.first is not None:
            state = self._walk(loop.first, state)
        after: Optional[S] = None
        for turn in range(2):
            exits: _Exits[S] = _Exits(True)
            self._exits.append(exits)
            entered = state
            if loop.first_tested and loop.condition is not None and state is not None:
                entered, left = self.test(loop.condition, self.copy(state))
                after = self.either(after, left)
            elif state is not None:
                entered = self.copy(state)
            end = self._walk(loop.body, entered)
            for again in exits.continues:
                end = self.either(end, again)
            if loop.step is not None and end is not None:
                self.evaluate(loop.step, end)
            # The condition after the body: the next round's, or do's own.
            if loop.condition is not None and end is not None:
                end, left = self.test(loop.condition, end)
                after = self.either(after, left)
            for broken in exits.breaks:
                after = self.either(after, broken)
            self._exits.pop()
            if end is None:
                break
            state = self.either(self.copy(state), end) if state is not None else end
        return after

    def _switch(self, switch: Switch, state: Optional[S]) -> Optional[S]:
        if state is not None:
            self.choose(switch.value, state)
        exits: _Exits[S] = _Exits(False)
        self._exits.append(exits)
        self._starts.append(state)
        end = self._walk(switch.body, None)
        self._starts.pop()
        self._exits.pop()
        for broken in exits.breaks:
            end = self.either(end, broken)
        return self.either(end, self.copy(state)) if state is not None else end

    def _jump(self, jump: Jump, state: S) -> None:
        if jump.kind == "return":
            self.returned(jump, state)
        elif jump.kind == "goto":
            if jump.target in self._labels:
                self._backwards.add(jump.target)
            self._jumps.setdefault(jump.target, []).append(self.copy(state))
        elif jump.kind == "break" and self._exits:
            self._exits[-1].breaks.append(self.copy(state))
        elif jump.kind == "continue":
            for exits in reversed(self._exits):
                if exits.is_loop:
                    exits.continues.append(self.copy(state))
                    break
