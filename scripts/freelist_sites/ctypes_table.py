"""What the tree declares: structs and their members, type names, functions' and variables' types."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Optional

# The struct whose members are guarded, and those members.
TARGET = "TinySlabMeta"
MEMBERS = ("freelist", "remote")

TYPE_WORDS = frozenset(
    "void char short int long float double signed unsigned _Bool bool _Complex __int128 "
    "__builtin_va_list".split()
)
QUALIFIERS = frozenset(
    "const volatile restrict __restrict __restrict__ static extern inline __inline __inline__ "
    "register auto _Thread_local __thread thread_local typedef _Noreturn __extension__ constexpr "
    "__const __volatile__ __signed__".split()
)
TAGGED = frozenset(("struct", "union", "enum"))
KEYWORDS = frozenset(
    "if else while do for switch case default return break continue goto sizeof _Alignof "
    "_Static_assert static_assert _Generic asm __asm__ __asm".split()
)


class Type(NamedTuple):
    """A type: `name` without qualifiers ("struct tag" or a word), and how many times a pointer or
    an array to that. An empty name is a type that can't be told."""

    name: str = ""
    stars: int = 0


@dataclass
class Struct:
    """A struct's or union's members with their types; those of nameless members inside too."""

    file: str
    members: dict[str, Type] = field(default_factory=dict)


class Table:
    """All declarations of a tree at file level. A .c file's own are seen in that file alone."""

    def __init__(self) -> None:
        self.structs: dict[str, list[Struct]] = {}
        self.typedefs: dict[str, list[tuple[str, Type]]] = {}
        self.values: dict[str, list[tuple[str, Type]]] = {}  # functions (what they return), variables

    def add_struct(self, name: str, struct: Struct) -> None:
        self.structs.setdefault(name, []).append(struct)

    def add_typedef(self, name: str, file: str, meaning: Type) -> None:
        self.typedefs.setdefault(name, []).append((file, meaning))

    def add_value(self, name: str, file: str, type_: Type) -> None:
        self.values.setdefault(name, []).append((file, type_))

    def is_type_name(self, name: str) -> bool:
        return name in self.typedefs or name in TYPE_WORDS or name == TARGET

    def struct(self, name: str, file: str) -> Optional[Struct]:
        seen = [s for s in self.structs.get(name, ()) if s.file == file or s.file.endswith(".h")]
        return next((s for s in seen if s.file == file), seen[0] if seen else None)

    def value(self, name: str, file: str) -> Type:
        seen = [v for v in self.values.get(name, ()) if v[0] == file or v[0].endswith(".h")]
        return next((t for f, t in seen if f == file), seen[0][1] if seen else Type())

    def resolve(self, type_: Type, file: str) -> Type:
        """Follow type names to what they stand for."""
        for _ in range(20):
            seen = [t for f, t in self.typedefs.get(type_.name, ()) if f == file or f.endswith(".h")]
            if not seen or seen[0].name == type_.name:
                break
            type_ = Type(seen[0].name, seen[0].stars + type_.stars)
        return type_

    def is_target(self, type_: Type, file: str) -> bool:
        """Return whether it is TinySlabMeta, or pointers to it."""
        targets = {TARGET, "struct " + TARGET, self.resolve(Type(TARGET), file).name}
        return type_.name in targets or self.resolve(type_, file).name in targets

    def member(self, type_: Type, name: str, file: str) -> Type:
        """Return the type of a struct's member, Type() if that can't be told."""
        struct = self.struct(self.resolve(type_, file).name, file)
        return struct.members.get(name, Type()) if struct else Type()

    def is_guarded(self, base: Type, name: str, file: str) -> bool:
        """Return whether member `name` of a value of type `base` is, or may be, a slab's."""
        if name not in MEMBERS:
            return False
        if not base.name or self.is_target(base, file):
            return True
        resolved = self.resolve(base, file)
        struct = self.struct(resolved.name, file)
        if struct is not None:
            return name not in struct.members
        # A struct that is declared elsewhere is told by its name; a mere type name isn't.
        return not resolved.name.startswith(("struct ", "union "))

    def holds(self, type_: Type, file: str, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether a value of this type has a TinySlabMeta in it, or may have one."""
        if not type_.name or self.is_target(type_, file):
            return True
        resolved = self.resolve(type_, file)
        struct = self.struct(resolved.name, file)
        if struct is None or resolved.name in seen:
            return not resolved.name
        return any(
            member.name and self.holds(member, file, seen | {resolved.name})
            for member in struct.members.values()
        )
