"""Reads what a comparison found: the word for the whole, and where it is worst."""
from __future__ import annotations

import html
import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from runner.verdict.show import percent
from runner.verdict.comparison import FASTER, METRICS, SAME, SLOWER, UNDECIDED, VERDICTS, WHOLE_RUN
from runner.results_file import Run

# What a profile of the processor's time can't explain.
_NOT_OF_TIME = ("peak_rss_bytes", "minor_faults")


@dataclass(frozen=True)
class Change:
    """An answer of the comparison, as far as it matters here. `worse` is the share by which it got
    worse; negative is better."""

    cell: str
    workload: str
    parameters: dict[str, Any]
    phase: str
    metric: str
    verdict: str
    worse: float

    @property
    def sentence(self) -> str:
        """What changed, and by how much."""
        metric = METRICS.get(self.metric)
        where = f"{self.cell}, {self.phase}" if self.phase != WHOLE_RUN else self.cell
        word = "worse" if self.worse > 0 else "better"
        title = metric.title if metric else self.metric
        return f"{title} of {where} is {percent(abs(self.worse))} {word}"


@dataclass(frozen=True)
class Findings:
    """What the comparison found."""

    verdict: str
    changes: list[Change]

    @property
    def sentence(self) -> str:
        """The verdict for people, in a sentence."""
        numbers = {word: sum(c.verdict == word for c in self.changes) for word in VERDICTS}
        listed = ", ".join(f"{numbers[word]} {word}" for word in VERDICTS if numbers[word])
        of = f" ({listed})" if listed else ""
        if self.verdict == SAME:
            return f"Nothing got slower or faster{of}."
        if self.verdict == UNDECIDED:
            return f"Undecided: the samples do not tell whether anything got slower{of}."
        largest = max((c for c in self.changes if c.verdict == self.verdict),
                      key=_telling, default=None)
        what = f": {largest.sentence}" if largest else ": its samples fail"
        return f"HEAD is {self.verdict} than BASE{what}{of}."

    def to_profile(self, always: bool, without: Container[str] = ()) -> Optional[Change]:
        """Return where a profile explains most: where the whole of a run got slower most, else a phase of
        one. With `always`, where nothing got slower, the largest change at all; else None then. The
        workloads in `without` can't be profiled."""
        timed = [c for c in self.changes if c.metric not in _NOT_OF_TIME and c.workload not in without]
        chosen = [change for change in timed if change.verdict == SLOWER]
        if not chosen and always:
            chosen = [change for change in timed if change.verdict == FASTER] or timed
        return max(chosen, key=_telling, default=None)


def _telling(change: Change) -> tuple[bool, bool, float]:
    """Time tells more than memory, a whole run more than a phase, a large change more than a small one."""
    return (change.metric not in _NOT_OF_TIME, change.phase == WHOLE_RUN, abs(change.worse))


def parse_findings(text: str) -> Findings:
    """Return what compare.py --json printed; raises ValueError where that is no comparison."""
    try:
        value = json.loads(text)
        changes = [
            Change(
                answer["question"]["cell"], answer["question"]["workload"],
                dict(answer["question"]["parameters"]), answer["question"]["phase"],
                answer["question"]["metric"], answer["verdict"], float(answer["change_to_worse"]),
            )
            for answer in value["answers"]
        ]
        verdict = value["verdict"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"there is no {error} in it") from error
    if verdict not in VERDICTS:
        raise ValueError(f"'{verdict}' is no verdict")
    return Findings(verdict, changes)


def failures_of_head(run: Run) -> list[str]:
    """Return why samples of the new build failed, each reason once, with how many samples it ended."""
    base = run.header.builds[0].allocator if run.header.builds else ""
    return _failures(run, [b.allocator for b in run.header.builds if b.allocator != base])


def failures_of_base(run: Run) -> list[str]:
    """The same for the base."""
    return _failures(run, [b.allocator for b in run.header.builds[:1]])


def _failures(run: Run, allocators: Sequence[str]) -> list[str]:
    reasons: dict[str, int] = {}
    for sample in run.samples:
        if sample.allocator in allocators and sample.failure is not None:
            reasons[sample.failure.reason] = reasons.get(sample.failure.reason, 0) + 1
    return [f"{reason} ({number} sample{'' if number == 1 else 's'})" for reason, number in reasons.items()]


def first_line(report: Path) -> Optional[str]:
    """Return the verdict that a report begins with, as plain text; None where there is none."""
    try:
        lines = report.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        text = line.strip()
        if text and not text.startswith("<!--"):
            return _plain(text)
    return None


def _plain(markdown: str) -> str:
    """A line of Markdown as it looks."""
    text = markdown.replace("**", "").replace("\N{ZERO WIDTH SPACE}", "")
    return html.unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", text)).strip()
