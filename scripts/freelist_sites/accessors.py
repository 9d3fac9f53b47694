"""Which functions and macros are accessors, and what kind of access each is."""
from __future__ import annotations

from .ctypes_table import MEMBERS
from .tree import REQUIRED, Tree

# In the order in which reports list them.
KINDS = ("pop", "push", "load", "store", "emptiness check", "initialisation", "debug print",
         "other freelist access", "remote queue")
OTHER, REMOTE = KINDS[-2:]
_FREELIST_PREFIXES = ("slab_freelist_", "SLAB_FREELIST_")
_REMOTE_PREFIX = "slab_remote_"


def kind_of(name: str) -> str:
    """Return the kind of access that an accessor makes, by its name."""
    if name.startswith(_REMOTE_PREFIX):
        return REMOTE
    word = name[len(_FREELIST_PREFIXES[0]):].lower()
    for start, kind in (("pop", "pop"), ("push", "push"), ("load", "load"), ("store", "store"),
                        ("is_", "emptiness check"), ("init", "initialisation"), ("debug", "debug print")):
        if word.startswith(start):
            return kind
    return OTHER


def bodies_in_header(tree: Tree) -> dict[str, set[str]]:
    """Return each function and macro with a body in the accessor header, and the words in it."""
    bodies: dict[str, set[str]] = {}
    for header in tree.headers:
        for function in tree.units[header].functions:
            bodies.setdefault(function.name, set()).update(t.text for t in function.tokens)
        for macro in tree.macros[header]:
            bodies.setdefault(macro.name, set()).update(t.text for t in macro.body)
    return bodies


def accessors(tree: Tree) -> dict[str, str]:
    """Return every accessor's name with its kind: what the header defines that touches a slab's
    freelist or remote queue, itself or through another, and the names that it must define."""
    found = {name: kind_of(name) for name in REQUIRED}
    bodies = bodies_in_header(tree)
    touching = {name for name, words in bodies.items() if words & set(MEMBERS)}
    while True:
        more = {n for n, words in bodies.items() if n not in touching and words & touching}
        if not more:
            break
        touching |= more
    found.update({name: kind_of(name) for name in touching})
    # Names of accessors that the header lacks, but not the helpers that only take a word apart.
    called = {
        t.text for tokens in tree.plain.values() for t in tokens
        if t.text.startswith((*_FREELIST_PREFIXES, _REMOTE_PREFIX))
        and t.text not in bodies and not t.text.endswith(("_of", "_word")) and t.kind == "id"
        and not t.text.isupper()
    }
    found.update({name: kind_of(name) for name in called})
    return found
