"""Checks that every access to freelists and remote queues goes through the header, and goes well."""
from __future__ import annotations

import os
from collections import Counter

from .accessors import KINDS, OTHER
from .compiling import check_compiles
from .findings import Check, check_direct, check_drains, check_flow, check_header
from .sites import Site, SiteFinder
from .table import progress, table
from .tree import Tree


def verify(tree: Tree, compiles: bool = True) -> tuple[list[Check], list[Site]]:
    """Run all checks; return them and the sites that they looked at."""
    sites = SiteFinder(tree).find()
    checks = [check_header(tree), check_direct(sites), *check_flow(tree, sites), check_drains(tree)]
    if compiles:
        checks.append(check_compiles(tree))
    return checks, sites


def as_text(checks: list[Check], sites: list[Site], shown: str) -> str:
    totals = Counter(site.kind for site in sites)
    wrapped = len(sites) - totals["direct"]
    rows = []
    for check in checks:
        count = len(check.findings)
        result = "ok" if not count else f"{count} {'finding' if count == 1 else 'findings'}"
        rows.append([check.name, result, "" if count else check.good])
    parts = [
        f"Accesses to freelists and remote queues in {shown}",
        table(["check", "result", ""], rows),
        "Through the header, by kind\n" + table(
            ["kind", "sites"],
            [[kind, str(totals[kind])] for kind in KINDS if totals[kind] or kind != OTHER], right=1),
        progress(wrapped, len(sites)),
    ]
    for check in checks:
        if check.notes:
            notes = "\n".join(f"  {_path(shown, note)}" for note in check.notes)
            parts.append(f"{check.name.capitalize()}\n{notes}")
    findings = [finding for check in checks for finding in check.findings]
    if findings:
        lines = [f"{_path(shown, f.file)}:{f.line}: {f.text}\n    what to do: {f.advice}" for f in findings]
        parts.append("Findings\n" + "\n".join(lines))
        parts.append(f"verify: {len(findings)} {'finding' if len(findings) == 1 else 'findings'}")
    else:
        parts.append("verify: all is well")
    return "\n\n".join(parts)


def _path(shown: str, name: str) -> str:
    return os.path.normpath(f"{shown}/{name}")
