"""Runs the flow analysis over a tree until it is known what each function does for its callers."""
from __future__ import annotations

from .flow import Flow
from .tree import POP, PUSH, Tree
from .units import Function
from .values import Summary

_ROUNDS = 12  # functions that pass a pop on through more levels than this are not seen


def follow(tree: Tree) -> dict[Function, Flow]:
    """Return the analysis of every function outside the accessor header that the pops, pushes and
    links of the tree can reach."""
    outside = set(tree.outside_header())
    functions = [f for f in tree.functions() if f.file in outside]
    known: dict[Function, Summary] = {}
    flows: dict[Function, Flow] = {}
    todo = functions
    for _ in range(_ROUNDS):
        changed: set[str] = set()
        for function in todo:
            flow = Flow(function, lambda name, near=function.file: _summary(tree, known, name, near))
            flows[function] = flow
            if known.get(function, Summary()) != flow.summary:
                changed.add(function.name)
            known[function] = flow.summary
        todo = [f for f in functions if changed & {t.text for t in f.tokens}]
        if not todo:
            break
    return flows


def _summary(tree: Tree, known: dict[Function, Summary], name: str, near: str) -> Summary:
    """Join what the definitions of a name do: one of them is in the build."""
    if name in (POP, PUSH):
        return Summary()
    joined = Summary()
    for function in tree.defined(name, near):
        one = known.get(function)
        if one is not None:
            joined.passes_pop |= one.passes_pop
            joined.pushes |= one.pushes
            joined.links |= one.links
            joined.advances |= one.advances
    return joined
