"""Makes the report of one run: the subject against the other allocators."""
from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Optional

from runner.verdict.comparison import FASTER, METRICS, SLOWER, UNDECIDED, Metric
from runner.errors import UsageError
from runner.estimate import FEW_SAMPLES, Analysis, Estimate, Ratio, remarks
from runner.records import Cell, RunHeader
from runner.reports.comparison import change_words
from runner.reports.model import Report, Row
from runner.reports.figures import count, interval
from runner.results_file import Run
from runner.summary import headline, machine_facts, repeat_command, tail_sentence
from runner.table import make_blocks, mean_text, table_remarks


def report_of_run(run: Run, analysis: Analysis) -> Report:
    """Return the report of a run's analysis; raises UsageError where nothing was measured."""
    header = run.header
    if not any(result.throughput for result in analysis.results.values()):
        failures = [reason for result in analysis.results.values() for reason in result.failures]
        why = f" (the first failure: {failures[0]})" if failures else ""
        raise UsageError(f"'{run.path}' holds no good sample{why}; measure again.")
    rows = [
        row for cell in header.cells for name in analysis.baselines
        for row in _rows(analysis, cell, name)
    ]
    verdict, strong, sentence = _verdict(analysis, rows)
    notes = [] if run.complete else ["This run was not finished; it is reported as far as it came."]
    return Report(
        kind="run", title=f"{analysis.subject}: {', '.join(header.workloads)}", verdict=verdict,
        strong=strong, sentence=sentence, base="other", new=analysis.subject, rows=rows,
        method=[_method(analysis)], remarks=[*notes, *remarks(analysis), *table_remarks(analysis)],
        machine=machine_facts(header.machine), builds=builds_of(header),
        commands=[shlex.join(repeat_command(header))], blocks=make_blocks(analysis),
        created=header.started,
    )


def _rows(analysis: Analysis, cell: Cell, baseline: str) -> list[Row]:
    ours, theirs = analysis.results[cell.id, analysis.subject], analysis.results[cell.id, baseline]
    found = [
        _row(analysis, cell, baseline, METRICS["ops_per_second"],
             analysis.ratios.get((cell.id, baseline)), theirs.throughput, ours.throughput),
        _row(analysis, cell, baseline, METRICS["peak_rss_bytes"],
             analysis.memory_by_baseline.get((cell.id, baseline)), theirs.peak_rss, ours.peak_rss),
    ]
    return [row for row in found if row is not None]


def _row(
    analysis: Analysis, cell: Cell, baseline: str, metric: Metric, ratio: Optional[Ratio],
    base: Optional[Estimate], new: Optional[Estimate],
) -> Optional[Row]:
    if ratio is None or base is None or new is None:
        return None
    low, high = ratio.interval.low, ratio.interval.high
    sure = ratio.rounds >= FEW_SAMPLES and not low <= 1 <= high
    program = cell.is_program and metric.name == "ops_per_second"
    return Row(
        workload=cell.workload, cell=cell.id, threads=cell.concurrency, phase="", metric=metric.name,
        title="work per processor time" if program else metric.title,
        unit="/s" if program else metric.unit, higher_is_better=metric.higher_is_better,
        verdict=metric.word(ratio.median) if sure else UNDECIDED, ratio=ratio.median, low=low,
        high=high, base=base.median, new=new.median, pairs=ratio.rounds, effect=0.0, versus=baseline,
        notes=("more threads than cores",) if analysis.oversubscribed(cell) else (),
    )


def _verdict(analysis: Analysis, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Return the verdict, and its sentence in two parts. What counts is the fastest other in each cell."""
    if not rows:
        return "", "Measured", f": {headline(analysis)}"
    best = [
        row for row in rows if row.metric == "ops_per_second"
        and analysis.best.get(row.cell) == row.versus
    ]
    numbers = {word: sum(row.verdict == word for row in best) for word in (SLOWER, FASTER, UNDECIDED)}
    subject = analysis.subject
    for word in (SLOWER, FASTER):
        if numbers[word]:
            shown = max((row for row in best if row.verdict == word), key=lambda row: abs(row.ratio - 1))
            most = "at worst" if word == SLOWER else "at best"
            return word, (
                f"{subject} is {word} than the fastest other allocator in {numbers[word]} of "
                f"{count(len(best), 'cell')}"
            ), (
                f", {most} with {change_words(shown)} than {shown.versus} in {shown.cell} "
                f"({interval(shown.low, shown.high)}){_others(numbers, word)}. {_means(analysis)}"
            )
    return UNDECIDED, (
        f"Undecided whether {subject} is slower or faster than the fastest other allocator"
    ), f" in all of {count(len(best), 'cell')}. {_means(analysis)}"


def _others(numbers: dict[str, int], word: str) -> str:
    told = [f"{other} in {number:,}" for other, number in numbers.items() if other != word and number]
    return f"; {', '.join(told)}" if told else ""


def _means(analysis: Analysis) -> str:
    """The geometric means in a sentence, and how much failed."""
    speed, memory = analysis.speed_means.get(("", "")), analysis.memory_means.get("")
    told = ""
    if speed is not None and memory is not None:
        told = (
            f"Geometric mean over all cells: {mean_text(speed)} of the fastest other's throughput, "
            f"{memory.value:.2f} of the smallest one's peak memory."
        )
    failed = sum(bool(result.failures) for result in analysis.results.values())
    told += tail_sentence(analysis)
    return told + (f" {failed:,} of {count(len(analysis.results), 'result')} failed." if failed else "")


def _method(analysis: Analysis) -> str:
    return (
        f"Each line is the ratio of {analysis.subject} to another allocator in the rounds that have both, "
        "median with its 95% bootstrap interval: slower or faster where the interval, taken by itself, "
        "does not hold 1 and there are at least five rounds, else undecided."
    )


def builds_of(header: RunHeader) -> list[tuple[str, str]]:
    """Return how the run was built and measured, by name."""
    settings, build = header.settings, header.build
    facts = [("Compiler", f"{build.compiler}, {build.flags.strip()} ({build.variant})")]
    if header.git is not None:
        changed = ", with changes not committed" if header.git.dirty else ""
        facts.append(("Source", f"commit {header.git.commit}{changed}"))
    rounds = "as many rounds as fit" if settings.rounds is None else count(settings.rounds, "round")
    facts.append((
        "Samples", f"{rounds}, {settings.duration_seconds:g} s each, in random order; seed "
        f"{settings.workload_seed}, order {settings.order_seed}",
    ))
    for entry in header.allocators:
        version = f" {entry.version}" if entry.version else ""
        path = f" ({entry.library.path})" if entry.library is not None else ""
        facts.append(("Allocator", f"{entry.name}{version}{path}"))
    return facts + [("Environment", f"{name}={value}") for name, value in header.environment.items()]
