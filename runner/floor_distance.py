"""How far each allocator is from the floor: its time per operation beyond that of the loop without an
allocator, relative to the floor's.

Three runs of one round make one observation: differences are taken within a round, where a neighbour's
noise hits all three, and their medians over the rounds are divided. The interval comes from drawing
whole rounds again (percentile bootstrap, as of all ratios). Where a drawing exists in which the floor
costs no more than nothing does, the distance has no meaning, and is undefined.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from runner.allocators import FLOOR, NONE, RODS
from runner.estimate import Analysis, Mean, Ratio, interval_of, mean_of, median
from runner.records import Cell
from runner.remembered import of_last_analysis
from runner.rounds import draw_rounds


@dataclass(frozen=True)
class FloorCell:
    """One cell. `distances` holds a ratio for each allocator that has one; where it is undefined for all,
    `reason` says why. Times are medians, in seconds an operation of the whole program."""

    cell: Cell
    none: Optional[float]
    floor: Optional[float]  # beyond none
    distances: dict[str, Ratio]
    reason: Optional[str]


@of_last_analysis
def floor_cells(analysis: Analysis) -> list[FloorCell]:
    """Return the distances in all cells of a run that measured the floor, else none."""
    if FLOOR not in analysis.allocators:
        return []
    return [_floor_cell(analysis, cell) for cell in analysis.header.cells]


def _floor_cell(analysis: Analysis, cell: Cell) -> FloorCell:
    floor = _good(analysis, cell, FLOOR)
    none = _good(analysis, cell, NONE)
    cost = median(none.values()) if none else None
    reason = _reason(analysis, cell, floor, none)
    if reason is not None:
        return FloorCell(cell, cost, None, {}, reason)
    beyond = _differences(floor, none, sorted(set(floor) & set(none)))
    divisors = _resampled(beyond, draw_rounds(cell.id, len(beyond)))
    if min(divisors) <= 0:
        return FloorCell(cell, cost, median(beyond), {}, "the floor is within the noise of none")
    distances: dict[str, Ratio] = {}
    for name in analysis.allocators:
        found = None if name in RODS else _distance(
            cell, _good(analysis, cell, name), floor, none, divisors
        )
        if found is not None:
            distances[name] = found
    return FloorCell(cell, cost, median(beyond), distances, None)


def _good(analysis: Analysis, cell: Cell, name: str) -> dict[int, float]:
    """The times by round of an allocator none of whose samples failed."""
    result = analysis.results.get((cell.id, name))
    if result is None or result.throughput is None:
        return {}
    return analysis.seconds_by_round.get((cell.id, name), {})


def _reason(
    analysis: Analysis, cell: Cell, floor: dict[int, float], none: dict[int, float]
) -> Optional[str]:
    """Return why there is nothing to compute with, None if there is."""
    if NONE not in analysis.allocators:
        return "none was not measured"
    if cell.is_program:
        return "a program can't run without an allocator"
    for name, found in ((NONE, none), (FLOOR, floor)):
        if not found:
            failed = analysis.results[cell.id, name].failures
            return f"{name} {'failed' if failed else 'has no sample'}"
    return None if set(floor) & set(none) else "no round has both the floor and none"


def _distance(
    cell: Cell, ours: dict[int, float], floor: dict[int, float], none: dict[int, float],
    divisors: list[float],
) -> Optional[Ratio]:
    """`divisors` are the floor's resampled differences in all rounds that it has with none."""
    rounds = sorted(set(ours) & set(floor) & set(none))
    if not rounds:
        return None
    above, below = _differences(ours, none, rounds), _differences(floor, none, rounds)
    drawings = draw_rounds(cell.id, len(rounds))
    if len(rounds) < len(set(floor) & set(none)):  # this allocator has fewer
        divisors = _resampled(below, drawings)
        if min(divisors) <= 0:
            return None
    replicates = [a / b for a, b in zip(_resampled(above, drawings), divisors)]
    return Ratio(
        FLOOR, median(above) / median(below), interval_of(replicates), len(rounds), tuple(replicates)
    )


def _differences(
    ours: dict[int, float], theirs: dict[int, float], rounds: Sequence[int]
) -> list[float]:
    return [ours[number] - theirs[number] for number in rounds]


def _resampled(values: Sequence[float], drawings: Sequence[Sequence[int]]) -> list[float]:
    return [median(values[place] for place in drawing) for drawing in drawings]


def mean_distance(cells: Sequence[FloorCell], name: str) -> Optional[Mean]:
    """Return the geometric mean of an allocator's distances over the cells that have one."""
    return mean_of([cell.distances[name] for cell in cells if name in cell.distances])


def undefined_sentence(cells: Sequence[FloorCell], most: int = 8) -> Optional[str]:
    """Return which cells have no distance, and why; None where all have one."""
    by_reason: dict[str, list[str]] = {}
    for each in cells:
        if each.reason is not None:
            by_reason.setdefault(each.reason, []).append(each.cell.id)
    parts: list[str] = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        where = "" if len(names) == len(cells) else f" in {', '.join(names[:most])}{more}"
        parts.append(f"{reason}{where}")
    return f"The distance to the floor is undefined: {'; '.join(parts)}." if parts else None
