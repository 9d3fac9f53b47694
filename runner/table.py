"""The tables of a run, as blocks of text that a terminal, a file or Markdown can show."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, TextIO

from runner.allocators import RODS
from runner.estimate import Analysis, Estimate, Interval, Mean, Ratio, Result
from runner.floor_distance import FloorCell, floor_cells, mean_distance, undefined_sentence
from runner.matrix import axis_names, shown_figures
from runner.records import Cell
from runner.standing import Behind, behind, memory_mean
from runner.tails import CALLS, CallTimes, TailCell, compared_tails, longer_tails, tail_cells, tail_remarks
from runner.units import SpeedUnit, speed_unit

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Block:
    """One table. The first column holds labels, the others are aligned to the right."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def make_blocks(analysis: Analysis) -> list[Block]:
    """Return all tables of a run: throughput and memory of each workload, programs together, then
    the means."""
    blocks: list[Block] = []
    programs = {cell.workload for cell in analysis.program_cells}
    for workload in analysis.header.workloads:
        if workload not in programs:
            blocks.append(_speed_block(analysis, workload))
            blocks.append(_memory_block(analysis, workload))
            if any(result.figures for result in _results_of(analysis, workload)):
                blocks.append(_figures_block(analysis, workload))
            blocks += _call_blocks(analysis, workload)
    if programs:
        blocks.append(_cpu_block(analysis))
        blocks.append(_program_memory_block(analysis))
    if analysis.baselines:
        blocks += [_means_block(analysis), _memory_means_block(analysis), *_behind_blocks(analysis)]
    distances = floor_cells(analysis)
    if any(cell.reason is None for cell in distances):
        blocks.append(_floor_block(analysis, distances))
    return blocks


def table_remarks(analysis: Analysis) -> list[str]:
    """Return what must be known of the tables beyond runner.estimate.remarks."""
    return [*floor_remarks(analysis), *tail_remarks(analysis)]


def floor_remarks(analysis: Analysis) -> list[str]:
    """Return which cells have no distance to the floor, in words; nothing where the floor was not
    measured."""
    sentence = undefined_sentence(floor_cells(analysis))
    return [] if sentence is None else [sentence]


def cell_label(analysis: Analysis, cell: Cell) -> str:
    """Return the values that tell a cell from others of its workload, * if oversubscribed."""
    names = axis_names(analysis.header.matrix, analysis.cells_of(cell.workload))
    values = [f"{cell.parameters.get(name, '-')}" for name in names]
    return " ".join(values) + ("*" if analysis.oversubscribed(cell) else "")


def _label_heading(analysis: Analysis, workload: str) -> str:
    return " ".join(axis_names(analysis.header.matrix, analysis.cells_of(workload)))


def _speed_block(analysis: Analysis, workload: str) -> Block:
    headings = [_label_heading(analysis, workload), *analysis.allocators]
    if analysis.baselines:
        headings.append(f"{analysis.subject} / best baseline")
    rows: list[list[str]] = []
    unit = speed_unit(analysis, workload)
    for cell in analysis.cells_of(workload):
        row = [cell_label(analysis, cell)]
        for name in analysis.allocators:
            result = analysis.results[cell.id, name]
            row.append(_state(result) or _throughput(result.throughput, unit))
        if analysis.baselines:
            row.append(_best_ratio(analysis, cell))
        rows.append(row)
    return Block(
        f"{workload}: throughput, {unit.name}, median ± 95% interval",
        headings, rows,
    )


def _memory_block(analysis: Analysis, workload: str) -> Block:
    headings = [_label_heading(analysis, workload), *analysis.allocators]
    if analysis.baselines:
        headings.append(f"{analysis.subject} / smallest baseline")
    rows: list[list[str]] = []
    for cell in analysis.cells_of(workload):
        row = [cell_label(analysis, cell)]
        for name in analysis.allocators:
            result = analysis.results[cell.id, name]
            peak = result.peak_rss
            row.append(_state(result) or (f"{peak.median / MEBIBYTE:.1f}" if peak else "-"))
        if analysis.baselines:
            pair = analysis.memory_ratios.get(cell.id)
            row.append(f"{pair[1]:.2f} {pair[0]}" if pair else "-")
        rows.append(row)
    return Block(f"{workload}: peak resident memory, MiB, median", headings, rows)


