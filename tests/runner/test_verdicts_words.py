"""How evidence becomes one of four words: exact numbers, small and large changes, many questions."""
from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")

from runner.verdict import robust  # noqa: E402
from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED, Answer, Question  # noqa: E402
from runner.verdict.student import student_p_value, student_quantile  # noqa: E402
from runner.verdict.verdicts import Evidence, exact_evidence, judge, paired_evidence  # noqa: E402


def question(metric: str = "ops_per_second", phase: str = "") -> Question:
    return Question("larson threads=1", "larson", {}, 1, phase, metric)


def answer_of(evidence: Evidence, effect: float = 0.02, rate: float = 0.01) -> Answer:
    (found,) = judge([evidence], effect, rate, 0.95)
    return found


def pairs(change: float, count: int = 40, noise: float = 0.01, seed: int = 1) -> tuple[Any, Any]:
    generator = numpy.random.default_rng(seed)
    base = 100 * numpy.exp(noise * generator.normal(size=count))
    return base, 100 * (1 + change) * numpy.exp(noise * generator.normal(size=count))


@pytest.mark.parametrize(("metric", "change", "word"), [
    ("ops_per_second", -0.05, SLOWER), ("ops_per_second", 0.05, FASTER),
    ("cpu_ns_per_op", 0.05, SLOWER), ("peak_rss_bytes", -0.05, FASTER),
    ("malloc_p99", 0.2, SLOWER), ("malloc_p999", 0.05, SAME), ("ops_per_second", 0.0, SAME),
    ("instructions_per_op", 0.02, SLOWER),
])
def test_words(metric: str, change: float, word: str) -> None:
    found = answer_of(paired_evidence(question(metric), [pairs(change, noise=0.002)]))
    assert found.verdict == word
    assert found.low < 1 + change + 0.005 and found.high > 1 + change - 0.005


def test_half_a_percent_of_instructions_is_found() -> None:
    found = answer_of(paired_evidence(question("instructions_per_op"), [pairs(0.005, 15, 0.0005)]))
    assert found.verdict == SLOWER


def test_a_small_sure_change_is_the_same_with_a_note() -> None:
    found = answer_of(paired_evidence(question(), [pairs(-0.008, 400, 0.005)]))
    assert found.verdict == SAME
    assert any("a small change is sure: -0." in note for note in found.notes)


@pytest.mark.parametrize(("new", "word", "note"), [
    (61.25, SAME, None), (61.30, SAME, "not equal: +0.0816%"), (61.42, SLOWER, None), (61.0, FASTER, None),
])
def test_exact_counts(new: float, word: str, note: "str | None") -> None:
    found = answer_of(exact_evidence(question("exact_instructions_per_op"), 61.25, new, 1))
    assert (found.verdict, found.p_value) == (word, None)
    assert found.ratio == found.low == found.high == new / 61.25
    assert found.notes == ([note] if note else [])


def test_counts_that_all_agree_are_exact() -> None:
    base, new = numpy.full(8, 2000.0), numpy.full(8, 2100.0)
    found = answer_of(paired_evidence(question("minor_faults"), [(base, new)]))
    assert (found.verdict, found.ratio, found.p_value) == (SLOWER, 1.05, None)
    assert answer_of(paired_evidence(question("minor_faults"), [(base, base)])).verdict == SAME


def test_counts_of_zero_have_no_ratio() -> None:
    zero, some = numpy.zeros(8), numpy.full(8, 3.0)
    found = answer_of(paired_evidence(question("minor_faults"), [(zero, some)]))
    assert found.verdict == UNDECIDED and "one side is 0, so there is no ratio" in found.notes
    assert math.isfinite(found.ratio)
    mixed = numpy.array([0, 1, 0, 0, 2, 0, 0, 0.0])
    assert math.isfinite(answer_of(paired_evidence(question("minor_faults"), [(mixed, zero)])).high)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_pairs_decide_nothing(count: int) -> None:
    found = answer_of(paired_evidence(question(), [pairs(-0.5, count)]))
    assert found.verdict == UNDECIDED and found.notes
    assert found.low <= found.ratio <= found.high


def test_outliers_do_not_move_the_verdict() -> None:
    base, new = pairs(0.0, 60, 0.004)
    new[:5] *= 0.3
    found = answer_of(paired_evidence(question(), [(base, new)]))
    assert found.verdict == SAME and abs(found.ratio - 1) < 0.003


