"""What a comparison of two builds is made of: metrics, questions, answers, and the verdict's words.

A question is one metric of one cell, in one phase or over the whole run; its answer is the ratio of
new to base with an interval and one of four words. `runner.verdict.verdicts` finds the answers, compare.py,
the report, the plots and the history show them.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from runner.records import BuildEntry, Machine, Value

FASTER, SLOWER, SAME, UNDECIDED = "faster", "slower", "same", "undecided"
VERDICTS = (SLOWER, FASTER, UNDECIDED, SAME)  # what a reader must see first comes first
WHOLE_RUN = ""  # the phase of a question about a run as a whole

DEFAULT_EFFECT = 0.02
DEFAULT_FALSE_DISCOVERY_RATE = 0.005


@dataclass(frozen=True)
class Metric:
    """Something that is measured. `noise` says what to expect of repeats: "time" shares the machine
    with neighbours, "count" nearly repeats, "exact" repeats to the digit. A change counts from
    `most_effect` on even where a larger effect was asked for (None: from what was asked for on), and
    from `effect_factor` times that effect on where that is more."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    noise: str
    most_effect: Optional[float] = None
    effect_factor: float = 1.0

    def effect(self, asked: float) -> float:
        """Return the share from which on a change of this metric counts, when `asked` was asked for."""
        if self.most_effect is not None:
            return min(asked, self.most_effect)
        return asked * self.effect_factor

    def word(self, ratio: float) -> str:
        """Return the word for a change that is sure: `faster` stands for better in every metric."""
        return FASTER if (ratio > 1) == self.higher_is_better else SLOWER


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("ops_per_second", "throughput", "ops/s", True, "time"),
        Metric("cpu_ns_per_op", "processor time", "ns/op", False, "time"),
        Metric("malloc_p50", "malloc, median", "ns", False, "time", effect_factor=2.5),
        Metric("malloc_p99", "malloc, p99", "ns", False, "time", effect_factor=2.5),
        Metric("malloc_p999", "malloc, p99.9", "ns", False, "time", effect_factor=5),
        Metric("free_p50", "free, median", "ns", False, "time", effect_factor=2.5),
        Metric("free_p99", "free, p99", "ns", False, "time", effect_factor=2.5),
        Metric("free_p999", "free, p99.9", "ns", False, "time", effect_factor=5),
        Metric("peak_rss_bytes", "peak memory", "bytes", False, "count"),
        Metric("minor_faults", "page faults", "faults", False, "count"),
        Metric("cycles_per_op", "cycles", "cycles/op", False, "time"),
        Metric("instructions_per_op", "instructions", "instructions/op", False, "count", most_effect=0.0025),
        Metric("exact_instructions_per_op", "instructions, exact", "instructions/op", False, "exact",
               most_effect=0.0025),
    )
}


@dataclass(frozen=True)
class Question:
    """One metric of one cell. `phase` is WHOLE_RUN or a phase's name."""

    cell: str
    workload: str
    parameters: dict[str, Value]
    concurrency: int
    phase: str
    metric: str


@dataclass(frozen=True)
class Answer:
    """What the samples say to a question. `ratio` is new over base of the metric as it is (so that 0.98
    of throughput is slower, and 0.98 of memory is better), with its interval; `change_to_worse` turns it.
    `base` and `new` are the medians in the metric's unit. `pairs` counts the pairs of samples (of
    unpaired samples: the smaller side). `p_value` is that of no change, None for exact counts."""

    question: Question
    verdict: str
    ratio: float
    low: float
    high: float
    base: float
    new: float
    pairs: int
    effect: float
    p_value: Optional[float]
    notes: list[str] = field(default_factory=list)

    @property
    def metric(self) -> Metric:
        """The metric asked for."""
        return METRICS[self.question.metric]

    @property
    def change_to_worse(self) -> float:
        """By which share it got worse: 0.02 is 2% slower, or 2% more; negative is better."""
        return 1 - self.ratio if self.metric.higher_is_better else self.ratio - 1


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: whose samples, out of which files."""

    role: str  # base | new
    allocator: str  # its name in the files
    files: list[str]
    version: Optional[str]
    commit: Optional[str]
    dirty: bool
    build: Optional[BuildEntry]

    @property
    def title(self) -> str:
        """A short name that a reader recognises: what was asked for, and the commit."""
        given = self.build.given if self.build is not None else self.allocator
        short = (self.commit or "")[:9]
        known = f"{given} ({short})" if short and short not in given else given
        return f"{known}, with changes" if self.dirty else known


@dataclass(frozen=True)
class Comparison:
    """All answers, and what a reader must know before believing them (`remarks`: one plain sentence
    each). `paired` is True when both were measured in one session, side by side. `unanswered` holds
    questions that could not be answered, each with the reason; `broken` those of cells in which the new
    side fails where the base does not, which is worse than slower."""

    base: Side
    new: Side
    machine: Machine
    paired: bool
    effect: float
    false_discovery_rate: float
    confidence: float
    answers: list[Answer]
    remarks: list[str] = field(default_factory=list)
    unanswered: list[tuple[Question, str]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    broken: list[tuple[Question, str]] = field(default_factory=list)

    def with_verdict(self, verdict: str) -> list[Answer]:
        """Return the answers with this word, the largest change first."""
        found = [answer for answer in self.answers if answer.verdict == verdict]
        return sorted(found, key=lambda answer: -abs(answer.ratio - 1))

    @property
    def verdict(self) -> str:
        """The word for the whole: slower if anything got slower or broke, else faster if anything got
        faster, else undecided if any throughput is (of programs: processor time) or a cell has no answer at
        all, else same."""
        if self.broken:
            return SLOWER
        for verdict in (SLOWER, FASTER):
            if self.with_verdict(verdict):
                return verdict
        timed = {a.question.cell for a in self.answers if a.metric.name == "ops_per_second"}
        open_questions = [
            a for a in self.with_verdict(UNDECIDED)
            if a.metric.name == "ops_per_second"
            or a.metric.name == "cpu_ns_per_op" and a.question.cell not in timed
        ]
        cells = {a.question.cell for a in self.answers}
        missing = any(question.cell not in cells for question, _ in self.unanswered)
        return UNDECIDED if open_questions or missing or not self.answers else SAME

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object; every answer with its metric's title and unit."""
        import dataclasses

        found = dataclasses.asdict(self)
        for shown, answer in zip(found["answers"], self.answers):
            shown["title"], shown["unit"] = answer.metric.title, answer.metric.unit
            shown["higher_is_better"] = answer.metric.higher_is_better
            shown["change_to_worse"] = answer.change_to_worse
        found["verdict"] = self.verdict
        return found
