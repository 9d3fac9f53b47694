"""The unit of a workload's throughput: millions a second of small blocks, single ones of large blocks."""
from __future__ import annotations

from dataclasses import dataclass

from runner.estimate import Analysis


@dataclass(frozen=True)
class SpeedUnit:
    """So many operations a second are one of the unit."""

    size: float
    name: str


_UNITS = (
    SpeedUnit(1e6, "million operations a second"),
    SpeedUnit(1e3, "thousand operations a second"),
)
_ONE = SpeedUnit(1.0, "operations a second")
_LEAST = 0.1  # of a unit, in the fastest cell


def speed_unit(analysis: Analysis, workload: str) -> SpeedUnit:
    """Return the unit for all figures of a workload: the largest that its fastest cell has a tenth of."""
    estimates = [
        analysis.results[cell.id, name].throughput
        for cell in analysis.cells_of(workload) for name in analysis.allocators
    ]
    fastest = max((estimate.median for estimate in estimates if estimate is not None), default=1e6)
    return next((unit for unit in _UNITS if fastest >= _LEAST * unit.size), _ONE)