def test_one_of_many_questions_needs_better_evidence() -> None:
    base, new = pairs(-0.016, 20, 0.012, seed=3)
    one = paired_evidence(question(), [(base, new)])
    assert one.p_value is not None and one.p_value < 0.01
    assert answer_of(one, effect=0.01).verdict == SLOWER
    others = [paired_evidence(question(), [pairs(0, 20, 0.012, seed)]) for seed in range(10, 90)]
    assert judge([one, *others], 0.01, 0.01, 0.95)[0].verdict == UNDECIDED


def test_adjusted_p_values_are_benjamini_and_hochbergs() -> None:
    given = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert robust.adjusted_p_values(given) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.5])


@pytest.mark.parametrize(("freedom", "tail", "known"), [
    (1, 0.05, 12.7062047), (2.5, 0.01, 7.1637281), (10, 0.05, 2.2281389), (10, 1e-4, 6.2110509),
    (120, 0.01, 2.6174211), (1e6, 0.05, 1.9599639),
])
def test_students_t(freedom: float, tail: float, known: float) -> None:
    assert student_quantile(1 - tail, freedom) == pytest.approx(known, rel=1e-4)
    assert student_p_value(known, freedom) == pytest.approx(tail, rel=1e-3)


def test_signed_ranks_are_exact() -> None:
    generator = numpy.random.default_rng(4)
    for values in ([1.0, 2, 2, -3, 5, 5, 0, 7], generator.normal(0.5, 1, 11), [3.0] * 9):
        values = numpy.array(values)
        kept = values[values != 0]
        order = numpy.array([(numpy.abs(kept) < abs(v)).sum() + ((numpy.abs(kept) == abs(v)).sum() + 1) / 2
                             for v in kept])
        seen = abs((numpy.sign(kept) * order).sum())
        chances = [abs((numpy.array(signs) * order).sum()) >= seen - 1e-9
                   for signs in itertools.product((1, -1), repeat=len(kept))]
        assert robust.signed_rank_p_value(values) == pytest.approx(numpy.mean(chances))


def test_normal_approximation_takes_over_smoothly() -> None:
    values = numpy.random.default_rng(6).normal(0.3, 1, robust.EXACT_RANKS)
    exact = robust.signed_rank_p_value(values)
    limit, robust.EXACT_RANKS = robust.EXACT_RANKS, 0
    try:
        assert exact <= robust.signed_rank_p_value(values) <= 1.3 * exact  # on the safe side
    finally:
        robust.EXACT_RANKS = limit


def test_sessions_that_disagree_widen_the_interval() -> None:
    agreeing = [pairs(-0.05, 30, 0.01, seed) for seed in range(4)]
    apart = [pairs(change, 30, 0.01, 9) for change in (-0.12, -0.09, 0.0, 0.01)]
    assert answer_of(paired_evidence(question(), agreeing)).verdict == SLOWER
    found = answer_of(paired_evidence(question(), apart))
    assert found.verdict == UNDECIDED and found.high - found.low > 0.1


def test_large_samples_need_no_resampling() -> None:
    found = answer_of(paired_evidence(question(), [pairs(-0.01, 5000, 0.05)]))
    assert found.high - found.low < 0.006
    sessions = [pairs(-0.05, 1500, 0.02, seed) for seed in range(3)]
    assert answer_of(paired_evidence(question(), sessions)).verdict == SLOWER


def test_two_equal_counts_a_side_decide_nothing() -> None:
    """A count of two kinds comes out alike by chance."""
    few, many = (numpy.full(n, 1000.0) for n in (2, 6))
    found = answer_of(paired_evidence(question("minor_faults"), [(few, few * 1.5)]))
    assert found.verdict == UNDECIDED
    found = answer_of(paired_evidence(question("minor_faults"), [(many, many * 1.5)]))
    assert found.verdict == SLOWER and found.p_value is None


def test_a_change_of_the_fewer_pairs_is_not_called_the_same() -> None:
    base = numpy.full(100, 1000.0)
    new = base.copy()
    new[::6] = 1500.0
    found = answer_of(paired_evidence(question("minor_faults"), [(base, new)]))
    assert found.verdict == UNDECIDED and "differ to one side" in found.notes[-1]
