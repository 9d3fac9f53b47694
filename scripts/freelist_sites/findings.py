"""What verification can find: the checks of the accessor header, its users, and the drain."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .accessors import bodies_in_header
from .callgraph import calls_in
from .sites import Site, is_value_outside
from .summaries import follow
from .tree import HEADER, POP, REQUIRED, Tree
from .units import Function
from .values import Pop

DRAIN, CLAIM = "ss_remote_drain_to_freelist", "slab_claim_then_drain"


@dataclass(frozen=True, order=True)
class Finding:
    """A mistake: where it is (`file` relative to the tree), what it is, and what to do."""

    file: str
    line: int
    text: str
    advice: str


@dataclass
class Check:
    """One check: what it looked for, what it found, and a line for when all is well."""

    name: str
    good: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_header(tree: Tree) -> Check:
    check = Check("accessor header", "")
    if not tree.headers:
        check.findings.append(Finding(
            HEADER, 1, f"there is no accessor header: no file {HEADER} lies under the folder",
            f"write {HEADER} with these accessors: {', '.join(REQUIRED)}"))
        return check
    for extra in tree.headers[1:]:
        check.findings.append(Finding(
            extra, 1, f"a second accessor header; {tree.headers[0]} is one already",
            "keep one of them and include that everywhere"))
    bodies = bodies_in_header(tree)
    for name in REQUIRED:
        if name not in bodies:
            check.findings.append(Finding(
                tree.headers[0], 1, f"the accessor header doesn't define {name}",
                f"define {name} here (a declaration alone isn't enough)"))
    check.good = f"{tree.headers[0]} defines all {len(REQUIRED)} accessors"
    return check


def check_direct(sites: list[Site]) -> Check:
    check = Check("direct accesses", "none left")
    seen: dict[tuple[str, int, int], list[Site]] = {}
    for site in sites:
        if site.is_direct:
            where = site.written or site.place
            seen.setdefault((where.file, where.line, where.position), []).append(site)
    for (file, line, _), uses in sorted(seen.items()):
        site = uses[0]
        text = f"direct access to {site.name}"
        if site.function is not None and not site.macro:
            text += f" in {site.function.name}()"
        if site.macro:
            places = sorted({f"{s.file}:{s.line}" for s in uses if s.written})
            text += f" in macro {site.macro}, "
            text += f"used at {', '.join(places)}" if places else "which nothing uses"
        what = "slab_remote_..." if site.name == "remote" else "slab_freelist_..."
        check.findings.append(Finding(
            file, line, text, f"use an accessor of {HEADER} ({what}); add one there if none fits"))
    return check


def check_flow(tree: Tree, sites: list[Site]) -> list[Check]:
    """Unchecked pops, double pops and double pushes."""
    pops = Check("results of pop", "every result is checked")
    double_pops = Check("double pops", "none")
    double_pushes = Check("double pushes", "none")
    followed = set()
    for function, flow in follow(tree).items():
        followed.update(flow.pops)
        for pop in flow.pops.values():
            finding = _unchecked(pop, function)
            if finding is not None:
                pops.findings.append(finding)
        for twice in flow.double_pops.values():
            double_pops.findings.append(Finding(
                function.file, twice.token.place.line,
                f"double pop in {function.name}(): the block was popped in line {twice.first_line}, "
                "and here the list is advanced once more, so that the next block is lost",
                "leave this store out: pop has advanced the list"))
        for twice in flow.double_pushes.values():
            double_pushes.findings.append(Finding(
                function.file, twice.token.place.line,
                f"double push in {function.name}(): the block's link was written by hand in line "
                f"{twice.first_line}, and push writes it again",
                f"leave the hand-made link in line {twice.first_line} out: push links the block"))
    for site in sites:
        if site.name == POP and site.token.key not in followed:
            pops.findings.append(Finding(
                site.file, site.line, f"{POP} is mentioned but not called here, so nobody can see "
                "whether its result is checked", "call it by its name, and check the result"))
    return [pops, double_pops, double_pushes]


def _unchecked(pop: Pop, function: Function) -> Optional[Finding]:
    line, through = pop.token.place.line, ""
    if pop.name != POP:
        through = f" (which returns what {POP} gave it)"
    macro = f" (in macro {pop.token.macro})" if pop.token.macro else ""
    subject = f"in {function.name}(): the result of {pop.name}{through}{macro}"
    advice = "test it against NULL before anything else, and have a fallback: a pop can come back empty"
    if pop.misuse:
        where = "" if pop.misuse_line == line else f" in line {pop.misuse_line}"
        text = f"unchecked pop {subject} is {pop.misuse}{where} before any test"
        return Finding(function.file, line, text, advice)
    if pop.tested or pop.returned:
        return None
    what = "is stored and never tested" if pop.stored else "is never tested"
    return Finding(function.file, line, f"unchecked pop {subject} {what}", advice)


def check_drains(tree: Tree) -> Check:
    check = Check("calls of the drain", f"only {CLAIM} drains")
    allowed_in: set[str] = set()
    calls = 0
    for function in tree.functions():
        for call in calls_in(function, [DRAIN]):
            calls += 1
            line = call.token.place.line
            how = "called" if call.is_call else "mentioned, not called,"
            text = f"{DRAIN} is {how} in {function.name}()"
            allowed = call.is_call and function.name == CLAIM
            if allowed:
                allowed_in.add(function.file)
                allowed = len(allowed_in) == 1
            check.notes.append(f"{function.file}:{line}: {text}: {'allowed' if allowed else 'NOT allowed'}")
            if not allowed:
                check.findings.append(Finding(
                    function.file, line, f"{text}; {CLAIM} is the only one that may drain, after it claimed",
                    f"claim first: call {CLAIM} instead, and leave the slab alone when it returns false"))
    for file, unit in tree.units.items():
        for i, token in enumerate(unit.outside):
            if token.text == DRAIN and is_value_outside(unit.outside, i):
                check.findings.append(Finding(
                    file, token.place.line, f"the address of {DRAIN} is taken outside any function",
                    f"let {CLAIM} be the only one that knows it"))
    if not calls:
        check.good = f"nobody calls {DRAIN}"
    return check
