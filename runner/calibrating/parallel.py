"""Makes the resampled comparisons, on all cores: here nothing is measured that they could disturb."""
from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from typing import Optional

from runner.calibrating.judge import Judge
from runner.calibrating.pairs import pairs_of_budget
from runner.calibrating.records import Plan, Resampled
from runner.calibrating.resampling import Pool, Task, resample, tasks_of
from runner.calibrating.work import Work
from runner.interrupts import Interrupted

_POLL_SECONDS = 0.2
_jobs: Optional[_Jobs] = None  # of a child: inherited when it was forked


class _Jobs:
    """What a child needs."""

    def __init__(self, pools: dict[str, Pool], plan: Plan, judge: Judge) -> None:
        self.pools, self.plan, self.judge = pools, plan, judge

    def make(self, task: Task) -> Resampled:
        """Make one batch."""
        pool = self.pools[task.cell]
        return resample(
            pool, self.plan, self.judge, task,
            lambda pairs, budget: pairs_of_budget(pairs, pool.header, budget),
        )


def resample_all(work: Work, pools: dict[str, Pool], seconds: float) -> None:
    """Make the batches that are not on disk yet, for so many seconds, or all; each is on disk as soon as
    it is made. Raises Interrupted."""
    global _jobs
    plan = work.plan
    tasks = [t for t in tasks_of(plan, work.records.of(Resampled)) if len(pools.get(t.cell, ()))]
    if not tasks:
        return
    work.progress.message(f"Resampling: {len(tasks)} batches of comparisons.")
    _jobs = _Jobs(pools, plan, work.judge)
    end = work.seconds + seconds
    context = multiprocessing.get_context("fork")
    with context.Pool(len(os.sched_getaffinity(0)), _leave_signals_to_the_parent) as workers:
        found = workers.imap_unordered(_make, tasks)
        for number in range(len(tasks)):
            while True:
                try:
                    batch = found.next(_POLL_SECONDS)
                    break
                except multiprocessing.TimeoutError:
                    _check(work)
            work.writer.write(batch)
            _check(work)
            work.tell(f"resampling, {number + 1} of {len(tasks)}")
            if work.seconds > end and _every_point(plan, work.records.of(Resampled)):
                return  # leaving ends the workers


def _check(work: Work) -> None:
    if work.bench.interrupts.requested is not None:
        raise Interrupted()


def _every_point(plan: Plan, done: Sequence[Resampled]) -> bool:
    """True if each cell, slow-down and budget has a batch."""
    points = {(r.cell, r.slow_down, r.budget) for r in done}
    return len(points) >= len(plan.cells) * len(plan.resampled_slow_downs) * len(plan.resampled_budgets)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how the parent ends us
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _make(task: Task) -> Resampled:
    assert _jobs is not None
    return _jobs.make(task)
