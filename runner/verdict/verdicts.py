"""Turns what the samples say to each question into one of four words, for all questions at once.

A question whose samples are noisy comes with an estimate of the log ratio, its interval at any level,
and the p-value of no change. Of all these questions together Benjamini & Hochberg's procedure picks the
changes, at the false discovery rate asked for; the intervals of those picked are widened for having
been picked (Benjamini & Yekutieli, "False discovery rate-adjusted multiple confidence intervals for
selected parameters", JASA 100, 2005). docs/verdicts.md says how the words are chosen, and why.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy

from runner.verdict import robust
from runner.verdict.comparison import METRICS, SAME, UNDECIDED, Answer, Metric, Question
from runner.verdict.student import student_p_value, student_quantile

LEAST_PAIRS = 6  # with fewer nothing noisy is decided
LEAST_SESSIONS = 3  # from which on sessions are resampled too
SURE = 0.999  # level at which the interval of a change that is sure must lie inside, to be called the same
_WIDEST = math.log(1000)  # of an interval, up and down

Array = robust.Array


@dataclass(frozen=True)
class Evidence:
    """What is known of one question before all are judged together. `estimate` is the log of new over
    base; `half_width` how far the truth may be from it, by level; without `p_value` the numbers are
    exact. Where `blocked` is set, it says why nothing can be decided."""

    question: Question
    base: float
    new: float
    pairs: int
    estimate: float
    half_width: Callable[[float], float]
    p_value: Optional[float]
    notes: tuple[str, ...] = ()
    blocked: Optional[str] = None


def nothing(_level: float) -> float:
    """The half width of what is exact."""
    return 0.0


def paired_evidence(
    question: Question, sessions: Sequence[tuple[Array, Array]], notes: Sequence[str] = ()
) -> Evidence:
    """Return what pairs say: for each session the base's and the new side's values, pair by pair."""
    base = numpy.concatenate([pair[0] for pair in sessions])
    new = numpy.concatenate([pair[1] for pair in sessions])
    metric = METRICS[question.metric]
    agreed = _agreed(question, metric, base, new, notes)
    if agreed is not None:
        return agreed
    logs = [_logs(*pair) for pair in sessions if len(pair[0])]
    pooled = numpy.concatenate(logs)
    known = (question, robust.median(base), robust.median(new), len(pooled))
    if len(pooled) < LEAST_PAIRS:
        return Evidence(*known, *_of_few(pooled), None, tuple(notes), too_few(len(pooled), "pair"))
    if len(logs) >= LEAST_SESSIONS:
        estimate, half_width, p_value = _over_sessions(logs)
    else:
        interval = robust.BootstrapT(pooled)
        estimate, half_width, p_value = robust.trimmed_mean(pooled), interval.half_width, 0.0
    p_value = max(p_value, robust.signed_rank_p_value(pooled))
    return Evidence(*known, estimate, half_width, p_value, tuple(notes))


def _agreed(
    question: Question, metric: Metric, base: Array, new: Array, notes: Sequence[str]
) -> Optional[Evidence]:
    """Counts that are the same in all samples of a side need no statistics."""
    if metric.noise == "time" or min(len(base), len(new)) < LEAST_PAIRS:
        return None
    if (base != base[0]).any() or (new != new[0]).any():
        return None
    return exact_evidence(question, float(base[0]), float(new[0]), min(len(base), len(new)), notes)


def exact_evidence(
    question: Question, base: float, new: float, pairs: int, notes: Sequence[str] = ()
) -> Evidence:
    """Return what two exact numbers say."""
    blocked = None
    if base == new:
        estimate = 0.0
    elif base <= 0 or new <= 0:
        estimate = _WIDEST if new > base else -_WIDEST
        blocked = "one side is 0, so there is no ratio"
    else:
        estimate = math.log(new / base)
    return Evidence(question, base, new, pairs, estimate, nothing, None, tuple(notes), blocked)


def _logs(base: Array, new: Array) -> Array:
    """The log ratios; where a count is 0 on a side, one is added to both."""
    if (base <= 0).any() or (new <= 0).any():
        base, new = base + 1, new + 1
    found: Array = numpy.log(new / base)
    return found


def _of_few(logs: Array) -> tuple[float, Callable[[float], float]]:
    """The plain mean and Student's t: with few pairs nothing can be trimmed."""
    mean = float(logs.mean())
    if len(logs) < 2:
        return mean, nothing
    error = float(logs.std(ddof=1) / math.sqrt(len(logs)))
    return mean, lambda level: error * student_quantile(level, len(logs) - 1)