def _results_of(analysis: Analysis, workload: str) -> list[Result]:
    return [
        analysis.results[cell.id, name]
        for cell in analysis.cells_of(workload) for name in analysis.allocators
    ]


def _figures_block(analysis: Analysis, workload: str) -> Block:
    """What only this driver measures: a row for each cell and figure."""
    rows: list[list[str]] = []
    for cell in analysis.cells_of(workload):
        results = [analysis.results[cell.id, name] for name in analysis.allocators]
        for figure in shown_figures(workload):
            row = [f"{cell_label(analysis, cell)} {figure}"]
            for result in results:
                value = result.figures.get(figure)
                row.append(_state(result) or ("-" if value is None else f"{value:.6g}"))
            rows.append(row)
    return Block(
        f"{workload}: what only this driver measures, median",
        [f"{_label_heading(analysis, workload)} figure", *analysis.allocators], rows,
    )


def _call_blocks(analysis: Analysis, workload: str) -> list[Block]:
    """How long single calls took, of a run with --latency; less is better, in the ratio too."""
    blocks: list[Block] = []
    for call in CALLS:
        found = [each for each in tail_cells(analysis) if each.cell.workload == workload and each.call == call]
        if found:
            name = "realloc" if workload == "growth" else call  # the driver times it as one that allocates
            blocks.append(_call_block(analysis, f"{workload}: time of one {name}", found))
    return blocks


def _call_block(analysis: Analysis, title: str, found: Sequence[TailCell]) -> Block:
    headings = [_label_heading(analysis, found[0].cell.workload), *analysis.allocators]
    if analysis.baselines:
        headings.append(f"p99.9, {analysis.subject} / best baseline")
    rows: list[list[str]] = []
    for each in found:
        row = [cell_label(analysis, each.cell)]
        row += [_call_times(each.times.get(name)) for name in analysis.allocators]
        if analysis.baselines:
            row.append(_ratio_text(each.ratio))
        rows.append(row)
    return Block(f"{title}, ns, lower is better: p50 / p99 / p99.9 of all rounds together", headings, rows)


def _call_times(times: Optional[CallTimes]) -> str:
    if times is None:
        return "-"
    return " / ".join(f"{value:.0f}" for value in times.quantiles) + ("†" if times.is_vague else "")


def _cpu_block(analysis: Analysis) -> Block:
    """Processor time of the programs: less is better, in the ratio too."""
    headings = ["program", *analysis.allocators]
    if analysis.baselines:
        headings.append(f"{analysis.subject} / best baseline")
    rows: list[list[str]] = []
    for cell in analysis.program_cells:
        row = [cell.id]
        for name in analysis.allocators:
            result = analysis.results[cell.id, name]
            row.append(_state(result) or _with_half_width(result.cpu_seconds, 1.0, tenths=True))
        if analysis.baselines:
            ratio = analysis.ratios.get((cell.id, analysis.best.get(cell.id, "")))
            row.append(_ratio_text(ratio.inverse() if ratio else None))
        rows.append(row)
    return Block(
        "programs: processor time for the same work, seconds, lower is better, median ± 95% interval",
        headings, rows,
    )


