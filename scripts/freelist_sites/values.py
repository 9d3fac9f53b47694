"""What the flow analysis knows: the values that variables may hold, and what became of each pop."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Union

from .tokens import Place, Token

Key = tuple[Place, Optional[Place]]


class Popped(NamedTuple):
    """What a call of pop, or of a function that passes a pop's result on, returned."""

    key: Key


class Head(NamedTuple):
    """What a load of a list's head returned."""

    slab: str


class Link(NamedTuple):
    """The link in a block."""

    of: Union[Popped, Head, Unknown]


class Derived(NamedTuple):
    """A place at some distance from a popped block."""

    of: Popped


class Unknown(NamedTuple):
    """Whatever an expression held; every change of what it is made of makes it another one."""

    text: str
    changes: tuple[int, ...]


Value = Union[Popped, Head, Link, Derived, Unknown]
# Of each value whether it is a block (True), NULL (False), or either (None).
Values = dict[Value, Optional[bool]]


@dataclass
class Pop:
    """All that is found out about one pop. `name`: the function that was called."""

    token: Token
    name: str
    tested: bool = False
    returned: bool = False
    stored: bool = False
    misuse: str = ""  # the first use before any test
    misuse_line: int = 0


@dataclass(frozen=True)
class Twice:
    """A double pop or push: the token to complain of, and the line of the first half."""

    token: Token
    first_line: int


@dataclass
class State:
    """What is known at a place of a function."""

    values: dict[str, Values] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    linked: dict[Value, int] = field(default_factory=dict)  # blocks with a hand-made link: its line
    popped: dict[str, int] = field(default_factory=dict)  # slabs that were popped from: the line

    def copy(self) -> State:
        return State({k: dict(v) for k, v in self.values.items()}, dict(self.changes),
                     dict(self.linked), dict(self.popped))

    def become(self, other: State) -> None:
        self.values, self.changes = other.values, other.changes
        self.linked, self.popped = other.linked, other.popped

    def merged(self, other: State) -> State:
        """Return what may be so if either state is."""
        both = self.copy()
        for name, values in other.values.items():
            here = both.values.setdefault(name, {})
            for value, known in values.items():
                here[value] = known if here.get(value, known) is known else None
        for name, changes in other.changes.items():
            both.changes[name] = max(changes, both.changes.get(name, 0))
        both.linked.update(other.linked)
        both.popped.update(other.popped)
        return both

    def refined(self, values: Values, truth: bool) -> State:
        """Return the state where an expression with these values was true, or false."""
        result = self.copy()
        if len(values) == 1:
            only = next(iter(values))
            for held in result.values.values():
                if only in held:
                    held[only] = truth
        return result


@dataclass
class Summary:
    """What a function does to its caller's values."""

    passes_pop: bool = False
    pushes: set[int] = field(default_factory=set)  # parameters that it pushes
    links: set[int] = field(default_factory=set)  # parameters whose link it writes
    advances: set[int] = field(default_factory=set)  # parameters whose link becomes a list's head
