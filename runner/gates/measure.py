"""Has runner/run.py measure something for a criterion, and reads what it found."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from runner.gates.kinds import NotJudged, Workshop
from runner.gates.load import MUCH, LoadWatch
from runner.gates.values import per_cent
from runner.results_file import Run, read_run

_SETUP_SECONDS = 1800.0  # building two revisions, probing, counting instructions


@dataclass(frozen=True)
class Measured:
    """A run, and the share of the processors that others used meanwhile, None where that is unknown."""

    run: Run
    others: Optional[float]

    @property
    def busy(self) -> Optional[str]:
        """A clause that says that the machine was busy, None if it was not."""
        if self.others is None or self.others < MUCH:
            return None
        return f"others took {per_cent(round(self.others, 2))} of the processors' time while it was measured"


def measure(workshop: Workshop, name: str, options: Sequence[str], budget_seconds: float) -> Measured:
    """Return the run that run.py makes with these options, in a new file of the scratch folder; raises
    NotJudged where there is none."""
    path = workshop.scratch / f"{name}-{len(list(workshop.scratch.iterdir()))}.jsonl"
    command = [
        sys.executable, str(workshop.root / "runner" / "run.py"), *options,
        "--time-budget", f"{budget_seconds:.6f}", "--output", str(path), "--no-plots",
    ]
    watch = LoadWatch()
    ended = workshop.follow(command, 2 * budget_seconds + _SETUP_SECONDS)
    if not path.is_file():
        reason = ended.lines[-1] if ended.lines else ended.problem
        raise NotJudged(f"runner/run.py measured nothing: {reason}", ended.lines)
    run = read_run(path)
    if not run.complete:
        raise NotJudged(f"runner/run.py did not come to its end: {ended.problem}", ended.lines)
    return Measured(run, watch.others())


def failed_sample(run: Run, allocators: Sequence[str]) -> None:
    """Raise NotJudged if a sample of one of these failed: what is left says nothing of the crash."""
    for sample in run.samples:
        if sample.allocator in allocators and sample.failure is not None:
            count = sum(s.failure is not None for s in run.samples if s.allocator == sample.allocator)
            raise NotJudged(
                f"{count} samples of {sample.allocator} failed, first in round {sample.round} of {sample.cell}: "
                f"{sample.failure.reason}", sample.failure.stderr,
            )


def drivers_options(workshop: Workshop) -> list[str]:
    """Return run.py's options for where the drivers are."""
    if workshop.build:
        return []
    return ["--drivers", str(workshop.out / "release")]

