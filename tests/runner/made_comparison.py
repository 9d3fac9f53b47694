"""Makes comparisons with known answers, for the tests of what shows them."""
from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from runner.verdict.comparison import (
    FASTER, METRICS, SAME, SLOWER, UNDECIDED, Answer, Comparison, Question, Side,
)
from runner.records import BuildEntry, Machine

MACHINE = Machine(
    "Made Processor", "x86_64", 2, 2, None, 1, 8 << 30, 4096, "Linux 6.1", "Debian", None, "madvise", None,
    0.3, "CPython 3.11.2",
)
_BASES = {"ops/s": 6e7, "ns/op": 16.3, "bytes": 13 << 20, "faults": 2900, "cycles/op": 44.5,
          "instructions/op": 61.25, "ns": 25.0}
_RATIOS = {SLOWER: (0.95, 0.01), FASTER: (1.04, 0.01), SAME: (1.001, 0.004), UNDECIDED: (0.99, 0.05)}


def make_answer(
    cell: str = "larson threads=1", verdict: str = SAME, *, phase: str = "",
    metric: str = "ops_per_second", ratio: Optional[float] = None, half_width: Optional[float] = None,
    notes: Sequence[str] = (),
) -> Answer:
    """Return an answer; `ratio` is new over base, by default one that suits the verdict."""
    asked = METRICS[metric]
    middle, half = _RATIOS[verdict]
    middle = middle if asked.higher_is_better else 2 - middle
    middle, half = ratio or middle, half if half_width is None else half_width
    base = float(_BASES[asked.unit])
    question = Question(cell, cell.split()[0] if cell.split() else cell, {"threads": 1}, 1, phase, metric)
    return Answer(question, verdict, middle, middle - half, middle + half, base, base * middle, 20,
                  asked.effect(0.02), 0.01, list(notes))


def make_comparison(answers: Sequence[Answer], **other: Any) -> Comparison:
    """Return a comparison with these answers; `other` replaces fields."""
    fields: dict[str, Any] = {
        "base": _side("base", "HEAD~1", "1"), "new": _side("new", "HEAD", "2"), "machine": MACHINE,
        "paired": True, "effect": 0.02, "false_discovery_rate": 0.01, "confidence": 0.95,
        "answers": list(answers), "commands": [["runner/run.py", "--rev", "HEAD~1", "--rev", "HEAD"]],
    }
    return Comparison(**{**fields, **other})


def many_answers(
    cells: int, seed: int = 1, name: str = "larson threads={}",
    shares: Mapping[str, float] = {SLOWER: 0.3, FASTER: 0.3, UNDECIDED: 0.2, SAME: 0.2},
) -> list[Answer]:
    """Return answers of so many cells, three metrics each, with random verdicts."""
    generator = random.Random(seed)
    return [
        make_answer(name.format(number), generator.choices(list(shares), list(shares.values()))[0],
                    metric=metric, phase=phase)
        for number in range(cells)
        for metric, phase in (("ops_per_second", ""), ("ops_per_second", "churn"), ("peak_rss_bytes", ""))
    ]


def _side(role: str, given: str, digit: str) -> Side:
    build = BuildEntry(role, given, "revision", digit * 40, False, f"Change {role}")
    return Side(role, role, ["results.jsonl"], "0.1.0", digit * 40, False, build)
