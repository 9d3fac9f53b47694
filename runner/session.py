"""The measuring loop: warm-up, then rounds in random order, each sample on disk before the next."""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

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

    def __post_init__(self) -> None:
        self._pairs: list[Pair] = [
            (cell, allocator) for cell in self.header.cells for allocator in self.allocators
        ]
        self._times = SampleTimes()
        self._began = time.monotonic()
        self._spent_before = sum(sample.elapsed_seconds for sample in self.samples)
        self._done = {_key(s.round, s.cell, s.allocator) for s in self.samples}
        self._stuck: set[tuple[str, str]] = set()
        for sample in self.samples:
            self._learn(sample)
        self._position = len(self.samples)
        self.progress.total = self.expected_samples()

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
        try:
            for ticket in self._tickets():
                self.interrupts.check()
                self.progress.update(
                    len(self.samples), self._seconds_left(ticket.round), _name(ticket)
                )
                self._measure(ticket)
        except Interrupted:
            status, reason = "interrupted", "a signal asked to stop"
        end = End(
            status=status, reason=reason, ended=utc_now(), samples=len(self.samples),
            failed=sum(not sample.ok for sample in self.samples),
        )
        self.writer.write(end)
        return end

    def _measure(self, ticket: Ticket) -> None:
        sample = self.laboratory.sample(ticket, self.header.settings)
        self.writer.write(sample)
        self.samples.append(sample)
        self._position += 1
        self._learn(sample)
        if sample.failure is not None:
            self.progress.message(f"Failed: {_name(ticket)}: {sample.failure.reason}")

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
        while self._another_round(number):
            for cell, allocator in shuffled(self._pairs, self.header.settings.order_seed, number):
                if _key(number, cell.id, allocator.name) in self._done:
                    continue
                if (cell.id, allocator.name) in self._stuck:
                    continue  # it would only cost its whole time limit again
                if number > 1 and self._over_budget(self._expect(cell)):
                    return
                yield Ticket(cell, allocator, number, self._position, warmup=False)
            number += 1

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

    def _another_round(self, number: int) -> bool:
        settings = self.header.settings
        if settings.rounds is not None and number > settings.rounds:
            return False
        if number == 1:
            return True
        left = [
            pair for pair in self._pairs
            if (pair[0].id, pair[1].name) not in self._stuck
        ]
        if not left:
            return False
        started = any(_key(number, cell.id, allocator.name) in self._done
                      for cell, allocator in left)
        return started or not self._over_budget(sum(self._expect(cell) for cell, _ in left))

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
        in_this_round = {(s.cell, s.allocator) for s in self.samples if s.round == current_round}
        pairs = self._warmups() if current_round == 0 else self._pairs
        left = sum(
            self._expect(cell) for cell, allocator in pairs
            if (cell.id, allocator.name) not in in_this_round
        )
        if settings.rounds is not None:
            left += (settings.rounds - current_round) * self._round_seconds()
        if settings.budget_seconds is None:
            return left
        remaining = max(0.0, settings.budget_seconds - self._spent())
        return remaining if settings.rounds is None else min(left, remaining)


def _key(round_number: int, cell: str, allocator: str) -> tuple[int, str, str]:
    return (round_number, cell, allocator)


def _name(ticket: Ticket) -> str:
    return f"{ticket.cell.id} {ticket.allocator.name}"
