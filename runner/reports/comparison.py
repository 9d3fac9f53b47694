"""Makes the report of a comparison of builds: its rows, and the sentence that says who won."""
from __future__ import annotations

import shlex
from collections.abc import Sequence

from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED, VERDICTS, Answer, Comparison, Question, Side
from runner.records import RunHeader
from runner.reports.model import Open, Report, Row, distinct, worst_first
from runner.reports.figures import count, interval, percent
from runner.summary import machine_facts

# How a change of a metric is said: what follows its size when it rose, and when it fell.
_WORDS = {
    "ops_per_second": ("higher throughput", "lower throughput"),
    "cpu_ns_per_op": ("more processor time", "less processor time"),
    "peak_rss_bytes": ("more peak memory", "less peak memory"),
    "minor_faults": ("more page faults", "fewer page faults"),
    "cycles_per_op": ("more cycles", "fewer cycles"),
    "instructions_per_op": ("more instructions", "fewer instructions"),
    "exact_instructions_per_op": ("more instructions (exact)", "fewer instructions (exact)"),
}


def report_of_comparisons(found: Sequence[Comparison], headers: Sequence[RunHeader]) -> Report:
    """Return the report of one or more comparisons with the same base; `headers` are those of the runs
    that were compared, the base's first."""
    first = found[0]
    many = len(found) > 1
    rows = [
        _row(answer, comparison.new.title if many else "")
        for comparison in found for answer in comparison.answers
    ]
    verdict = min((comparison.verdict for comparison in found), key=VERDICTS.index)
    news = distinct(comparison.new.title for comparison in found)
    new = _spoken(" and ".join(news))
    strong, rest = verdict_sentence(verdict, rows, first, new)
    broken = next((entry for comparison in found for entry in comparison.broken), None)
    if broken is not None:
        strong, rest = _broken_sentence(broken, new, _spoken(first.base.title), rows)
    return Report(
        kind="comparison", title=f"{' and '.join(news)} against {first.base.title}",
        verdict=verdict, strong=strong, sentence=rest, base=_with_subject(first.base),
        new=", ".join(distinct(_with_subject(comparison.new) for comparison in found)),
        rows=rows, method=[_method(first)],
        remarks=distinct(remark for comparison in found for remark in comparison.remarks),
        machine=machine_facts(first.machine), builds=_builds(found, headers),
        commands=distinct(
            shlex.join(command) for comparison in found for command in comparison.commands
        ),
        unanswered=_opened([
            entry for comparison in found for entry in comparison.unanswered
            if entry not in comparison.broken
        ]),
        broken=_opened([entry for comparison in found for entry in comparison.broken], False),
        created=headers[-1].started if headers else "",
    )


def _opened(found: Sequence[tuple[Question, str]], by_metric: bool = True) -> list[Open]:
    """Return questions without an answer, each once."""
    return list(dict.fromkeys(
        Open(question.cell if not by_metric or not question.phase else f"{question.cell}, {question.phase}",
             _title(question.metric) if by_metric else "", reason)
        for question, reason in found
    ))


def _row(answer: Answer, versus: str) -> Row:
    question, metric = answer.question, answer.metric
    return Row(
        workload=question.workload, cell=question.cell, threads=question.concurrency,
        phase=question.phase, metric=metric.name, title=metric.title, unit=metric.unit,
        higher_is_better=metric.higher_is_better, verdict=answer.verdict, ratio=answer.ratio,
        low=answer.low, high=answer.high, base=answer.base, new=answer.new, pairs=answer.pairs,
        effect=answer.effect, versus=versus, notes=tuple(answer.notes),
    )


def _title(metric: str) -> str:
    from runner.verdict.comparison import METRICS

    return METRICS[metric].title if metric in METRICS else metric


def change_words(row: Row) -> str:
    """Return a row's change in words: 4.1% lower throughput."""
    rose = row.ratio > 1
    more, less = _WORDS.get(row.metric, (f"longer {row.title}", f"shorter {row.title}"))
    size = abs(row.ratio - 1)
    if row.ratio >= 3:
        return f"{row.ratio:.3g} times the {row.title}"
    return f"{percent(size, sign=False)} {more if rose else less}"