def _program_memory_block(analysis: Analysis) -> Block:
    headings = ["program", *analysis.allocators]
    if analysis.baselines:
        headings.append(f"{analysis.subject} / smallest baseline")
    rows: list[list[str]] = []
    for cell in analysis.program_cells:
        row = [cell.id]
        for name in analysis.allocators:
            result = analysis.results[cell.id, name]
            row.append(_state(result) or _with_half_width(result.peak_rss, MEBIBYTE, tenths=True))
        if analysis.baselines:
            leanest = analysis.memory_ratios.get(cell.id, ("", 0.0))[0]
            row.append(_ratio_text(analysis.memory_by_baseline.get((cell.id, leanest))))
        rows.append(row)
    return Block(
        "programs: peak resident memory of the largest process, MiB, lower is better, median ± 95% "
        "interval",
        headings, rows,
    )


def _means_block(analysis: Analysis) -> Block:
    headings = [
        "workload", *(f"/ {name}" for name in analysis.baselines), "/ best baseline",
        "/ best, fastest samples", "memory / smallest",
    ]
    rows: list[list[str]] = []
    for workload in [*analysis.header.workloads, ""]:
        row = [workload or "all"]
        for name in analysis.baselines:
            mean = analysis.speed_means.get((workload, name))
            row.append(f"{mean.value:.2f}" if mean else "-")
        row.append(mean_text(analysis.speed_means.get((workload, ""))))
        row.append(mean_text(analysis.undisturbed_means.get(workload)))
        memory = analysis.memory_means.get(workload)
        row.append(f"{memory.value:.2f}" if memory else "-")
        rows.append(row)
    return Block(
        f"{analysis.subject}: geometric means of its ratios to the baselines over all cells (above "
        "1: faster, or more memory)",
        headings, rows,
    )


def _memory_means_block(analysis: Analysis) -> Block:
    headings = ["workload", *(f"/ {name}" for name in analysis.baselines), "/ smallest baseline"]
    rows = [
        [workload or "all", *(
            mean_text(memory_mean(analysis, workload, name)) for name in [*analysis.baselines, ""]
        )]
        for workload in [*analysis.header.workloads, ""]
    ]
    return Block(
        f"{analysis.subject}: geometric means of its peak memory relative to the baselines' over all cells "
        "(below 1: less memory)",
        headings, rows,
    )


def _behind_blocks(analysis: Analysis) -> list[Block]:
    """The cells in which the subject is surely behind, the worst first; no table where there is none."""
    speed, memory = behind(analysis)
    cells = len(analysis.header.cells)
    blocks: list[Block] = []
    if speed:
        blocks.append(Block(
            f"{analysis.subject} is slower than the best baseline in {len(speed)} of {cells} cells (the "
            "whole interval below 1)",
            ["cell", f"{analysis.subject} / best baseline"], _behind_rows(analysis, speed),
        ))
    if memory:
        blocks.append(Block(
            f"{analysis.subject} needs more memory than the smallest baseline in {len(memory)} of {cells} "
            "cells (the whole interval above 1)",
            ["cell", f"{analysis.subject} / smallest baseline"], _behind_rows(analysis, memory),
        ))
    slowest = longer_tails(analysis)
    if slowest:
        compared = len(compared_tails(analysis))
        blocks.append(Block(
            f"{analysis.subject}'s p99.9 is above the best baseline's in {len(slowest)} of {compared} (the "
            "whole interval above 1)",
            ["cell and call", f"p99.9, {analysis.subject} / best baseline"],
            [[_cell_name(analysis, each.cell, each.call), _ratio_text(each.ratio)] for each in slowest],
        ))
    return blocks


def _behind_rows(analysis: Analysis, found: Sequence[Behind]) -> list[list[str]]:
    return [
        [_cell_name(analysis, each.cell), _ratio_text(each.ratio)] for each in found
    ]


def _cell_name(analysis: Analysis, cell: Cell, call: str = "") -> str:
    return cell.id + ("*" if analysis.oversubscribed(cell) else "") + (f", {call}" if call else "")


