"""Where the subject stands: its peak memory in the mean, and the cells in which it is behind."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from runner.estimate import FEW_SAMPLES, Analysis, Mean, Ratio, mean_of
from runner.records import Cell

_SHOWN = 0.005  # what two digits show: less behind than that is as good


@dataclass(frozen=True)
class Behind:
    """A cell in which a baseline is better, with the ratio of the subject to it."""

    cell: Cell
    ratio: Ratio


def memory_mean(analysis: Analysis, workload: str, baseline: str) -> Optional[Mean]:
    """Return the geometric mean of the subject's peak memory over a baseline's (\"\": the smallest of each
    cell) in the cells of a workload (\"\": all); None where no cell has both."""
    found: list[Ratio] = []
    for cell in analysis.header.cells:
        if workload not in (cell.workload, ""):
            continue
        name = baseline or analysis.memory_ratios.get(cell.id, ("", 0.0))[0]
        ratio = analysis.memory_by_baseline.get((cell.id, name))
        if ratio is not None:
            found.append(ratio)
    return mean_of(found)


def behind(analysis: Analysis) -> tuple[list[Behind], list[Behind]]:
    """Return the cells in which the subject is surely slower than the best baseline, and those in which it
    surely needs more memory than the smallest, the worst first. Sure is what at least five rounds say with
    the whole interval; below that, an interval says little. Half a percent is not listed."""
    slow: list[Behind] = []
    large: list[Behind] = []
    for cell in analysis.header.cells:
        speed = analysis.ratios.get((cell.id, analysis.best.get(cell.id, "")))
        if speed is not None and _enough(speed) and speed.interval.high < 1 and speed.median < 1 - _SHOWN:
            slow.append(Behind(cell, speed))
        leanest = analysis.memory_ratios.get(cell.id, ("", 0.0))[0]
        memory = analysis.memory_by_baseline.get((cell.id, leanest))
        if memory is not None and _enough(memory) and memory.interval.low > 1 and memory.median > 1 + _SHOWN:
            large.append(Behind(cell, memory))
    return (
        sorted(slow, key=lambda each: each.ratio.median),
        sorted(large, key=lambda each: -each.ratio.median),
    )


def _enough(ratio: Ratio) -> bool:
    return ratio.rounds >= FEW_SAMPLES
