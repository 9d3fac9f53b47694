"""The measuring loop: warm-up, then rounds in random order, each sample on disk before the next.

In a comparison of builds the samples of one cell and round come directly after each other, and a round
measures only the cells that are still open (`runner.adaptive`).
"""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Optional

from runner.adaptive import openness_of
from runner.allocators import Allocator
from runner.interrupts import Interrupted, Interrupts
from runner.matrix import sample_seconds
from runner.measure import Laboratory, Ticket, utc_now
from runner.progress import Progress
from runner.records import Cell, End, RunHeader, Sample
from runner.results_file import ResultsWriter
from runner.schedule import STARTING_OVERHEAD_SECONDS, SampleTimes, shuffled

Pair = tuple[Cell, Allocator]


@dataclass
class Session:
    """One run while it is measured. `samples` holds all records so far, those of an interrupted
    run included; `run` adds to it."""

    header: RunHeader
    allocators: Sequence[Allocator]
    laboratory: Laboratory
    writer: ResultsWriter
    progress: Progress
    interrupts: Interrupts
    samples: list[Sample] = field(default_factory=list)
    spent_before: InitVar[float] = 0.0  # seconds of the budget

    def __post_init__(self, spent_before: float) -> None:
        self._pairs: list[Pair] = [
            (cell, allocator) for cell in self.header.cells for allocator in self.allocators
        ]
        self._builds = {build.allocator for build in self.header.builds}
        self._openness = openness_of(self.header, self.samples)
        self._times = SampleTimes()
        self._began = time.monotonic()
        self._spent_before = spent_before + sum(sample.elapsed_seconds for sample in self.samples)
        self._done = {_key(s.round, s.cell, s.allocator) for s in self.samples}
        self._last_round = max((s.round for s in self.samples), default=0)
        self._stuck: set[tuple[str, str]] = set()
        for sample in self.samples:
            self._learn(sample)
        self._position = len(self.samples)
        self._open = len(self.header.cells)
        self._round_ends = 0.0
        self.progress.total = self.expected_samples()

    @property
    def adaptive(self) -> bool:
        """True if cells are measured until their intervals are narrow."""
        return self._openness is not None and self.header.settings.rounds is None

    def expected_samples(self) -> int:
        """Return how many samples the whole run will have, as far as that is known."""
        rounds = self.header.settings.rounds
        budget = self.header.settings.budget_seconds
        if budget is not None:
            fitting = max(1, int((budget - self._spent()) / max(1e-3, self._round_seconds())))
            rounds = min(rounds or fitting, fitting)
            return max(len(self.samples), len(self._warmups()) + rounds * len(self._pairs))
        return len(self._warmups()) + (rounds or 1) * len(self._pairs)

    def seconds_expected(self) -> float:
        """Return how long what is left will take."""
        settings = self.header.settings
        if settings.budget_seconds is not None and settings.rounds is None:
            return max(0.0, settings.budget_seconds - self._spent())
        todo = max(0, self.expected_samples() - len(self.samples))
        return todo * self._round_seconds() / max(1, len(self._pairs))

    def run(self) -> End:
        """Measure what is left and write the end of the run. Raises UsageError when the results
        can't be written; what is on disk stays."""
        status, reason = "complete", None
        before, began = len(self.samples), time.monotonic()
        try:
            for ticket in self._tickets():
                self.interrupts.check()
                self.progress.update(
                    len(self.samples), self._seconds_left(ticket.round), self._shown(ticket)
                )
                self._measure(ticket)
        except Interrupted:
            status, reason = "interrupted", "a signal asked to stop"
        inside = sum(sample.elapsed_seconds for sample in self.samples[before:])
        end = End(
            status=status, reason=reason, ended=utc_now(), samples=len(self.samples),
            failed=sum(not sample.ok for sample in self.samples),
            outside_percent=outside_percent(inside, time.monotonic() - began),
        )
        self.writer.write(end)
        return end

    def _measure(self, ticket: Ticket) -> None:
        sample = self.laboratory.sample(ticket, self.header.settings)
        self.writer.write(sample)
        self.samples.append(sample)
        self._position += 1
        self._done.add(_key(sample.round, sample.cell, sample.allocator))
        self._last_round = max(self._last_round, sample.round)
        if self._openness is not None:
            self._openness.learn(sample)
        self._learn(sample)
        if sample.failure is not None:
            self.progress.message(f"Failed: {_name(ticket)}: {sample.failure.reason}")

    def _shown(self, ticket: Ticket) -> str:
        if not self.adaptive:
            return _name(ticket)
        return f"{_name(ticket)} ({self._open} of {len(self.header.cells)} cells open)"

    def _learn(self, sample: Sample) -> None:
        if sample.ok:
            self._times.add(sample.cell, sample.elapsed_seconds)
        elif sample.failure is not None and sample.failure.kind in ("timeout", "usage"):
            self._stuck.add((sample.cell, sample.allocator))

    def _tickets(self) -> Iterator[Ticket]:
        if not self.samples and self._warmup_fits():
            for cell, allocator in shuffled(self._warmups(), self.header.settings.order_seed, 0):
                yield Ticket(cell, allocator, 0, self._position, warmup=True)
        number = 1
        while True:
            blocks = self._blocks(number)
            if not self._another_round(number, blocks):
                return
            for block in blocks:
                if number > 1 and self._over_budget(sum(self._expect(cell) for cell, _ in block)):
                    return
                for cell, allocator in block:
                    yield Ticket(cell, allocator, number, self._position, warmup=False)
            number += 1

    def _blocks(self, number: int) -> list[list[Pair]]:
        """Return what is left of a round, in its order; what stands together is not torn apart."""
        seed = self.header.settings.order_seed
        if self._openness is None:
            blocks = [[pair] for pair in shuffled(self._pairs, seed, number)]
        else:
            cells = self._openness.open_cells(number, self.header.cells)
            self._open = len(cells)
            blocks = [self._side_by_side(cell, number) for cell in shuffled(cells, seed, number)]
            self._forecast(number)
        left = [
            [(cell, allocator) for cell, allocator in block
             if _key(number, cell.id, allocator.name) not in self._done
             # It would only cost its whole time limit again.
             and (cell.id, allocator.name) not in self._stuck]
            for block in blocks
        ]
        return [block for block in left if block]

    def _side_by_side(self, cell: Cell, number: int) -> list[Pair]:
        """The builds of one cell, next to each other in random order, and before or after them what else
        is measured."""
        seed, key = self.header.settings.order_seed, f"{number}:{cell.id}"
        builds = [(cell, a) for a in self.allocators if a.name in self._builds]
        # One of a pair whose other one is long past, or never came to an end, has no use.
        if any(_key(number, cell.id, a.name) in self._done for _, a in builds) or sum(
            (cell.id, a.name) not in self._stuck for _, a in builds
        ) < 2:
            builds = []
        parts = [builds] + [[(cell, a)] for a in self.allocators if a.name not in self._builds]
        return [
            pair for part in shuffled(parts, seed, key) for pair in shuffled(part, seed, f"{key}:builds")
        ]

    def _forecast(self, number: int) -> None:
        """Reckon when everything that is still needed will be measured, and with how many samples."""
        if not self.adaptive or self._openness is None:
            return
        seconds, count = 0.0, 0
        for cell in self._openness.open_cells(number, self.header.cells):
            rounds = self._openness.rounds_expected(cell, number - 1) - (number - 1)
            count += rounds * len(self.allocators)
            seconds += rounds * len(self.allocators) * self._expect(cell)
        budget = self.header.settings.budget_seconds
        left = seconds if budget is None else min(seconds, max(0.0, budget - self._spent()))
        self._round_ends = time.monotonic() + left
        self.progress.total = len(self.samples) + (round(count * left / seconds) if seconds else 0)

    def _warmups(self) -> list[Pair]:
        """One sample of each driver, in the first cell of its workload."""
        first: dict[str, Cell] = {}
        for cell in self.header.cells:
            first.setdefault(cell.workload, cell)
        return [(cell, allocator) for cell in first.values() for allocator in self.allocators]

    def _warmup_fits(self) -> bool:
        budget = self.header.settings.budget_seconds
        if budget is None:
            return True
        warmups = sum(self._expect(cell) for cell, _ in self._warmups())
        return self._spent() + warmups + self._round_seconds() <= budget

    def _another_round(self, number: int, blocks: Sequence[Sequence[Pair]]) -> bool:
        settings = self.header.settings
        if settings.rounds is not None and number > settings.rounds:
            return False
        if number == 1 or number <= self._last_round:
            return True  # the first one always, and what an interruption left
        costs = [sum(self._expect(cell) for cell, _ in block) for block in blocks]
        if not costs:
            return False
        # Pairs count one by one; of allocators none is to have more samples than another.
        return not self._over_budget(sum(costs) if self._openness is None else min(costs))

    def _over_budget(self, seconds: float) -> bool:
        budget = self.header.settings.budget_seconds
        return budget is not None and self._spent() + seconds > budget

    def _spent(self) -> float:
        return self._spent_before + time.monotonic() - self._began

    def _expect(self, cell: Cell) -> float:
        settings = self.header.settings
        guess = sample_seconds(cell, settings.duration_seconds) or settings.duration_seconds
        return self._times.expect(cell.id, guess + STARTING_OVERHEAD_SECONDS)

    def _round_seconds(self) -> float:
        return sum(self._expect(cell) for cell, _ in self._pairs)

    def _seconds_left(self, current_round: int) -> Optional[float]:
        settings = self.header.settings
        if self.adaptive and current_round:
            return max(0.0, self._round_ends - time.monotonic())
        pairs = self._warmups() if current_round == 0 else self._pairs
        left = sum(
            self._expect(cell) for cell, allocator in pairs
            if _key(current_round, cell.id, allocator.name) not in self._done
        )
        if settings.rounds is not None:
            left += (settings.rounds - current_round) * self._round_seconds()
        if settings.budget_seconds is None:
            return left
        remaining = max(0.0, settings.budget_seconds - self._spent())
        return remaining if settings.rounds is None else min(left, remaining)


def outside_percent(inside: float, wall: float) -> Optional[float]:
    """Return the share of `wall` seconds in which no driver ran, per cent, when drivers ran for `inside`
    seconds; None where none ran."""
    if inside <= 0 or wall <= 0:
        return None
    return round(max(0.0, 100 * (1 - inside / wall)), 2)


def _key(round_number: int, cell: str, allocator: str) -> tuple[int, str, str]:
    return (round_number, cell, allocator)


def _name(ticket: Ticket) -> str:
    return f"{ticket.cell.id} {ticket.allocator.name}"
