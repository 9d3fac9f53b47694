"""Shows a comparison as text: the verdict in a sentence, tables of what changed, and the remarks."""
from __future__ import annotations

from collections.abc import Sequence

from runner.verdict.comparison import (
    FASTER, METRICS, SAME, SLOWER, UNDECIDED, VERDICTS, WHOLE_RUN, Answer, Comparison, Question,
)
from runner.table import Block

_UNITS = {"bytes": (("GiB", 2.0 ** 30), ("MiB", 2.0 ** 20), ("KiB", 2.0 ** 10)),
          "ops/s": (("G ops/s", 1e9), ("M ops/s", 1e6), ("k ops/s", 1e3)),
          "faults": (("M", 1e6), ("k", 1e3))}
_TITLES = {SLOWER: "Slower, or more of what costs", FASTER: "Faster, or less of what costs",
           UNDECIDED: "Undecided", SAME: "The same"}
_MORE_IS = {True: ("higher", "lower"), False: ("more", "less")}


def percent(share: float) -> str:
    """Return a share with two digits that matter: 2.1%, 0.34%, 12%, 2%."""
    size = abs(100 * share)
    if abs(size - round(size)) < 1e-9:
        return f"{100 * share:.0f}%"
    if size >= 9.95:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.1f}%" if size >= 0.995 or size < 0.005 else f"{100 * share:.2f}%"


def headline(comparison: Comparison) -> str:
    """Return the whole outcome in one sentence; it begins with the verdict."""
    verdict = comparison.verdict
    counts = _counts(comparison)
    if comparison.broken:
        question, reason = comparison.broken[0]
        more = f" (and {len(comparison.broken) - 1} more)" if len(comparison.broken) > 1 else ""
        return f"{SLOWER}: broken in {question.cell}{more}: {reason}; {counts}."
    found = comparison.with_verdict(verdict)
    if verdict in (SLOWER, FASTER):
        first = _foremost(found)
        return f"{verdict}: {change_text(first)} in {_place(first.question)}, {first.metric.title}; {counts}."
    effect = percent(comparison.effect)
    if verdict == SAME:
        wherever = " wherever it could be judged" if comparison.with_verdict(UNDECIDED) or (
            comparison.unanswered) else ""
        return f"{SAME}: throughput changed by less than {effect}{wherever}, and nothing got worse; {counts}."
    if not comparison.answers:
        return f"{UNDECIDED}: no question could be answered."
    return f"{UNDECIDED}: in some places a change of {effect} can't be told from noise; {counts}."


def _foremost(answers: Sequence[Answer]) -> Answer:
    """The change to name first: of throughput before other metrics, the largest."""
    order = ("ops_per_second", "cpu_ns_per_op")
    return min(answers, key=lambda a: (
        order.index(a.metric.name) if a.metric.name in order else len(order), -abs(a.ratio - 1)
    ))


def _counts(comparison: Comparison) -> str:
    numbers = {verdict: len(comparison.with_verdict(verdict)) for verdict in VERDICTS}
    total = len(comparison.answers)
    first = f"{numbers[SLOWER]} of {total} question{'' if total == 1 else 's'} slower"
    rest = [f"{numbers[verdict]} {verdict}" for verdict in (FASTER, SAME, UNDECIDED)]
    open_ones = len(comparison.unanswered)
    if open_ones:
        rest.append(f"{open_ones} not answered")
    return ", ".join([first, *rest])


def _place(question: Question) -> str:
    return f"{question.cell}, {question.phase}" if question.phase != WHOLE_RUN else question.cell


def change_text(answer: Answer) -> str:
    """Return a change for the better or worse with its interval: 2.1% (1.7 to 2.6%)."""
    worse = answer.change_to_worse > 0
    ends = sorted(abs(end - 1) for end in (answer.low, answer.high))
    if answer.low == answer.high:
        return percent(abs(answer.ratio - 1))
    if answer.low <= 1 <= answer.high:
        return f"{percent(abs(answer.ratio - 1))} {'worse' if worse else 'better'} ({_signed(answer)})"
    return f"{percent(abs(answer.ratio - 1))} ({percent(ends[0])[:-1]} to {percent(ends[1])})"


def _signed(answer: Answer) -> str:
    return " to ".join(_with_sign(end - 1) for end in (answer.low, answer.high))


def _with_sign(share: float) -> str:
    if share > 9:
        return f"x{1 + share:.3g}"
    return ("+" if share > 0 else "") + percent(share)


def blocks_of(comparison: Comparison, everything: bool) -> list[Block]:
    """Return the tables: what got slower, then faster; with `everything` the rest too."""
    shown = (SLOWER, FASTER, UNDECIDED, SAME) if everything else (SLOWER, FASTER)
    return [
        _block(_TITLES[verdict], comparison.with_verdict(verdict))
        for verdict in shown if comparison.with_verdict(verdict)
    ]


def _block(title: str, answers: Sequence[Answer]) -> Block:
    rows = [
        [_place(a.question), a.metric.title, _value(a.base, a.metric.unit), _value(a.new, a.metric.unit),
         _with_sign(a.ratio - 1), _interval(a), f"{a.pairs}", "; ".join(a.notes)]
        for a in answers
    ]
    headings = ["where", "what", "base", "new", "change", "interval", "pairs", "notes"]
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    return Block(title, headings, rows)


def _interval(answer: Answer) -> str:
    if answer.p_value is None and answer.low == answer.high:
        return "-" if answer.verdict == UNDECIDED else "exact"
    return _signed(answer)


def _value(value: float, unit: str) -> str:
    for name, size in _UNITS.get(unit, ()):
        if value >= size:
            return f"{value / size:.4g} {name}"
    return f"{value:.4g} {unit}" if value < 1e5 else f"{value:.0f} {unit}"


def lines_after(comparison: Comparison, everything: bool) -> list[str]:
    """Return what follows the tables: what could not be answered, and the remarks."""
    lines = [f"Broken: {_place(question)}: {reason}." for question, reason in comparison.broken]
    broken = {question.cell for question, _ in comparison.broken}
    open_ones = [(q, why) for q, why in comparison.unanswered if q.cell not in broken]
    most = len(open_ones) if everything else 5
    lines += [
        f"Not answered: {_place(question)}, {_title(question)}: {reason}."
        for question, reason in open_ones[:most]
    ]
    if len(open_ones) > most:
        lines.append(f"Not answered: {len(open_ones) - most} more; --all lists them.")
    rest = len(comparison.with_verdict(UNDECIDED)) + len(comparison.with_verdict(SAME))
    if rest and not everything:
        lines.append(f"{len(comparison.with_verdict(SAME))} the same, each within its effect "
                     f"(\N{PLUS-MINUS SIGN}{percent(comparison.effect)} of throughput), "
                     f"{len(comparison.with_verdict(UNDECIDED))} undecided; --all lists them.")
    return lines + comparison.remarks


def _title(question: Question) -> str:
    return METRICS[question.metric].title


def sides_line(comparison: Comparison) -> str:
    """Return who is compared with whom, and with what care."""
    way = "side by side" if comparison.paired else "in different sessions"
    return (
        f"{comparison.new.title} against {comparison.base.title}, measured {way}; intervals of "
        f"{100 * comparison.confidence:g}%, false discoveries held to "
        f"{100 * comparison.false_discovery_rate:g}%."
    )
