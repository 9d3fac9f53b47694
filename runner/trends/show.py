"""Shows trends: a table, the changes in sentences, and pictures. Needs numpy, and matplotlib to draw."""
from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from runner.errors import EXIT_COMPLETE
from runner.trends.store import open_to_read
from runner.trends.trend import NamedChange, Trend, Wanted, find_trends
from runner.table import Block, print_blocks

_MOST_ROWS = 60
_SUBJECT_LENGTH = 50


def show_trends(given: argparse.Namespace) -> int:
    """Find, print and draw; return the exit status. Raises UsageError."""
    wanted = Wanted(
        given.metric, given.cell, given.workload, None if given.phase == "all" else given.phase,
        given.allocator, given.machine, given.absolute, by_run=given.by == "run",
    )
    if given.last is not None:
        wanted = dataclasses.replace(wanted, last=min(given.last, wanted.last))
    with open_to_read(given.db) as history:
        trends = find_trends(history, wanted)
    if given.json:
        for trend in trends:
            print(json.dumps(as_json(trend), allow_nan=False))
        return EXIT_COMPLETE
    print_blocks([_points(trends[0]) if len(trends) == 1 else _overview(trends)])
    for line in _sentences(trends):
        print(line)
    if given.plots:
        _draw(trends, given)
    return EXIT_COMPLETE


def _draw(trends: Sequence[Trend], given: argparse.Namespace) -> None:
    folder = given.out or given.db.with_name(f"{given.db.stem}-plots")
    try:
        from plots import draw_trends

        pictures = draw_trends(trends, folder)
    except ImportError as error:
        print(f"No pictures: they need matplotlib ({error}); install Debian's package python3-matplotlib.")
        return
    for picture in pictures:
        print(f"Picture: {picture.png} and {picture.svg.name}")


def _figure(value: float) -> str:
    return f"{value:.4g}" if value < 1e5 else f"{value:,.0f}"


def _points(trend: Trend) -> Block:
    """Return every commit of a single trend."""
    changes = {found.change.place: found for found in trend.changes}
    rows: list[list[str]] = []
    for place, point in enumerate(trend.points):
        number, subject = point.number, point.entry.subject or point.entry.given or ""
        found = changes.get(place)
        rows.append([
            (point.entry.committed or point.entry.started)[:10], point.name,
            subject if len(subject) <= _SUBJECT_LENGTH else f"{subject[:_SUBJECT_LENGTH - 1]}…",
            str(point.runs), _figure(number.median),
            f"{_figure(number.lower_quartile)} to {_figure(number.upper_quartile)}",
            "" if found is None else f"{found.change.ratio - 1:+.1%} {'worse' if found.worse else 'better'}",
        ])
    left = len(rows) - _MOST_ROWS
    more = f", the last {_MOST_ROWS} of {len(rows)} commits" if left > 0 else ""
    return Block(
        f"{trend.title}: {trend.metric.title} of {trend.allocator}, {_unit(trend)}, on "
        f"{trend.machine}{more}",
        ["date", "commit", "subject", "runs", "median", "quartiles", "change"], rows[-_MOST_ROWS:],
    )


def _unit(trend: Trend) -> str:
    return f"{trend.unit} ({', '.join(trend.baselines)})" if len(trend.baselines) > 1 else trend.unit


def _overview(trends: Sequence[Trend]) -> Block:
    """Return a row for each trend."""
    rows = [[
        trend.title, str(len(trend.points)), _figure(trend.points[0].number.median),
        _figure(trend.points[-1].number.median),
        f"{trend.points[-1].number.median / trend.points[0].number.median - 1:+.1%}", str(len(trend.changes)),
        trend.unit,
    ] for trend in trends]
    first = trends[0]
    return Block(
        f"{first.metric.title} of {first.allocator} on {first.machine}",
        ["cell", "commits", "first", "last", "last to first", "changes", "unit"], rows,
    )


def _sentences(trends: Sequence[Trend]) -> list[str]:
    lines = [sentence(trend, found) for trend in trends for found in trend.changes]
    if not lines:
        lines.append("No change stands out from the noise.")
    few = min(len(trend.points) for trend in trends)
    if few < 12:
        lines.append(f"With few commits only large changes can be told from noise: some cells have {few}.")
    lines += dict.fromkeys(remark for trend in trends for remark in trend.remarks)
    names = sorted({trend.baselines for trend in trends if trend.baselines})
    for baselines in names:
        lines.append(f"Relative to {', '.join(baselines)}, measured in the same rounds; --absolute shows the "
                     "numbers themselves.")
    return lines


def sentence(trend: Trend, found: NamedChange) -> str:
    """Say in words where a trend changed, and by how much."""
    change, after = found.change, found.after.entry
    what = f" '{after.subject}'" if after.subject else ""
    interval = "" if change.low == change.high else f" ({change.low - 1:+.1%} to {change.high - 1:+.1%})"
    meanwhile = f"; also {', '.join(found.meanwhile)}" if found.meanwhile else ""
    return (
        f"{trend.title}: {trend.metric.title} {change.ratio - 1:+.1%}{interval}, "
        f"{'worse' if found.worse else 'better'}, between {found.before.name} and {found.after.name}"
        f"{what}{meanwhile}."
    )


def as_json(trend: Trend) -> dict[str, Any]:
    """Return a trend as a JSON object."""
    return {
        "machine": trend.machine, "allocator": trend.allocator, "cell": trend.cell,
        "workload": trend.workload, "phase": trend.phase, "metric": trend.metric.name, "unit": trend.unit,
        "baselines": list(trend.baselines),
        "points": [{
            "commit": point.entry.commit, "dirty": point.entry.dirty, "name": point.name,
            "subject": point.entry.subject, "committed": point.entry.committed,
            "started": point.entry.started, "runs": point.runs, **dataclasses.asdict(point.number),
        } for point in trend.points],
        "changes": [{
            "before": found.before.name, "after": found.after.name, "worse": found.worse,
            "ratio": found.change.ratio, "low": found.change.low, "high": found.change.high,
            "meanwhile": found.meanwhile, "sentence": sentence(trend, found),
        } for found in trend.changes],
        "remarks": trend.remarks,
    }
