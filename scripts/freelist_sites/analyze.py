"""Counts the accesses to freelists and remote queues, and says where, under what, how often they run."""
from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import callgraph, locks
from .accessors import KINDS, OTHER
from .callgraph import PATHS, CallGraph
from .locks import LockTable
from .sites import Site, SiteFinder
from .table import table, wrapped
from .tree import HEADER, Tree
from .units import Function

_COLUMNS = (*KINDS, "direct")
_SHORT = {"emptiness check": "empty?", "initialisation": "init", "debug print": "debug",
          OTHER: "other", "remote queue": "remote"}


@dataclass(frozen=True)
class Row:
    """A site with all that was found out about it."""

    site: Site
    layer: str
    path: str
    lock: str
    how: str


@dataclass
class Analysis:
    """A tree's sites, and its functions by path (those of the accessor header left out)."""

    shown: str
    rows: list[Row]
    functions: dict[str, list[Function]]

    def count(self, key: str) -> dict[str, Counter[str]]:
        """Return how many sites of each kind there are, by "layer" or "file"."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            name = row.layer if key == "layer" else row.site.file
            found.setdefault(name, Counter())[row.site.kind] += 1
        return dict(sorted(found.items()))

    def touching(self, path: str) -> dict[str, int]:
        """Return the functions on a path that access a list, with their number of sites."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if row.path == path and row.site.function is not None:
                found[row.site.function.name] += 1
        return dict(sorted(found.items()))

    def names(self, path: str) -> list[str]:
        return sorted({f.name for f in self.functions[path]})


def analyse(tree: Tree, shown: str) -> Analysis:
    graph = CallGraph(tree)
    paths = graph.paths()
    held = LockTable(graph)
    rows = []
    for site in SiteFinder(tree).find():
        lock, how = held.of(site)
        layer = site.file.split("/", 1)[0] if "/" in site.file else "."
        path = paths.get(site.function, "other") if site.function else "other"
        rows.append(Row(site, layer, path, lock, how))
    functions: dict[str, list[Function]] = {path: [] for path in PATHS}
    for function, path in paths.items():
        if function.file not in tree.headers:
            functions[path].append(function)
    return Analysis(shown, rows, functions)


def as_json(analysis: Analysis) -> str:
    totals = Counter(row.site.kind for row in analysis.rows)
    document: dict[str, Any] = {
        "folder": analysis.shown,
        "total": len(analysis.rows),
        "through_header": len(analysis.rows) - totals["direct"],
        "direct": totals["direct"],
        "by_kind": {kind: totals[kind] for kind in _COLUMNS},
        "by_layer": {name: dict(counts) for name, counts in analysis.count("layer").items()},
        "by_file": {name: dict(counts) for name, counts in analysis.count("file").items()},
        "under_lock": sum(bool(row.lock) for row in analysis.rows),
        "paths": {
            path: {"functions": analysis.names(path), "accessing": analysis.touching(path)} for path in PATHS
        },
        "sites": [
            {
                "file": row.site.file, "line": row.site.line, "kind": row.site.kind, "name": row.site.name,
                "function": row.site.function.name if row.site.function else None,
                "macro": row.site.macro or None, "layer": row.layer, "path": row.path,
                "lock": row.lock or None, "lock_decided": row.how or None,
            }
            for row in analysis.rows
        ],
        "legend": {**callgraph.LEGEND, "lock": locks.LEGEND},
    }
    return json.dumps(document, indent=2)


def as_text(analysis: Analysis) -> str:
    rows = analysis.rows
    totals = Counter(row.site.kind for row in rows)
    direct = totals["direct"]
    parts = [
        f"Freelist and remote-queue accesses in {analysis.shown}\n\n"
        f"Total: {len(rows)} access sites ({len(rows) - direct} through {HEADER}, {direct} direct)",
        "By kind\n" + table(["kind", "sites"], [
            [kind, str(totals[kind])] for kind in _COLUMNS if totals[kind] or kind != OTHER
        ], right=1),
        "By layer\n" + _counts(analysis.count("layer"), "layer"),
        "By file\n" + _counts(analysis.count("file"), "file"),
        _lock_part(rows),
        *_path_parts(analysis),
        "Sites\n" + (table(
            ["where", "kind", "name", "function", "path", "lock"],
            [[_where(r), r.site.kind, _name(r.site), _function(r), r.path, r.lock or "-"] for r in rows],
        ) if rows else "  none"),
        "Legend\n" + "\n".join([
            wrapped("sites: one for each place in the sources; a macro's body counts at each of its uses, "
                    "or once where it stands if nothing uses it; what "
                    f"{HEADER} does inside is not counted", "  "),
            wrapped("initialisation: slab_freelist_init, and a store of NULL in a function that doesn't "
                    "read the list", "  "),
            wrapped("lock: " + locks.LEGEND, "  "),
            *(wrapped(f"{path}: {text}", "  ") for path, text in callgraph.LEGEND.items()),
        ]),
    ]
    return "\n\n".join(parts)


def _where(row: Row) -> str:
    return f"{row.site.file}:{row.site.line}"


def _function(row: Row) -> str:
    return row.site.function.name if row.site.function else "-"


def _name(site: Site) -> str:
    return f"{site.name} (macro {site.macro})" if site.macro else site.name


def _counts(found: dict[str, Counter[str]], name: str) -> str:
    if not found:
        return "  none"
    kinds = [k for k in _COLUMNS if any(counts[k] for counts in found.values())]
    head = [name, *(_SHORT.get(k, k) for k in kinds), "sites"]
    return table(head, [[key, *(str(counts[k] or ".") for k in kinds), str(sum(counts.values()))]
                        for key, counts in found.items()], right=len(kinds) + 1)


def _lock_part(rows: list[Row]) -> str:
    locked = [r for r in rows if r.lock]
    text = f"Under a lock: {len(locked)} of {len(rows)} sites"
    if locked:
        text += "\n" + table(["where", "function", "lock", "decided"], [
            [_where(r), _function(r), r.lock, r.how] for r in locked])
    return text


def _path_parts(analysis: Analysis) -> list[str]:
    parts = []
    defined = {f.name for functions in analysis.functions.values() for f in functions}
    for path in PATHS:
        names, touching = analysis.names(path), analysis.touching(path)
        title = {"other": "On no path"}.get(path, f"{path.capitalize()} path")
        text = f"{title}: {len(names)} {'function' if len(names) == 1 else 'functions'}, "
        text += (f"{len(touching)} of them with accesses" if touching
                 else "none touches a freelist or a remote queue")
        roots = {"fast": callgraph.FAST_ROOTS, "warm": callgraph.WARM_ROOTS}.get(path, ())
        missing = [name for name in roots if name not in defined]
        if missing:
            text += "\n" + wrapped(f"not defined in this folder: {', '.join(missing)}")
        if touching:
            text += "\n" + wrapped("with accesses: " + ", ".join(f"{n} ({c})" for n, c in touching.items()))
        others = [n for n in names if n not in touching]
        if others:
            text += "\n" + wrapped("without: " + ", ".join(others))
        parts.append(text)
    return parts
