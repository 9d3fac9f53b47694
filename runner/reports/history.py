"""What a history adds to the report: the table of the last commits, where they changed, and pictures."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.reports.model import Shown, Table, Trend, distinct
from runner.reports.pictures import shown_pictures

LAST_COMMITS = 20
_MOST_SENTENCES = 12


def read_trends(
    database: Path, workloads: Sequence[str], allocator: str, folder: Path, draw: bool, png: bool
) -> list[Trend]:
    """Return what a history holds of some workloads; pictures are drawn into `folder`. A history that
    has nothing of them says so in a sentence. Raises UsageError where there is none that can be read."""
    from runner.trends.list import list_commits
    from runner.trends.store import open_to_read

    with open_to_read(database) as connection:
        try:
            listing = list_commits(connection, LAST_COMMITS, None, allocator, False)
        except UsageError as error:
            return [Trend("The last commits", [f"Nothing to show: {error}"], None)]
        tables = [
            Table(block.headings, block.rows, _numbers(block.headings, block.rows)) for block in listing.blocks
        ]
        trends, sentences = _changes(connection, workloads, allocator)
    pictures = _drawn(trends, folder, png) if draw else []  # with the database closed: others may write
    titles = [block.title for block in listing.blocks]
    notes = distinct([*sentences, *listing.remarks])
    if not tables:
        return [Trend("The last commits", notes, None, pictures)]
    return [
        Trend(title, [] if number else notes, table, [] if number else pictures)
        for number, (title, table) in enumerate(zip(titles, tables))
    ]


def _changes(
    connection: object, workloads: Sequence[str], allocator: str
) -> tuple[Sequence[Any], list[str]]:
    """Return the trends of throughput, and sentences about where they changed."""
    try:
        from runner.trends.show import sentence
        from runner.trends.trend import Wanted, find_trends

        trends = find_trends(connection, Wanted(allocator=allocator))  # type: ignore[arg-type]
    except ImportError:
        return [], ["Where it changed is not shown: that needs Debian's package python3-numpy."]
    except UsageError as error:
        return [], [f"No trend: {error}"]
    trends = [trend for trend in trends if trend.workload in workloads] or trends
    told = [sentence(trend, found) for trend in trends for found in trend.changes]
    if len(told) > _MOST_SENTENCES:
        told = [*told[:_MOST_SENTENCES], f"And {len(told) - _MOST_SENTENCES} more changes."]
    told = told or ["No change stands out from the noise."]
    told += distinct(remark for trend in trends for remark in trend.remarks)
    return trends, told


def _drawn(trends: Sequence[Any], folder: Path, png: bool) -> list[Shown]:
    """Return pictures of trends, none without matplotlib."""
    if not trends:
        return []
    try:
        from plots import draw_trends
    except ImportError:
        return []
    return shown_pictures(draw_trends(trends, folder, png=png))


def _numbers(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns that hold numbers: those right of the first whose every filled cell begins like one."""
    return frozenset(
        column for column in range(1, len(headings))
        if all(not row[column].strip() or row[column].strip()[0] in "-+0123456789\u2212\u2013" for row in rows)
    )
