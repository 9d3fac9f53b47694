"""What a sample says of each metric of runner.verdict.comparison, in each phase and over the whole run."""
from __future__ import annotations

import math

from runner.verdict.comparison import WHOLE_RUN
from runner.records import Cell, Measurement, Phase, Sample

Key = tuple[str, str]  # phase and metric


def values_of(sample: Sample, cell: Cell) -> dict[Key, float]:
    """Return the values of a good sample by phase and metric, of a failed one none. What was not measured
    is left out, and so is what is no number."""
    measured = sample.measured
    if measured is None:
        return {}
    found = _whole_run(measured, cell)
    for phase in measured.phases:
        found.update(_phase(phase))
    if measured.latency is not None:
        for call in ("malloc", "free"):
            for field in ("p50", "p99", "p999"):
                value = getattr(getattr(measured.latency, call), field)
                if value is not None:
                    found[WHOLE_RUN, f"{call}_{field}"] = float(value)
    if sample.counters is not None and measured.operations > 0:
        for event in ("cycles", "instructions"):
            if event in sample.counters.events:
                found[WHOLE_RUN, f"{event}_per_op"] = sample.counters.events[event] / measured.operations
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _whole_run(measured: Measurement, cell: Cell) -> dict[Key, float]:
    speed = measured.ops_per_second
    if cell.is_program:  # the same work each time: what counts is the processor time it takes
        speed = measured.operations / measured.cpu_seconds if measured.cpu_seconds > 0 else math.nan
    found: dict[Key, float] = {
        (WHOLE_RUN, "ops_per_second"): speed,
        (WHOLE_RUN, "peak_rss_bytes"): float(measured.peak_rss_bytes),
        (WHOLE_RUN, "minor_faults"): float(measured.minor_faults),
    }
    if measured.operations > 0:
        found[WHOLE_RUN, "cpu_ns_per_op"] = 1e9 * measured.cpu_seconds / measured.operations
    return found


def _phase(phase: Phase) -> dict[Key, float]:
    found: dict[Key, float] = {(phase.name, "minor_faults"): float(phase.minor_faults)}
    if phase.operations > 0 and phase.wall_seconds > 0 and phase.ops_per_second > 0:
        found[phase.name, "ops_per_second"] = phase.ops_per_second
    if phase.operations > 0:
        found[phase.name, "cpu_ns_per_op"] = 1e9 * phase.cpu_seconds / phase.operations
    return found