def too_few(count: int, what: str) -> str:
    """Return the sentence about too few pairs or samples."""
    if count == 1:
        return "one sample only" if what == "sample" else "one pair of samples only"
    return f"{count} {what}s; at least {LEAST_PAIRS} are needed"


def _over_sessions(logs: Sequence[Array]) -> tuple[float, Callable[[float], float], float]:
    """Resample sessions and the pairs in them; Student's t, with the degrees of freedom that the share
    of the spread between sessions leaves (Satterthwaite, Biometrics Bulletin 2, 1946)."""
    count = len(logs)
    means = numpy.array([robust.trimmed_mean(each) for each in logs])
    weights = numpy.array([float(len(each)) for each in logs])
    weights /= weights.sum()
    estimate = float(weights @ means)
    resampled = numpy.stack([
        robust.resampled_means(each, stream=1 + n) for n, each in enumerate(logs)
    ], axis=1)
    generator = numpy.random.default_rng([len(logs), len(resampled)])
    chosen = generator.integers(0, count, resampled.shape)
    shares = weights[chosen]
    picked = resampled[numpy.arange(len(resampled))[:, None], chosen]
    totals = (picked * shares).sum(axis=1) / shares.sum(axis=1)
    error = float(totals.std()) * math.sqrt(count / (count - 1))
    within = sum(
        float(weight) ** 2 * (robust.standard_error(each) ** 2 if len(each) > 1 else 0.0)
        for weight, each in zip(weights, logs)
    )
    pairs = sum(map(len, logs))
    between = max(0.0, error * error - within)
    freedom = (within + between) ** 2 / max(
        1e-300, between ** 2 / (count - 1) + within ** 2 / max(1, pairs - count)
    )
    freedom = max(float(count - 1), freedom)
    p_value = student_p_value(estimate / error, freedom) if error > 0 else float(estimate == 0)
    return estimate, lambda level: error * student_quantile(level, freedom), p_value


def judge(
    evidence: Sequence[Evidence], effect: float, false_discovery_rate: float, confidence: float
) -> list[Answer]:
    """Return the answer to each question, in the same order."""
    asked = [e.p_value for e in evidence if e.p_value is not None and e.blocked is None]
    adjusted = iter(robust.adjusted_p_values(asked) if asked else ())
    rates = [
        float(next(adjusted)) if e.p_value is not None and e.blocked is None else None for e in evidence
    ]
    picked = sum(rate is not None and rate <= false_discovery_rate for rate in rates)
    careful = 1 - (1 - confidence) * picked / max(1, len(asked))
    answers: list[Answer] = []
    for each, rate in zip(evidence, rates):
        discovered = rate is not None and rate <= false_discovery_rate
        answers.append(_answer(each, effect, careful if discovered else confidence, discovered))
    return answers


def _answer(each: Evidence, asked: float, level: float, discovered: bool) -> Answer:
    metric = METRICS[each.question.metric]
    effect = metric.effect(asked)
    half = min(each.half_width(level), _WIDEST)
    estimate = max(-_WIDEST, min(_WIDEST, each.estimate))
    ratio, low, high = (math.exp(estimate + step) for step in (0.0, -half, half))
    if each.p_value is None and each.blocked is None and min(each.base, each.new) > 0:
        ratio = low = high = each.new / each.base  # to the last digit
    notes = list(each.notes)
    reach = max(half, min(each.half_width(SURE), _WIDEST)) if discovered else half
    inside = 1 - effect < min(ratio, math.exp(estimate - reach)) and max(
        ratio, math.exp(estimate + reach)) < 1 + effect
    if each.blocked is not None:
        verdict = UNDECIDED
        notes.append(each.blocked)
    elif each.p_value is None:
        verdict = SAME if inside else metric.word(ratio)
        if inside and ratio != 1:
            notes.append(f"not equal: {100 * (ratio - 1):+.3g}%")
    elif discovered and half == 0 and estimate == 0:
        verdict = UNDECIDED
        notes.append("most pairs are equal, but those that are not differ to one side")
    elif inside:
        verdict = SAME
        if discovered:
            notes.append(f"a small change is sure: {ratio - 1:+.2%}")
    elif discovered and (low > 1 or high < 1):
        verdict = metric.word(ratio)
    else:
        verdict = UNDECIDED
    return Answer(each.question, verdict, ratio, low, high, each.base, each.new, each.pairs, effect,
                  each.p_value, notes)