def _floor_block(analysis: Analysis, cells: Sequence[FloorCell]) -> Block:
    names = [name for name in analysis.allocators if name not in RODS]
    rows: list[list[str]] = []
    for each in cells:
        row = [_cell_name(analysis, each.cell)]
        row += ["-" if value is None else f"{value * 1e9:.2f}" for value in (each.none, each.floor)]
        rows.append(row + [_distance_text(each.distances.get(name)) for name in names])
    if names:
        rows.append(["geometric mean", "", "", *(mean_text(mean_distance(cells, name)) for name in names)])
    return Block(
        "distance to the floor: time per operation beyond none, relative to floor's (1: as cheap as can "
        "be), with 95% interval; none and floor in ns an operation",
        ["cell", "none", "floor beyond none", *names], rows,
    )


def _distance_text(ratio: Optional[Ratio]) -> str:
    return "-" if ratio is None else f"{ratio.median:.2f} {_range(ratio.interval)}"


def _state(result: Result) -> Optional[str]:
    if result.failures:
        return "failed"
    return None if result.throughput is not None else "-"


def _throughput(estimate: Optional[Estimate], unit: SpeedUnit) -> str:
    return _with_half_width(estimate, unit.size, tenths=False)


def _with_half_width(estimate: Optional[Estimate], unit: float, tenths: bool) -> str:
    """The median, and half of the interval's width as a share of it: with `tenths` ±0.4% where it is small."""
    if estimate is None:
        return "-"
    half = (estimate.interval.high - estimate.interval.low) / 2 / estimate.median
    digits = 1 if tenths and half < 0.0095 else 0
    return f"{_figure(estimate.median / unit)} ±{half:.{digits}%}"


def _figure(value: float) -> str:
    """Three digits that matter."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _best_ratio(analysis: Analysis, cell: Cell) -> str:
    return _ratio_text(analysis.ratios.get((cell.id, analysis.best.get(cell.id, ""))))


def _ratio_text(ratio: Optional[Ratio]) -> str:
    if ratio is None:
        return "-"
    return f"{ratio.median:.2f} {_range(ratio.interval)} {ratio.baseline}"


def mean_text(mean: Optional[Mean]) -> str:
    """Return a mean with its interval."""
    if mean is None:
        return "-"
    return f"{mean.value:.2f} {_range(mean.interval)}" if mean.interval else f"{mean.value:.2f}"


def _range(interval: Interval) -> str:
    return f"({interval.low:.2f}-{interval.high:.2f})"


def plain_text(blocks: Sequence[Block]) -> str:
    """Return the tables as text with aligned columns."""
    parts: list[str] = []
    for block in blocks:
        table = [block.headings, *block.rows]
        widths = [max(len(row[n]) for row in table) for n in range(len(block.headings))]
        parts.append(block.title)
        for number, row in enumerate(table):
            parts.append("  " + "  ".join(
                text.rjust(width) if n else text.ljust(width)
                for n, (text, width) in enumerate(zip(row, widths))
            ).rstrip())
            if number == 0:
                parts.append("  " + "  ".join("-" * width for width in widths))
        parts.append("")
    return "\n".join(parts)


def print_blocks(blocks: Sequence[Block], stream: Optional[TextIO] = None) -> None:
    """Show the tables; with the library rich where it is installed and the stream is a terminal
    that is wide enough for them."""
    stream = stream or sys.stdout
    text = plain_text(blocks)
    if stream.isatty():
        try:
            import rich.console
            import rich.table
        except ImportError:
            pass
        else:
            console = rich.console.Console(file=stream)
            if console.width >= max(map(len, text.splitlines())) + 2:
                for block in blocks:
                    table = rich.table.Table(
                        *(rich.table.Column(heading, justify="right" if n else "left", no_wrap=True)
                          for n, heading in enumerate(block.headings)),
                        title=block.title, title_justify="left", box=rich.table.box.SIMPLE_HEAD,
                        padding=(0, 1),
                    )
                    for row in block.rows:
                        table.add_row(*row)
                    console.print(table, markup=False)
                return
    print(text, file=stream)
