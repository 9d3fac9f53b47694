"""Judges the samples of a calibration again, with the verdicts as they are now, without measuring."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runner.calibrating.judge import Judge, Pair, outcome_of
from runner.calibrating.pairs import pairs_of_budget
from runner.calibrating.records import (
    BLOCK, ExactOutcome, Outcome, Records, RecordsWriter, RoundMeasured, SlopeFound, read_records,
)
from runner.calibrating.resampling import rounds_of_samples
from runner.calibrating.work import command_path, samples_path
from runner.errors import UsageError
from runner.records import Sample
from runner.results_file import Run, read_run
from runner.verdict.comparison import DEFAULT_FALSE_DISCOVERY_RATE


def copy_judged_again(source: Path, target: Path, command: list[str]) -> RecordsWriter:
    """Begin the file `target` with what the calibration `source` measured, and judge each of its real
    comparisons again. Raises UsageError."""
    records = read_records(source)
    parts = parts_of(source)
    plan = replace(records.plan, command=command, false_discovery_rate=DEFAULT_FALSE_DISCOVERY_RATE)
    judge = Judge(plan.effect, plan.false_discovery_rate)
    outcomes: list[Outcome] = []
    for number, cell in enumerate(records.plan.cells):
        path = samples_path(parts, number)
        if not path.is_file():
            raise UsageError(
                f"--judge-again {source}: its samples are gone, there is no '{path}'; keep the folder "
                f"{parts.name} beside the file."
            )
        outcomes += _blocks(records, cell.id, read_run(path), judge)
    outcomes += _commands(records, parts, judge)
    writer = RecordsWriter.create(target, plan)
    try:
        for cls in (SlopeFound, RoundMeasured, ExactOutcome):
            writer.write(*records.of(cls))
        writer.write(*outcomes)
    except BaseException:
        writer.close()
        raise
    return writer


def parts_of(path: Path) -> Path:
    """Return the folder with the samples of a calibration's file."""
    return path.with_name(f"{path.stem}-parts")


def _blocks(records: Records, cell: str, run: Run, judge: Judge) -> Iterator[Outcome]:
    names = [build.allocator for build in run.header.builds]
    of_block = {entry.number: entry.block for entry in records.of(RoundMeasured) if entry.cell == cell}
    blocks: dict[int, list[list[Sample]]] = {}
    for samples in rounds_of_samples(run.samples, names):
        if samples[0].round in of_block:
            blocks.setdefault(of_block[samples[0].round], []).append(samples)
    for outcome in records.of(Outcome):
        if outcome.kind != BLOCK or outcome.cell != cell or outcome.number not in blocks:
            continue
        place = 1 + [0.0, *records.plan.slow_downs].index(outcome.slow_down)
        pairs = pairs_of_budget(
            (Pair(r[0], r[place]) for r in blocks[outcome.number]), run.header, outcome.budget
        )
        yield outcome_of(judge.compare(run.header, pairs), BLOCK, outcome.number, cell, outcome.slow_down,
                         outcome.budget, sum(pair.seconds for pair in pairs), outcome.at)


def _commands(records: Records, parts: Path, judge: Judge) -> Iterator[Outcome]:
    for outcome in records.of(Outcome):
        path = command_path(parts, outcome.number)
        if outcome.kind == BLOCK or not path.is_file():
            continue
        found = judge.compare_run(read_run(path))
        yield outcome_of(found, outcome.kind, outcome.number, outcome.cell, outcome.slow_down, outcome.budget,
                         outcome.seconds, outcome.at)


