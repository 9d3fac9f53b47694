"""Shows a calibration: tables for a terminal, and the same as a Markdown page."""
from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from runner.calibrating.records import COMMAND, Check, ExactOutcome
from runner.calibrating.summary import Summary
from runner.calibrating.truth import Truth
from runner.errors import UsageError, explain_os_error
from runner.estimate import Interval
from runner.schedule import in_words
from runner.table import Block

_STATES = {True: "passed", False: "FAILED", None: "open"}


def blocks_of(summary: Summary, checks: Sequence[Check]) -> list[Block]:
    """Return everything as tables."""
    blocks = [_real_block(summary), *_rate_blocks(summary), _truth_block(summary)]
    exact = summary.records.of(ExactOutcome)
    if exact:
        blocks.append(_exact_block(exact))
    return [block for block in blocks if block.rows] + [check_block(checks)]


def check_block(checks: Sequence[Check]) -> Block:
    """Return the checks as a table."""
    return Block(
        "Figures (open: so few comparisons can't tell)", ["", "figure", "asked for", "found"],
        [[_STATES[check.passed], check.name, check.asked, check.found] for check in checks],
    )


def _name(slow_down: float) -> str:
    return f"{100 * slow_down:g}% slower" if slow_down else "the same build"


def _real_block(summary: Summary) -> Block:
    plan = summary.records.plan
    rows: list[list[str]] = []
    for cell in plan.cells:
        for slow_down in (0.0, *plan.slow_downs):
            found = [o for o in summary.outcomes if (o.cell, o.slow_down) == (cell.id, slow_down)]
            if not found:
                continue
            words = [
                sum(o.verdict == word for o in found) for word in ("slower", "faster", "same", "undecided")
            ]
            rows.append([
                cell.id, _name(slow_down), str(len(found)), str(sum(o.kind == COMMAND for o in found)),
                *map(str, words), str(sum(o.errs for o in found)), summary.real(cell.id, slow_down).text,
            ])
    return Block(
        f"Real comparisons of {in_words(plan.budget_each)} each: verdicts on throughput; how many err in any "
        "question; and the rate, of false alarms for the same build, else of detection",
        ["cell", "compared", "comparisons", "by the commands", "slower", "faster", "same", "undecided", "err",
         "rate (95% interval)"],
        rows,
    )


def _rate_blocks(summary: Summary) -> list[Block]:
    """A table a cell: slow-downs down, budgets across."""
    plan = summary.records.plan
    blocks: list[Block] = []
    for cell in plan.cells:
        rows: list[list[str]] = []
        for slow_down in plan.resampled_slow_downs:
            points = [summary.point(cell.id, slow_down, budget) for budget in plan.resampled_budgets]
            if any(points):
                known = next(point for point in points if point)
                how = "by arithmetic" if known.shifted and slow_down else "measured"
                rows.append([
                    _name(slow_down), how, *(point.rate.text if point else "-" for point in points),
                ])
        counts = sorted({p.rate.trials for p in summary.points if p.cell == cell.id})
        how_many = f"{counts[0]} to {counts[-1]}" if counts and counts[0] != counts[-1] else (
            str(counts[0]) if counts else "0"
        )
        blocks.append(Block(
            f"{cell.id}: resampled comparisons, {how_many} each: false alarms of the same build, detection "
            "of slower ones, by time budget",
            ["compared", "slow-down", *(in_words(budget) for budget in plan.resampled_budgets)], rows,
        ))
    return blocks


def _truth_block(summary: Summary) -> Block:
    rows = [
        [truth.cell, _name(truth.slow_down) if truth.slow_down else "copy of the same", str(truth.rounds),
         _share(truth.expected, truth.expected_interval if truth.slow_down else None),
         _share(truth.measured, truth.measured_interval), str(truth.pairs), _agreement(truth)]
        for truth in summary.truths
    ]
    return Block(
        "How much slower the builds truly are (95% intervals)",
        ["cell", "build", "rounds burnt", "by the line of burnt rounds", "by all pairs", "pairs", "agree"],
        rows,
    )


def _agreement(truth: Truth) -> str:
    return {True: "yes", False: "no", None: "-"}[truth.agrees]


def _share(value: Optional[float], interval: Optional[Interval]) -> str:
    if value is None:
        return "-"
    text = f"{100 * value:.2f}%"
    return text if interval is None else f"{text} ({100 * interval.low:.2f} to {100 * interval.high:.2f}%)"


def _exact_block(found: Sequence[ExactOutcome]) -> Block:
    rows = [
        [o.cell, str(o.rounds), f"{100 * o.expected_change:.3f}%", f"{o.base:.4f}", f"{o.new:.4f}",
         f"{100 * (o.new / o.base - 1):.3f}%", o.verdict]
        for o in found
    ]
    return Block(
        "Exact instructions per operation",
        ["cell", "rounds burnt", "expected", "base", "new", "change", "verdict"], rows,
    )


def markdown(summary: Summary, checks: Sequence[Check], images: Sequence[Path], page: Path) -> str:
    """Return the page; `images` are named relative to where it will lie."""
    plan = summary.records.plan
    machine = plan.machine
    commit = "an unknown commit" if plan.git is None else (
        f"commit {plan.git.commit[:12]}{', with changes' if plan.git.dirty else ''}"
    )
    failed = [check.name for check in checks if check.passed is False]
    verdict = "Every figure was reached." if all(check.passed for check in checks) else (
        f"Not reached: {'; '.join(failed)}." if failed else
        "No figure was missed; some need more comparisons."
    )
    lines = [
        "# How far the verdicts can be trusted", "",
        verdict, "",
        f"Measured on {machine.cpu_model}, {machine.cores_available} cores, {machine.kernel}, at {commit}, "
        f"{plan.started}. How it is done, and how to read it: docs/calibration.md.", "",
    ]
    blocks = blocks_of(summary, checks)
    lines += _section(blocks[-1])
    for image in images:
        target = quote(Path(os.path.relpath(image, page.parent)).as_posix())
        lines += [f"![Detection and false alarms over the time budget]({target})", ""]
    for block in blocks[:-1]:
        lines += _section(block)
    lines += ["```", shlex.join(plan.command), "```", ""]
    return "\n".join(lines)


def _section(block: Block) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [
        f"**{block.title}**", "", row(block.headings), row(["---"] * len(block.headings)),
        *map(row, block.rows), "",
    ]


def write_markdown(path: Path, text: str) -> None:
    """Put the page in place, whole or not at all. Raises UsageError."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, "utf-8")
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise UsageError(explain_os_error(error, path)) from error
