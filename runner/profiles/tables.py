"""What was found by sampling, as tables, sentences, and a JSON object."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from runner.markdown_text import escape, fenced, section
from runner.profiles.flame_graph import figure
from runner.profiles.folded_stacks import Difference, FunctionCost, Profile, ROLES, differences
from runner.profiles.record import Recording
from runner.profiles.profiling import Sampling
from runner.records import Cell
from runner.table import Block

PROFILE_SCHEMA = "hakmem-profile"
PROFILE_SCHEMA_VERSION = 1
_Z95 = 1.96
_MOST_OF_A_NAME = 70
_CALLERS = 3


def unit_of(sampling: Sampling) -> str:
    """Return the unit of costs."""
    return f"{sampling.unit}/op"


def blocks_of(recordings: Sequence[Recording], sampling: Sampling, top: int) -> list[Block]:
    """Return the tables of one recording, or of two (the second is what the first is held against)."""
    if len(recordings) == 1:
        return [_parts_block(recordings, sampling), _functions_block(recordings[0], sampling, top)]
    return [
        _parts_block(recordings, sampling), _differences_block(recordings, sampling, top),
        *(_functions_block(recording, sampling, top) for recording in recordings),
    ]


def _parts_block(recordings: Sequence[Recording], sampling: Sampling) -> Block:
    shown = list(reversed(recordings))  # as differences are read: from, to
    headings = ["part"]
    for recording in shown:
        of = f"{recording.subject.title}: " if len(shown) > 1 else ""
        headings += [f"{of}share", f"{of}{unit_of(sampling)}"]
    if len(shown) > 1:
        headings.append("change")
    rows: list[list[str]] = []
    for role in [*ROLES, ""]:
        row, costs = [role or "all"], []
        for recording in shown:
            profile = recording.profile
            weight = profile.by_role()[role] if role else profile.weight
            costs.append(profile.cost(weight))
            row += [f"{profile.share(weight):.1%}", figure(costs[-1])]
        if len(shown) > 1:
            row.append(figure(costs[1] - costs[0], sign=True))
        if any(costs):
            rows.append(row)
    return Block("Where the time goes", headings, rows)


def _functions_block(recording: Recording, sampling: Sampling, top: int) -> Block:
    profile = recording.profile
    rows = []
    for function in [f for f in profile.functions if f.own][:top]:
        width = _Z95 * profile.deviation(function.own)
        rows.append([
            _short(function.place.name), function.place.role, _short(function.place.object, 30),
            f"{profile.share(function.own):.1%}",
            f"{figure(profile.cost(function.own))} ±{figure(width)}",
            f"{profile.share(function.total):.1%}", _short(_first_caller(function), 40),
        ])
    return Block(
        f"Hot functions, {recording.subject.title}",
        ["function", "part", "object", "share", unit_of(sampling), "with callees", "called most by"], rows,
    )


def _differences_block(recordings: Sequence[Recording], sampling: Sampling, top: int) -> Block:
    new, base = recordings
    rows = [
        [_short(found.name), found.role, figure(found.base), figure(found.new),
         figure(found.change, sign=True), f"±{figure(found.half_width)}{'' if found.sure else ', noise'}"]
        for found in differences(base.profile, new.profile)[:top]
    ]
    return Block(
        f"What changes from {base.subject.title} to {new.subject.title}, {unit_of(sampling)}",
        ["function", "part", base.subject.title, new.subject.title, "change", "sampling"], rows,
    )


def _first_caller(function: FunctionCost) -> str:
    return function.callers.most_common(1)[0][0] if function.callers else ""


def _short(text: str, most: int = _MOST_OF_A_NAME) -> str:
    return text if len(text) <= most else f"{text[:most - 1]}…"


def sentences_of(recordings: Sequence[Recording], sampling: Sampling) -> list[str]:
    """Return what was found, then what a reader must know, one sentence each."""
    found: list[str] = []
    for recording in recordings:
        hot = next((f for f in recording.profile.functions if f.own), None)
        if hot is not None:
            profile = recording.profile
            found.append(
                f"{recording.subject.title}: {figure(profile.per_operation)} {unit_of(sampling)}, "
                f"{profile.share(profile.by_role()['allocator']):.0%} of it in the allocator; hottest is "
                f"{hot.place.name} ({hot.place.role}) with {profile.share(hot.own):.0%}."
            )
    if len(recordings) == 2:
        sure = [d for d in differences(recordings[1].profile, recordings[0].profile) if d.sure]
        if sure:
            first = sure[0]
            found.append(
                f"The largest change is in {first.name} ({first.role}): {figure(first.base)} to "
                f"{figure(first.new)} {unit_of(sampling)}."
            )
        else:
            found.append("No function's cost changed by more than the sampling's noise.")
    for recording in recordings:
        found += recording.notes
    return [*found, *sampling.notes()]


def profile_json(
    cell: Cell, recordings: Sequence[Recording], sampling: Sampling, blocks: Sequence[Block]
) -> dict[str, Any]:
    """Return what profile.json holds; docs/profiles.md describes it."""
    sides = [_side(recording, sampling) for recording in recordings]
    found: dict[str, Any] = {
        "schema": PROFILE_SCHEMA, "schema_version": PROFILE_SCHEMA_VERSION,
        "workload": cell.workload, "cell": cell.id, "parameters": dict(cell.parameters),
        "event": sampling.event, "unit": unit_of(sampling), "call_graph": sampling.call_graph,
        "with_kernel": sampling.with_kernel,
        **sides[0],
        "against": sides[1] if len(sides) > 1 else None,
        "difference": None,
        "sentences": sentences_of(recordings, sampling),
        "tables": [{"title": b.title, "headings": b.headings, "rows": b.rows} for b in blocks],
    }
    if len(recordings) > 1:
        changes = differences(recordings[1].profile, recordings[0].profile)
        found["difference"] = {
            "flame": "difference.svg", "functions": [_difference(change) for change in changes],
        }
    return found


def _side(recording: Recording, sampling: Sampling) -> dict[str, Any]:
    profile, build = recording.profile, recording.subject.build
    return {
        "allocator": recording.subject.given,
        "title": recording.subject.title,
        "commit": build.commit if build is not None else None,
        "dirty": build.dirty if build is not None else False,
        "provider": {"name": recording.provider.name, "version": recording.provider.version,
                     "path": recording.provider.path},
        "arguments": recording.arguments,
        "frequency": recording.frequency,
        "samples": profile.samples,
        "operations": recording.measured.operations,
        "ops_per_second": recording.measured.ops_per_second,
        "cpu_seconds": recording.measured.cpu_seconds,
        "cost_per_operation": profile.per_operation,
        "parts": {
            role: {"share": profile.share(weight), "cost": profile.cost(weight)}
            for role, weight in profile.by_role().items()
        },
        "functions": [_function(profile, function) for function in profile.functions],
        "flame": f"flame-{recording.subject.slug}.svg",
        "folded": f"stacks-{recording.subject.slug}.txt",
        "annotation": None,
    }


def _function(profile: Profile, function: FunctionCost) -> dict[str, Any]:
    return {
        "name": function.place.name,
        "part": function.place.role,
        "object": function.place.object,
        "samples": function.samples,
        "share": profile.share(function.own),
        "cost": profile.cost(function.own),
        "half_width": _Z95 * profile.deviation(function.own),
        "share_with_callees": profile.share(function.total),
        "cost_with_callees": profile.cost(function.total),
        "callers": [
            {"name": name, "share": weight / function.own}
            for name, weight in function.callers.most_common(_CALLERS)
        ],
    }


def _difference(change: Difference) -> dict[str, Any]:
    return {
        "name": change.name, "part": change.role, "base": change.base, "new": change.new,
        "change": change.change, "half_width": change.half_width, "sure": change.sure,
    }


def markdown_of(
    title: str, sentences: Sequence[str], blocks: Sequence[Block], pictures: Sequence[tuple[str, str]],
    annotations: Sequence[str], command: Optional[str],
) -> str:
    """Return the page hotspots.md. `pictures` are titles and file names beside it."""
    lines = [f"# {escape(title)}", "", *(f"{escape(text)}  " for text in sentences), ""]
    for block in blocks:
        lines += section(block)
    lines += ["## Flame graphs", "", "Open a picture by itself to zoom into it and to search it.", ""]
    for name, picture in pictures:
        lines += [f"[![{escape(name)}]({picture})]({picture})", ""]
    for text in annotations:
        lines += ["## Hot instructions", "", *fenced(text), ""]
    if command is not None:
        lines += ["## Profile it again", "", *fenced(command), ""]
    return "\n".join(lines)

