"""The work of a calibration, phase by phase: slopes, recordings and real comparisons, exact counts,
resampled comparisons. Everything finished is on disk before the next thing begins, and is not done again
by a calibration that goes on."""
from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from runner.calibrating.burn import PROBE_ROUNDS, BurnWorkshop, slope_of
from runner.calibrating.commands import Asked, compare_by_commands
from runner.calibrating.judge import Judge, Pair, outcome_of
from runner.calibrating.pairs import pairs_of_budget
from runner.calibrating.recording import Bench, Recording
from runner.calibrating.records import (
    BLOCK, COMMAND, Outcome, Plan, Records, RecordsWriter, RoundMeasured, SlopeFound,
)
from runner.calibrating.resampling import Pool, rounds_of_samples
from runner.errors import UsageError
from runner.progress import Progress
from runner.records import Cell, Sample
from runner.results_file import read_run

SLOPE_SHARE = 0.04  # of the time, for all slopes
RESAMPLING_SHARE = 0.08  # of the time, for what is computed at the end
_SLOPE_SECONDS = 40.0  # of a cell, at most
_COMMAND_OVERHEAD_SECONDS = 8.0  # what the commands take beside their budget, until one has shown it
_SAME_OF_THREE = 2  # of three comparisons by the commands so many are of a build with itself


@dataclass(frozen=True)
class BlockItem:
    """A stretch of a recording, to be cut into comparisons."""

    number: int
    cell: Cell


@dataclass(frozen=True)
class CommandItem:
    """A comparison by the commands."""

    number: int
    cell: Cell
    slow_down: float


Item = Union[BlockItem, CommandItem]


@dataclass
class Work:
    """A calibration while it is done. `parts` is the folder of recordings and libraries; `spent` are the
    seconds that it took before this process went on with it."""

    writer: RecordsWriter
    parts: Path
    bench: Bench
    judge: Judge
    progress: Progress
    spent: float = 0.0
    _recordings: dict[str, Recording] = field(default_factory=dict)
    _workshop: Optional[BurnWorkshop] = None

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def plan(self) -> Plan:
        """What is to be done."""
        return self.writer.records.plan

    @property
    def records(self) -> Records:
        """What was found so far."""
        return self.writer.records

    @property
    def seconds(self) -> float:
        """The time that everything took so far."""
        return self.spent + time.monotonic() - self._began

    def left(self, share_kept: float = 0.0) -> float:
        """Return the seconds that are left, but for a share of the whole that is kept for what follows."""
        return self.plan.time_budget * (1 - share_kept) - self.seconds

    def tell(self, what: str) -> None:
        """Show how far it is."""
        self.progress.update(min(self.progress.total, int(self.seconds)), max(0.0, self.left()), what)

    def close(self, complete: bool) -> None:
        """Close the recordings, and remove what was built in."""
        for recording in self._recordings.values():
            recording.close(complete)
        self._recordings.clear()
        if self._workshop is not None:
            self._workshop.close()
            self._workshop = None

    # ---- libraries and slopes ----------------------------------------------------------------------

    def library(self, rounds: int) -> Path:
        """Return the library that burns so many rounds; it is built once. All names are equally long."""
        path = self.parts / "libraries" / f"burn-{rounds:09d}.so"
        if not path.is_file():
            if self._workshop is None:
                self.progress.message("Building the libraries that burn processor time.")
                self._workshop = BurnWorkshop(self.bench.root, self.bench.interrupts)
            self._workshop.build(rounds, path)
        return path

    def find_slopes(self) -> None:
        """Find for each cell how many rounds make each slow-down."""
        known = {slope.cell for slope in self.records.of(SlopeFound)}
        for number, cell in enumerate(self.plan.cells):
            if cell.id in known:
                continue
            path = slope_path(self.parts, number)
            path.unlink(missing_ok=True)  # of a calibration that was killed
            libraries = [self.library(0), self.library(PROBE_ROUNDS)]
            recording = Recording.open(
                self.bench, path, cell, libraries, self.plan.sample_seconds, self.plan.effect,
                self.plan.order_seed, self.progress.message,
            )
            try:
                seconds = min(_SLOPE_SECONDS, SLOPE_SHARE * self.plan.time_budget / len(self.plan.cells))
                recording.record(seconds, lambda _, name=cell.id: self.tell(f"{name}: what a round costs"))
            finally:
                recording.close(complete=True)
            self.writer.write(self._slope(cell, recording))

    def _slope(self, cell: Cell, recording: Recording) -> SlopeFound:
        rounds = rounds_of_samples(recording.samples, ["base", "new"])
        logs = [math.log(_speed(new)) - math.log(_speed(base)) for base, new in rounds]
        slope = slope_of(logs, PROBE_ROUNDS, cell.id)
        if slope is None or slope.interval.low <= 0:
            raise UsageError(
                f"{cell.id} does not get slower when malloc burns {PROBE_ROUNDS} rounds, so that no known "
                "slow-down can be made; choose a workload that allocates more, or a quieter machine."
            )
        counts = [slope.rounds_for(slow_down) for slow_down in self.plan.slow_downs]
        found = [slope.slow_down_of(count) for count in counts]
        return SlopeFound(
            cell.id, slope.per_round, slope.interval.low, slope.interval.high, PROBE_ROUNDS, slope.slow_down,
            slope.pairs, counts, [share for share, _ in found], [i.low for _, i in found],
            [i.high for _, i in found], round(self.seconds, 3),
        )

    def slope(self, cell: Cell) -> SlopeFound:
        """Return what was found for a cell."""
        return next(slope for slope in self.records.of(SlopeFound) if slope.cell == cell.id)

    # ---- recordings and real comparisons -----------------------------------------------------------

    def recording(self, cell: Cell) -> Recording:
        """Return the recording of a cell, opened at its first use: a build, its copy, the slowed ones."""
        if cell.id not in self._recordings:
            number = [c.id for c in self.plan.cells].index(cell.id)
            libraries = [self.library(rounds) for rounds in (0, 0, *self.slope(cell).rounds)]
            self._recordings[cell.id] = Recording.open(
                self.bench, samples_path(self.parts, number), cell, libraries, self.plan.sample_seconds,
                self.plan.effect, self.plan.order_seed, self.progress.message,
            )
        return self._recordings[cell.id]

    def pools(self) -> dict[str, Pool]:
        """Return all that was recorded, by cell, to draw from."""
        pools: dict[str, Pool] = {}
        for number, cell in enumerate(self.plan.cells):
            if cell.id in self._recordings:
                recording = self._recordings[cell.id]
                header, samples = recording.header, recording.samples
            else:
                run = read_run(samples_path(self.parts, number))
                header, samples = run.header, run.samples
            rounds = rounds_of_samples(samples, [build.allocator for build in header.builds])
            pools[cell.id] = Pool(header, rounds, self.plan.slow_downs)
        return pools

    def record(self) -> None:
        """Make real comparisons until the time that is not kept for resampling has passed."""
        for cell in self.plan.cells:
            self.recording(cell)
        done = {(o.kind, o.number, o.cell) for o in self.records.of(Outcome)}
        overhead = _COMMAND_OVERHEAD_SECONDS
        for item in items(self.plan):
            kind = BLOCK if isinstance(item, BlockItem) else COMMAND
            if (kind, item.number, item.cell.id) in done:
                continue
            self.bench.interrupts.check()
            begun = time.monotonic()
            expected = self.plan.budget_each
            expected = expected * self._builds / 2 if isinstance(item, BlockItem) else expected + overhead
            if expected > self.left(RESAMPLING_SHARE):
                if self._every_cell_has_a_block():
                    return
                if kind == COMMAND:
                    continue
            if isinstance(item, BlockItem):
                self._block(item)
            else:
                self._command(item)
                overhead = max(0.0, time.monotonic() - begun - self.plan.budget_each)

    def _every_cell_has_a_block(self) -> bool:
        found = {outcome.cell for outcome in self.records.of(Outcome) if outcome.kind == BLOCK}
        return all(cell.id in found for cell in self.plan.cells)

    @property
    def _builds(self) -> int:
        return 2 + len(self.plan.slow_downs)

    def _block(self, item: BlockItem) -> None:
        recording = self.recording(item.cell)
        samples = recording.record(
            self.plan.budget_each, lambda _: self.tell(f"{item.cell.id}: block {item.number + 1}")
        )
        names = [build.allocator for build in recording.header.builds]
        entries: list[Union[RoundMeasured, Outcome]] = list(_rounds_in_short(item, samples, names))
        rounds = rounds_of_samples(samples, names)
        if rounds:
            for place, slow_down in enumerate((0.0, *self.plan.slow_downs), start=1):
                pairs = pairs_of_budget(
                    (Pair(r[0], r[place]) for r in rounds), recording.header, self.plan.budget_each
                )
                entries.append(outcome_of(
                    self.judge.compare(recording.header, pairs), BLOCK, item.number, item.cell.id, slow_down,
                    self.plan.budget_each, sum(pair.seconds for pair in pairs), self.seconds,
                ))
        self.writer.write(*entries)

    def _command(self, item: CommandItem) -> None:
        self.tell(f"{item.cell.id}: run.py and compare.py")
        slope = self.slope(item.cell)
        rounds = 0 if not item.slow_down else slope.rounds[self.plan.slow_downs.index(item.slow_down)]
        asked = Asked(item.number, item.cell, item.slow_down, self.library(0), self.library(rounds),
                      self.plan.budget_each, self.plan.effect)
        results = command_path(self.parts, item.number)
        self.writer.write(compare_by_commands(asked, self.bench, results, lambda: self.seconds))


