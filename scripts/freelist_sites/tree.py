"""A folder of C sources: reads every file, follows includes for macros, expands, parses."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from .ctypes_table import MEMBERS, Table
from .preprocess import Define, Include, Item, Macros, Undef, flatten, read_items
from .tokens import Token
from .units import Function, Unit, read_unit

_VARIANTS = 4  # alternatives of an #if, each with brackets that don't close in it, that are read
HEADER = "slab_freelist_atomic.h"
SUFFIXES = (".c", ".h", ".inc", ".inl", ".def")
REQUIRED = (
    "slab_freelist_pop_lockfree", "slab_freelist_push_lockfree", "slab_freelist_load_relaxed",
    "slab_freelist_store_relaxed", "slab_freelist_is_empty", "slab_freelist_is_nonempty",
    "SLAB_FREELIST_DEBUG_PTR",
)
POP, PUSH, LOAD, STORE = REQUIRED[:4]
INIT = "slab_freelist_init"
LINK_READ, LINK_WRITE = "slab_block_next", "slab_block_set_next"


class TreeError(Exception):
    """A folder that can't be read; the text is one sentence for the user."""


@dataclass
class Tree:
    """Everything that was read. File names are relative to the folder, with slashes."""

    root: Path
    files: list[str]
    table: Table = field(default_factory=Table)
    units: dict[str, Unit] = field(default_factory=dict)
    plain: dict[str, list[Token]] = field(default_factory=dict)  # before macros were expanded
    macros: dict[str, list[Define]] = field(default_factory=dict)  # by the file that defines them
    headers: list[str] = field(default_factory=list)  # the accessor header; should be one

    def functions(self) -> list[Function]:
        return [f for unit in self.units.values() for f in unit.functions]

    def outside_header(self) -> list[str]:
        return [name for name in self.files if name not in self.headers]

    def defined(self, name: str, near: str) -> list[Function]:
        """Return the definitions that a call of `name` in file `near` may mean."""
        found = self._by_name.get(name, [])
        own = [f for f in found if f.file == near]
        return own or [f for f in found if not f.is_static or not f.file.endswith(".c")]

    def __post_init__(self) -> None:
        self._by_name: dict[str, list[Function]] = {}

    def index(self) -> None:
        for function in self.functions():
            self._by_name.setdefault(function.name, []).append(function)


def read_tree(root: Path) -> Tree:
    """Read all C sources under a folder. Raises TreeError."""
    files = []
    try:
        for folder, folders, names in os.walk(root, onerror=_raise):
            folders.sort()
            files += [Path(folder, n).relative_to(root).as_posix() for n in names if n.endswith(SUFFIXES)]
        files.sort()
        texts = {n: (root / n).read_text("utf-8", "replace") for n in files if (root / n).is_file()}
    except OSError as error:
        raise TreeError(f"'{error.filename}' can't be read: {error.strerror}") from None
    files = [n for n in files if n in texts]
    if not any(n.endswith((".c", ".h")) for n in files):
        raise TreeError(f"'{root}' holds no C sources; name the folder that holds the allocator's")
    tree = Tree(root, files)
    tree.headers = [n for n in files if n.rsplit("/", 1)[-1] == HEADER]

    items: dict[str, list[Item]] = {}
    loose: dict[str, list[Token]] = {}
    for name in files:
        loose[name] = []
        items[name] = flatten(read_items(texts[name], name), loose[name])
        tree.plain[name] = [i for i in items[name] if isinstance(i, Token)] + loose[name]
        tree.macros[name] = [i for i in items[name] if isinstance(i, Define)]

    own = frozenset(d.name for n in tree.headers for d in tree.macros[n])
    revealing = frozenset((*MEMBERS, *REQUIRED, INIT, LINK_READ, LINK_WRITE))
    revealing |= frozenset(
        t.text for tokens in tree.plain.values() for t in tokens
        if t.text.startswith(("slab_freelist_", "slab_remote_")))
    resolver = _Resolver(files)
    expanded = {}
    for name in files:
        macros = Macros(own, revealing)
        expanded[name] = _expand_file(name, items, macros, resolver)
    # Headers first, twice: their type names are needed to read what uses them.
    order = sorted(files, key=lambda n: not n.endswith(".h"))
    for name in [n for n in order if n.endswith(".h")]:
        read_unit(expanded[name], tree.table, name)
    tree.table.structs.clear()
    tree.table.values.clear()
    for name in order:
        tree.units[name] = read_unit(expanded[name], tree.table, name)
        if loose[name]:
            _add_variants(tree, name, texts[name], items, Macros(own, revealing), resolver)
    tree.index()
    return tree


def _add_variants(tree: Tree, name: str, text: str, items: dict[str, list[Item]], macros: Macros,
                  resolver: _Resolver) -> None:
    """Read a file again with its other alternatives; the functions that have them are added."""
    unit = tree.units[name]
    seen = {t.key for function in unit.functions for t in function.tokens}
    for pick in range(1, _VARIANTS):
        variant = {**items, name: flatten(read_items(text, name), [], pick)}
        expanded = _expand_file(name, variant, macros, resolver)
        for function in read_unit(expanded, tree.table, name).functions:
            keys = {t.key for t in function.tokens}
            if not keys <= seen:
                unit.functions.append(function)
                seen |= keys


def _raise(error: OSError) -> None:
    raise error


class _Resolver:
    """From an #include to a file of the tree."""

    def __init__(self, files: list[str]) -> None:
        self.files = set(files)

    def find(self, target: str, including: str) -> Optional[str]:
        beside = os.path.normpath(os.path.join(os.path.dirname(including), target)).replace(os.sep, "/")
        for name in (beside, os.path.normpath(target), "include/" + target):
            if name in self.files:
                return name
        ends = sorted(n for n in self.files if n.endswith("/" + target))
        return ends[0] if len(ends) == 1 else None


def _expand_file(name: str, items: dict[str, list[Item]], macros: Macros, resolver: _Resolver) -> list[Token]:
    out: list[Token] = []
    pending: list[Token] = []
    _replay(name, items, macros, resolver, {name}, out, pending)
    out.extend(macros.expand(pending))
    return out


def _replay(name: str, items: dict[str, list[Item]], macros: Macros, resolver: _Resolver,
            seen: set[str], out: Optional[list[Token]], pending: list[Token]) -> None:
    """Go through a file's directives; `out` takes its tokens, None for an included file's."""
    for item in items[name]:
        if isinstance(item, Token):
            if out is not None:
                pending.append(item)
            continue
        if isinstance(item, Include):
            target = resolver.find(item.target, name)
            if target is not None and target not in seen:
                seen.add(target)
                _replay(target, items, macros, resolver, seen, None, pending)
            continue
        if isinstance(item, (Define, Undef)) and out is not None and pending and item.name in macros.known:
            # Only where a name changes its meaning must what came before be expanded first.
            out.extend(macros.expand(pending))
            pending.clear()
        if isinstance(item, Define):
            macros.define(item)
        elif isinstance(item, Undef):
            macros.undefine(item.name)
