"""The kind `scaling`: throughput with N threads over that with one, against linear.

Linear is N times one thread, but no more than the machine has cores for: with 16 threads on 2 cores it is
twice. Each round measures all numbers of threads once, in random order; the ratio is taken within a round,
so that a neighbour who is there for a while weighs on both, and its median over the rounds counts. Where
others use the machine meanwhile, threads wait for cores whatever the allocator does: what fails then is said
to be impossible to judge.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.allocators import SUBJECT
from runner.errors import UsageError
from runner.estimate import FEW_SAMPLES, Estimate, estimate
from runner.gates.kinds import Finding, Kind, NotJudged, Workshop
from runner.gates.limit import FAIL, PASS, Judged, Limit, judge_ratio, word_for, worst_first
from runner.gates.measure import drivers_options, failed_sample, measure
from runner.gates.run import cells_of
from runner.gates.values import Parameter, choice, per_cent, share, text, texts, time_span, whole
from runner.machine import describe_machine
from runner.records import Cell, Machine
from runner.results_file import Run

_NARROW = 0.1  # share of linear: an interval as wide as a tenth of what is hoped for is taken at its word


@dataclass(frozen=True)
class Point:
    """One number of threads of a workload; `share` is of linear."""

    workload: str
    threads: int
    linear: float
    share: Estimate
    judged: Judged


def cores_of(machine: Machine) -> float:
    """Return how many cores this process may use, which a control group may make a fraction."""
    quota = machine.cpu_quota_cores
    return machine.cores_available if quota is None else max(1.0, min(machine.cores_available, quota))


def _matrix(values: Mapping[str, Any]) -> list[str]:
    return [f"threads={values['threads']}", *values["matrix"]]


def _cells(values: Mapping[str, Any]) -> list[Cell]:
    return cells_of(values["workloads"], _matrix(values))


def _check(values: Mapping[str, Any]) -> None:
    cells = _cells(values)
    for workload in dict.fromkeys(cell.workload for cell in cells):
        if workload == "xmalloc":
            raise UsageError("workloads: xmalloc has no single-threaded run to scale from; name larson or "
                             "bench_random_mixed.")
        threads = [cell.concurrency for cell in cells if cell.workload == workload]
        if len(set(threads)) != len(threads):
            raise UsageError("matrix: give one value of each key; only threads may have several.")
    if 1 not in threads or len(threads) < 2:
        raise UsageError('threads: it needs 1, to scale from, and more, such as "1,2,4".')


def _asked(values: Mapping[str, Any]) -> str:
    names = ", ".join(values["workloads"])
    cores = cores_of(describe_machine())
    return (f"{names} with threads {values['threads']}: at least {per_cent(values['at_least'])} of linear, up to "
            f"this machine's {cores:g} core{'' if cores == 1 else 's'}")


def _judge(values: Mapping[str, Any], workshop: Workshop) -> Finding:
    options = ["--workloads", ",".join(values["workloads"]), "--allocators", SUBJECT]
    for entry in _matrix(values):
        options += ["--matrix", entry]
    options += ["--duration", f"{values['seconds']:.6f}", "--repeat", str(values["rounds"]), *drivers_options(workshop)]
    measured = measure(workshop, "scaling", options, values["time_budget"])
    failed_sample(measured.run, [SUBJECT])
    limit = Limit(values["at_least"], _NARROW, values["undecided"])
    finding = judge_points(points_of(measured.run, limit), measured.run)
    return finding if finding.passed or measured.busy is None else _not_ours(finding, measured.busy)


def _not_ours(finding: Finding, busy: str) -> Finding:
    """Return the failure that it is when threads had to share the cores with others."""
    return replace(
        finding, measured=f"can't be judged: {busy}, so that threads waited for cores; repeat it on a quiet "
        f"machine; {finding.measured}",
    )


def points_of(run: Run, limit: Limit) -> list[Point]:
    """Return what a run says of each number of threads above 1; raises NotJudged with too few rounds."""
    cores = cores_of(run.header.machine)
    speeds: dict[str, dict[int, float]] = {cell.id: {} for cell in run.header.cells}
    for sample in run.samples:
        if sample.allocator == SUBJECT and sample.measured is not None and not sample.warmup:
            speeds[sample.cell][sample.round] = sample.measured.ops_per_second
    points: list[Point] = []
    for workload in run.header.workloads:
        cells = [cell for cell in run.header.cells if cell.workload == workload]
        single = next(speeds[cell.id] for cell in cells if cell.concurrency == 1)
        for cell in cells:
            if cell.concurrency == 1:
                continue
            linear = min(float(cell.concurrency), cores)
            shares = [
                speed / single[number] / linear
                for number, speed in speeds[cell.id].items() if single.get(number, 0.0) > 0
            ]
            if len(shares) < FEW_SAMPLES:
                raise NotJudged(f"only {len(shares)} rounds fitted into the time, too few for an interval; give "
                                "a larger time_budget, or a shorter length of samples (seconds)")
            found = estimate(shares, f"scaling:{cell.id}")
            judged = judge_ratio(found.median, found.interval.low, found.interval.high, limit)
            points.append(Point(workload, cell.concurrency, linear, found, judged))
    return points


def judge_points(points: list[Point], run: Run) -> Finding:
    """Put the points' verdicts together: all must pass."""
    machine, cores = run.header.machine, cores_of(run.header.machine)
    order = [points[n] for n in worst_first([(p.share.median, p.judged) for p in points])]
    worst = order[0]
    measured = f"{word_for([point.judged for point in points])} {_shown(worst)}"
    remarks: list[str] = []
    if any(point.threads > cores for point in points):
        remarks.append(f"This machine has {cores:g} core{'' if cores == 1 else 's'}: with more threads linear is "
                       f"{cores:g} times one thread.")
    if (machine.threads_per_core or 1) > 1:
        remarks.append(f"{machine.threads_per_core} of its processors share a core each, so that linear can't "
                       "be reached.")
    remarks += [f"{_shown(point)}: {point.judged.reason}." for point in order if not point.judged.sure]
    return Finding(all(point.judged.passed for point in points), measured, remarks,
                   [_shown(point) for point in points])


def _shown(point: Point) -> str:
    share_of = point.share
    return (f"{per_cent(round(share_of.median, 3))} of linear with {point.threads} threads of {point.workload} "
            f"(95% interval {per_cent(round(share_of.interval.low, 3))} to "
            f"{per_cent(round(share_of.interval.high, 3))}, {share_of.samples} rounds; "
            f"{share_of.median * point.linear:.3g} times one thread, {point.linear:g} is linear)")


SCALING = Kind(
    "scaling",
    {
        "workloads": Parameter(texts),
        "threads": Parameter(text),
        "at_least": Parameter(share),
        "matrix": Parameter(texts, ()),
        "seconds": Parameter(time_span, 0.25),
        "rounds": Parameter(whole(FEW_SAMPLES, 10_000), 30),
        "time_budget": Parameter(time_span, 60.0),
        "undecided": Parameter(choice(FAIL, PASS), FAIL),
    },
    _check, _asked, _judge,
)
