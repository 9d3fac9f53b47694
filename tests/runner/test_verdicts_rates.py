"""How often the verdicts err, by simulation with fixed seeds: a build against itself under nasty noise,
and against one that is 2% slower."""
from __future__ import annotations

from typing import Callable

import pytest

numpy = pytest.importorskip("numpy")

from runner.verdict import robust  # noqa: E402
from runner.verdict.comparison import (  # noqa: E402
    DEFAULT_FALSE_DISCOVERY_RATE, FASTER, SAME, SLOWER, Answer, Question,
)
from runner.verdict.runs import DEFAULT_CONFIDENCE  # noqa: E402
from runner.verdict.verdicts import judge, paired_evidence  # noqa: E402

Generator = "numpy.random.Generator"
ASKED = (("", "ops_per_second"), ("", "cpu_ns_per_op"), ("", "peak_rss_bytes"), ("churn", "ops_per_second"))


def nasty(pairs: int, generator: Generator) -> "numpy.ndarray":
    """Log speeds in the order of time: heavy tails, a drift, and neighbours that take half the speed or
    more for seconds at a time."""
    count = 2 * pairs
    logs = 0.01 * generator.normal(size=count) + 0.01 * generator.standard_t(2, count)
    changes = generator.random(count) < 0.05
    busy = (numpy.cumsum(changes) + generator.integers(2)) % 2
    logs -= busy * 0.69 * (0.7 + 0.3 * generator.random(count))
    return logs + numpy.linspace(0, 0.1 * generator.normal(), count)


def realistic(pairs: int, generator: Generator) -> "numpy.ndarray":
    """Pairs with a spread of 1%, and 5% of samples that lose up to half."""
    logs = 0.01 / 2 ** 0.5 * generator.normal(size=2 * pairs)
    lost = generator.random(2 * pairs) < 0.05
    return logs - lost * generator.uniform(0, 0.69, 2 * pairs)


def comparison(
    noise: Callable[..., "numpy.ndarray"], cells: int, pairs: int, slower: float, generator: Generator
) -> list[Answer]:
    """Return the answers of one simulated comparison, side by side in random order."""
    evidence = []
    for cell in range(cells):
        logs = noise(pairs, generator).reshape(pairs, 2)
        swapped = generator.random(pairs) < 0.5
        logs[swapped] = logs[swapped][:, ::-1]
        speed = numpy.exp(logs) * (1, 1 - slower)
        values = {
            "ops_per_second": lambda: 6e7 * speed * numpy.exp(0.003 * generator.normal(size=speed.shape)),
            "cpu_ns_per_op": lambda: 17 / speed * numpy.exp(0.003 * generator.normal(size=speed.shape)),
            "peak_rss_bytes": lambda: 4096 * numpy.round(2000 + 5 * generator.normal(size=speed.shape)),
        }
        for phase, metric in ASKED:
            both = values[metric]()
            question = Question(f"cell {cell}", "larson", {}, 1, phase, metric)
            evidence.append(paired_evidence(question, [(both[:, 0], both[:, 1])]))
    return judge(evidence, 0.02, DEFAULT_FALSE_DISCOVERY_RATE, DEFAULT_CONFIDENCE)


@pytest.mark.parametrize(("pairs", "cells", "times"), [(16, 4, 100), (40, 3, 100), (100, 2, 100)])
def test_a_build_against_itself_names_nothing(pairs: int, cells: int, times: int) -> None:
    generator = numpy.random.default_rng(7)
    wrong = sum(
        any(answer.verdict in (FASTER, SLOWER) for answer in comparison(nasty, cells, pairs, 0, generator))
        for _ in range(times)
    )
    assert wrong <= times // 100


def test_two_percent_are_found() -> None:
    generator = numpy.random.default_rng(8)
    times, found = 100, 0
    for _ in range(times):
        answers = comparison(realistic, 2, 100, 0.02, generator)
        found += any(a.verdict == SLOWER for a in answers if a.question.metric == "ops_per_second")
        assert not any(a.verdict == FASTER for a in answers)
    assert found >= 0.95 * times


def test_quiet_pairs_are_called_the_same() -> None:
    generator = numpy.random.default_rng(9)
    answers = [a for _ in range(20) for a in comparison(realistic, 1, 60, 0, generator)]
    assert sum(answer.verdict == SAME for answer in answers) >= 0.98 * len(answers)


@pytest.mark.parametrize("pairs", [6, 8, 15, 60])
@pytest.mark.parametrize("kind", ["normal", "t2"])
def test_intervals_hold_what_they_promise(pairs: int, kind: str) -> None:
    generator = numpy.random.default_rng(pairs)
    inside = far_inside = 0
    for _ in range(300):
        values = generator.normal(size=pairs) if kind == "normal" else generator.standard_t(2, pairs)
        interval, off = robust.BootstrapT(values), abs(robust.trimmed_mean(values))
        inside += off <= interval.half_width(0.95)
        far_inside += off <= interval.half_width(0.999)
    assert inside >= 0.91 * 300 and far_inside >= 0.985 * 300


def test_p_values_are_no_smaller_than_they_may_be() -> None:
    """Even on a lattice, with ties and zeros: the chance of p <= x is at most x."""
    generator = numpy.random.default_rng(3)
    for count in (8, 20, 80):
        found = [
            robust.signed_rank_p_value(generator.integers(-2, 3, count).astype(float)) for _ in range(600)
        ]
        for level in (0.01, 0.05, 0.2):
            assert numpy.mean(numpy.array(found) <= level) <= level + 3 * (level / 600) ** 0.5


@pytest.mark.parametrize("controls", [2, 3, 5])
def test_sessions_are_not_taken_for_changes(controls: int) -> None:
    """Nothing changed but what a session does to all allocators, and a little more to each."""
    from runner.verdict.recording import Series
    from runner.verdict.unpaired import _by_controls, _Sessions

    class Session:
        """As much of a recording as is looked at."""

        def __init__(self, generator: Generator) -> None:
            common = 0.1 * generator.normal()
            names = ["hakmem", *(f"control {n}" for n in range(controls))]
            self.series = {("cell", name): self.one(generator, common) for name in names}

        @staticmethod
        def one(generator: Generator, common: float) -> Series:
            level = common + 0.03 * generator.normal()
            values = numpy.exp(level + 0.01 * generator.normal(size=12))
            return Series(numpy.arange(12), {("", "ops_per_second"): values}, {}, [])

    generator = numpy.random.default_rng(controls)
    slot, small = ("", "ops_per_second"), 0
    for _ in range(150):
        sides = tuple(_Sessions([Session(generator)], "hakmem") for _ in range(2))  # type: ignore[list-item]
        logs = [numpy.log(side.of("cell")[0].values[slot]) for side in sides]
        found = _by_controls("cell", slot, sides, *logs, [f"control {n}" for n in range(controls)])
        small += found.p_value is not None and found.p_value <= 0.05
    assert small <= 0.05 * 150 + 3 * (0.05 * 150) ** 0.5
