"""What a report says, before it is Markdown or a page: the verdict, rows of answers, and what is needed
to believe and to repeat them."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from runner.verdict.comparison import SLOWER, VERDICTS, WHOLE_RUN
from runner.table import Block

WHOLE = "whole run"
_LIKE_THROUGHPUT = ("ops_per_second", "cpu_ns_per_op")  # the first is what a reader asks for


@dataclass(frozen=True)
class Row:
    """An answer as it is shown. `ratio` is new over base of the metric as it is, with its interval;
    `versus` names what it is compared with where that differs from row to row."""

    workload: str
    cell: str
    threads: int
    phase: str
    metric: str  # a name out of runner.verdict.comparison.METRICS
    title: str
    unit: str
    higher_is_better: bool
    verdict: str
    ratio: float
    low: float
    high: float
    base: float
    new: float
    pairs: int
    effect: float
    versus: str = ""
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The cell, and the phase where it is one."""
        return self.cell if self.phase == WHOLE_RUN else f"{self.cell}, {self.phase}"

    @property
    def phase_title(self) -> str:
        """The phase's name, or that it is the whole run."""
        return self.phase or WHOLE

    @property
    def worse(self) -> float:
        """By which share it got worse; negative is better."""
        return 1 - self.ratio if self.higher_is_better else self.ratio - 1

    @property
    def worse_bounds(self) -> tuple[float, float]:
        """The interval of `worse`, the better end first."""
        ends = [1 - r if self.higher_is_better else r - 1 for r in (self.low, self.high)]
        return min(ends), max(ends)

    @property
    def rank(self) -> tuple[int, int, float]:
        """Sorts what a reader must see first to the front: by verdict, then speed before counts, then the
        largest change."""
        kind = 0 if self.metric in _LIKE_THROUGHPUT else 1
        return VERDICTS.index(self.verdict), kind, -abs(self.ratio - 1)


@dataclass(frozen=True)
class Open:
    """A question without an answer."""

    where: str
    title: str
    reason: str


@dataclass(frozen=True)
class Shown:
    """A picture: `png` and `svg` are files."""

    kind: str
    title: str
    caption: str
    svg: Path
    png: Path


@dataclass(frozen=True)
class Table:
    """A table of text whose columns are named; `numbers` says which columns are aligned to the right."""

    headings: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Flame:
    """A flame graph: the text of an SVG file."""

    title: str
    svg: str


@dataclass(frozen=True)
class Profile:
    """What hotspots.py found: its sentences, its tables, and the flame graphs."""

    title: str
    sentences: list[str]
    tables: list[Block]
    flames: list[Flame]


@dataclass(frozen=True)
class Trend:
    """What the history says: a table of the last commits of each cell, and pictures."""

    title: str
    sentences: list[str]
    table: Optional[Table]
    pictures: list[Shown] = field(default_factory=list)


@dataclass
class Report:
    """All that is shown. `verdict` is one of the verdicts, or empty where nothing was compared;
    `sentence` is the verdict's, in which `strong` is the part that stands out; both are plain text."""

    kind: str  # comparison | run
    title: str
    verdict: str
    strong: str
    sentence: str
    base: str
    new: str
    rows: list[Row]
    method: list[str]
    remarks: list[str]
    machine: list[tuple[str, str]]
    builds: list[tuple[str, str]]
    commands: list[str]
    unanswered: list[Open] = field(default_factory=list)
    broken: list[Open] = field(default_factory=list)  # what fails on the new side alone
    blocks: list[Block] = field(default_factory=list)
    pictures: list[Shown] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    trends: list[Trend] = field(default_factory=list)
    created: str = ""

    def with_verdict(self, verdict: str) -> list[Row]:
        """Return the rows with a verdict, what matters most first."""
        return sorted((row for row in self.rows if row.verdict == verdict), key=lambda row: row.rank)

    def counts(self) -> dict[str, int]:
        """Return how many rows have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in VERDICTS}

    @property
    def many_versus(self) -> bool:
        """True if the rows are not all compared with the same."""
        return len({row.versus for row in self.rows}) > 1


def distinct(values: Iterable[str]) -> list[str]:
    """Return each value once, in the order of first appearance."""
    return list(dict.fromkeys(values))


def worst_first(rows: Sequence[Row], verdict: str) -> Optional[Row]:
    """Return the row to name for a verdict: of speeds over the whole run the largest change, else of
    speeds, else of all."""
    found = [row for row in rows if row.verdict == verdict]
    if not found:
        return None
    sign = 1 if verdict == SLOWER else -1
    return min(found, key=lambda row: (
        [*_LIKE_THROUGHPUT, row.metric].index(row.metric), row.phase != WHOLE_RUN, -sign * row.worse
    ))