def verdict_sentence(
    verdict: str, rows: Sequence[Row], comparison: Comparison, new: str
) -> tuple[str, str]:
    """Return the sentence a maintainer reads, in two parts: what stands out, and the rest of it."""
    base = _spoken(comparison.base.title)
    if not rows:
        return "Undecided", f": nothing of {new} could be compared with {base}."
    numbers = {word: sum(row.verdict == word for row in rows) for word in VERDICTS}
    if verdict in (SLOWER, FASTER):
        row = worst_first(rows, verdict)
        assert row is not None
        others = [
            f"{numbers[word]:,} {word}" for word in VERDICTS if word != verdict and numbers[word]
        ]
        are = "is" if numbers[verdict] == 1 else "are"
        told = _listed([f"{numbers[verdict]:,} {are} {verdict}", *others])
        return (
            f"{new} is {verdict} than {base}",
            f": {change_words(row)} in {row.where} ({interval(row.low, row.high)}). Of "
            f"{count(len(rows), 'answer')} {told}.",
        )
    effect = f"{comparison.effect * 100:g}%"
    if verdict == SAME:
        undecided = (
            f", the other {numbers[UNDECIDED]:,} undecided" if numbers[UNDECIDED] else ""
        )
        return (
            f"{new} is the same as {base}",
            f" within \N{PLUS-MINUS SIGN}{effect}: nothing got slower or faster; {numbers[SAME]:,} of "
            f"{count(len(rows), 'question')} {'is' if numbers[SAME] == 1 else 'are'} answered by the "
            f"same{undecided}.",
        )
    widest = max((row for row in rows if row.verdict == UNDECIDED),
                 key=lambda row: (row.metric == "ops_per_second", row.high - row.low))
    return (
        f"Undecided whether {new} is slower or faster than {base}",
        f": {numbers[UNDECIDED]:,} of {count(len(rows), 'question')} "
        f"{'is' if numbers[UNDECIDED] == 1 else 'are'} too uncertain to judge by "
        f"\N{PLUS-MINUS SIGN}{effect}, most of all {widest.title} of {widest.where} "
        f"({interval(widest.low, widest.high)}); nothing is known to be slower or faster. More samples "
        "would tell.",
    )


def _broken_sentence(
    broken: tuple[Question, str], new: str, base: str, rows: Sequence[Row]
) -> tuple[str, str]:
    """What fails is worse than what is slow, and is said first."""
    question, reason = broken
    slower = sum(row.verdict == SLOWER for row in rows)
    told = f" Of {count(len(rows), 'answer')} {slower:,} {'is' if slower == 1 else 'are'} slower."
    return (
        f"{new} fails where {base} does not, which counts as slower",
        f": {question.cell}: {reason.rstrip('.')}.{told if rows else ''}",
    )


def _spoken(title: str) -> str:
    """A side's title within a sentence."""
    return title.replace(", with changes", " with changes")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


def _method(found: Comparison) -> str:
    side = "measured side by side in one session" if found.paired else (
        "measured in sessions of their own, so that the machine's state differs too")
    return (
        f"Both were {side}. Each line is the ratio of new to base with its {found.confidence * 100:g}% "
        f"interval: slower and faster where the change is sure, with at most "
        f"{found.false_discovery_rate * 100:g}% false discoveries over all questions together; the same "
        f"where the interval lies within \N{PLUS-MINUS SIGN}{found.effect * 100:g}% (a metric "
        f"that repeats better has a smaller limit, percentiles of latency a larger one); else undecided."
    )


def _builds(found: Sequence[Comparison], headers: Sequence[RunHeader]) -> list[tuple[str, str]]:
    facts = [("Base", _side(found[0].base))]
    facts += [("New", _side(comparison.new)) for comparison in found]
    if headers:
        build = headers[0].build
        facts.append(("Compiler", f"{build.compiler}, {build.flags.strip()} ({build.variant})"))
        settings = headers[0].settings
        facts.append((
            "Samples", f"{settings.duration_seconds:g} s each, in random order; seed "
            f"{settings.workload_seed}, order {settings.order_seed}",
        ))
    return facts


def _with_subject(side: Side) -> str:
    subject = side.build.subject if side.build is not None else None
    if not subject:
        return side.title
    return f"{side.title} \N{LEFT DOUBLE QUOTATION MARK}{subject}\N{RIGHT DOUBLE QUOTATION MARK}"


def _side(side: Side) -> str:
    parts = [_with_subject(side)]
    if side.commit and side.commit not in side.title:
        parts.append(f"commit {side.commit}")
    if side.version:
        parts.append(f"version {side.version}")
    parts.append(f"samples of {side.allocator} in {', '.join(side.files)}")
    return "; ".join(parts)