def slope_path(parts: Path, number: int) -> Path:
    """Return where the samples are that show what a round costs in the plan's cell of that number."""
    return parts / f"slope-{number}.jsonl"


def samples_path(parts: Path, number: int) -> Path:
    """Return where the recording of the plan's cell of that number is."""
    return parts / f"samples-{number}.jsonl"


def command_path(parts: Path, number: int) -> Path:
    """Return where the results of a comparison by the commands are."""
    return parts / f"command-{number:03d}.jsonl"


def items(plan: Plan) -> Iterator[Item]:
    """Return without end what is compared: in each turn a block of every cell and a comparison by
    the commands, in random order."""
    turn = 0
    while True:
        generator = random.Random(f"{plan.order_seed}:{turn}")
        slow_down = 0.0 if turn % 3 < _SAME_OF_THREE else generator.choice(plan.slow_downs)
        found: list[Item] = [BlockItem(turn, cell) for cell in plan.cells]
        found.append(CommandItem(turn, generator.choice(plan.cells), slow_down))
        generator.shuffle(found)
        yield from found
        turn += 1


def _speed(sample: Sample) -> float:
    assert sample.measured is not None
    return sample.measured.ops_per_second


def _rounds_in_short(
    item: BlockItem, samples: Sequence[Sample], names: Sequence[str]
) -> Iterator[RoundMeasured]:
    by_round: dict[int, dict[str, Sample]] = {}
    for sample in samples:
        by_round.setdefault(sample.round, {})[sample.allocator] = sample
    for number, found in sorted(by_round.items()):
        speeds = [
            round(_speed(found[name]), 1) if name in found and found[name].ok else None for name in names
        ]
        yield RoundMeasured(item.cell.id, number, item.number, min(s.started for s in found.values()), speeds)
