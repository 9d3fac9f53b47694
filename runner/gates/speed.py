"""The kind `speed`: throughput against the reference, measured side by side by run.py --rev."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.verdict.comparison import WHOLE_RUN, Answer, Comparison
from runner.errors import UsageError
from runner.gates.kinds import Finding, Kind, NotJudged, Workshop
from runner.gates.limit import FAIL, PASS, Limit, judge_ratio, word_for, worst_first
from runner.gates.measure import failed_sample, measure
from runner.gates.needs import explain_missing
from runner.gates.run import cells_of
from runner.gates.values import Parameter, choice, per_cent, share, texts, time_span
from runner.results_file import Run

_METRIC = "ops_per_second"
_LEAST_PAIRS = 6  # with fewer an interval means nothing
# The interval is asked to be this part of what is allowed, so that a build as fast as the reference
# passes surely.
_EFFECT_PART = 0.5
_LEAST_EFFECT = 0.005


def _check(values: Mapping[str, Any]) -> None:
    cells_of(values["workloads"], values["matrix"])
    if not 0 < values["at_most_below"] < 1:
        raise UsageError('at_most_below: give more than 0% and less than 100%, such as "5%".')


def _asked(values: Mapping[str, Any]) -> str:
    what = " ".join([", ".join(values["workloads"]), *values["matrix"]])
    return f"{what}: at most {per_cent(values['at_most_below'])} fewer operations a second than the reference"


def _judge(values: Mapping[str, Any], workshop: Workshop) -> Finding:
    reference = workshop.reference
    if reference.problem is not None:
        raise NotJudged(reference.problem)
    effect = max(_LEAST_EFFECT, values["at_most_below"] * _EFFECT_PART)
    options = ["--rev", reference.rev, "--rev", str(workshop.root), "--workloads", ",".join(values["workloads"]),
               "--effect", f"{100 * effect:.6g}%"]
    for entry in values["matrix"] or ["threads=1"]:  # else run.py would take several
        options += ["--matrix", entry]
    measured = measure(workshop, "speed", options, values["time_budget"])
    run = measured.run
    failed_sample(run, [build.allocator for build in run.header.builds])
    if _same_library(run):
        return Finding(True, f"nothing to tell apart: this tree and the reference, {reference.title}, give the same "
                       "library to the byte")
    found = judge_comparison(
        compare(run, effect), [cell.id for cell in run.header.cells],
        Limit(1 - values["at_most_below"], values["at_most_below"], values["undecided"]),
    )
    busy = [f"The machine was busy: {measured.busy}."] if measured.busy is not None else []
    return Finding(found.passed, f"{found.measured}, against {reference.title}",
                   [f"The reference is {reference.title}: {reference.why}.", *busy, *found.remarks], found.lines)


def _same_library(run: Run) -> bool:
    """True if both builds are one and the same: what was measured of them is noise."""
    names = [build.allocator for build in run.header.builds]
    files = {entry.name: entry.library for entry in run.header.allocators if entry.name in names}
    return len(names) > 1 and None not in files.values() and len({f.sha256 for f in files.values() if f}) == 1


def compare(run: Run, effect: float) -> Comparison:
    """Return the comparison of the builds in a run; raises NotJudged where that can't be computed."""
    try:
        from runner.verdict.runs import CompareOptions, compare_runs
    except ImportError as error:
        raise NotJudged(explain_missing(error)) from error
    return compare_runs([run], [run], CompareOptions(effect=effect))


def judge_comparison(comparison: Comparison, cells: list[str], limit: Limit) -> Finding:
    """Judge the throughput of every cell of a comparison; raises NotJudged if one has no answer."""
    answers = {
        answer.question.cell: answer for answer in comparison.answers
        if answer.question.metric == _METRIC and answer.question.phase == WHOLE_RUN
    }
    for cell in cells:
        if cell not in answers:
            reasons = [why for question, why in comparison.unanswered
                       if question.cell == cell and question.metric == _METRIC and question.phase == WHOLE_RUN]
            raise NotJudged(f"{cell}: {reasons[0].rstrip('.') if reasons else 'nothing to compare was measured'}")
    chosen = [answers[cell] for cell in cells]
    for answer in chosen:
        if answer.pairs < _LEAST_PAIRS:
            raise NotJudged(f"{answer.question.cell}: only {answer.pairs} pairs of samples were measured, "
                            f"{_LEAST_PAIRS} are needed; give a larger time_budget")
    judged = [judge_ratio(answer.ratio, answer.low, answer.high, limit) for answer in chosen]
    order = worst_first([(answer.ratio, one) for answer, one in zip(chosen, judged)])
    remarks = [f"{_shown(chosen[n], comparison)}: {judged[n].reason}." for n in order if not judged[n].sure]
    remarks += [f"{answer.question.cell}: {note.rstrip('.')}." for answer in chosen for note in answer.notes]
    return Finding(
        all(one.passed for one in judged), f"{word_for(judged)} {_shown(chosen[order[0]], comparison)}",
        [*remarks, *comparison.remarks], [_shown(answer, comparison) for answer in chosen],
    )


def _shown(answer: Answer, comparison: Comparison) -> str:
    change = answer.ratio - 1
    word = "faster" if change >= 0 else "slower"
    return (f"{answer.question.cell} {per_cent(abs(round(change, 4)))} {word} ({100 * comparison.confidence:g}% interval "
            f"{round(100 * (answer.low - 1), 2):+g}% to {round(100 * (answer.high - 1), 2):+g}%, "
            f"{answer.pairs} pairs)")


SPEED = Kind(
    "speed",
    {
        "workloads": Parameter(texts),
        "matrix": Parameter(texts, ()),
        "at_most_below": Parameter(share),
        "time_budget": Parameter(time_span, 60.0),
        "undecided": Parameter(choice(FAIL, PASS), FAIL),
    },
    _check, _asked, _judge, needs_reference=True,
)
