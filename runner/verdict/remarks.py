"""Says in plain words what a reader must know before believing a comparison: one sentence each."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from runner.verdict import robust
from runner.verdict.comparison import UNDECIDED, Answer
from runner.verdict.pairing import BASE, NEW, SHORTEST_PHASE_SECONDS, Matched, Tally, commonest
from runner.verdict.recording import Recording
from runner.records import AllocatorEntry
from runner.verdict.verdicts import LEAST_PAIRS

OUTLIER_DEVIATIONS = 3.0
_OUTLIER_SHARE = 0.02  # of pairs: a bell curve has 0.3% so far out
_SURE = 0.001  # p-value from which on a remark says that something is so
_STRONG_TREND = 0.5  # rank correlation
_MOST_NAMED = 6


@dataclass(frozen=True)
class Context:
    """What was compared, and how."""

    base: Sequence[Recording]
    new: Sequence[Recording]
    base_name: str
    new_name: str
    paired: bool
    effect: float
    false_discovery_rate: float
    machines_differ: bool
    left_out: Sequence[Recording]

    @property
    def recordings(self) -> list[Recording]:
        """All sessions, each once."""
        return list(self.base) if self.paired else [*self.base, *self.new]

    def entry(self, side: int) -> AllocatorEntry:
        """What the header says of a side's allocator."""
        sessions, name = ((self.base, self.base_name), (self.new, self.new_name))[side]
        return next(e for e in sessions[-1].header.allocators if e.name == name)


def remarks_of(matched: Matched, answers: Sequence[Answer], context: Context) -> list[str]:
    """Return all remarks, the gravest first."""
    lines: list[str] = []
    if context.machines_differ:
        lines.append("Base and new were measured on different machines: every difference may be theirs.")
    lines += matched.ways
    lines += _failures(matched.tallies, context.false_discovery_rate)
    lines += _files(context)
    lines += _too_noisy(answers, matched, context)
    lines += _too_few(answers, matched, context)
    lines += _oversubscribed(answers, context)
    lines += _outliers(matched.tallies)
    lines += _drifts(matched.tallies, context.paired)
    lines += _left_out(matched.tallies)
    lines += _equal(matched)
    lines += _differences(context)
    lines += _busy(context)
    return lines


def named(items: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Return the first of many items, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def fails_more_often(tally: Tally) -> float:
    """Return the p-value of Fisher's exact test, one-sided, that the new side fails no more often."""
    failed = [len(each) for each in tally.failures]
    sizes = [failed[side] + tally.good[side] for side in (BASE, NEW)]
    everything, failures = sum(sizes), sum(failed)
    ways = math.comb(everything, failures)
    return sum(
        math.comb(sizes[NEW], count) * math.comb(sizes[BASE], failures - count)
        for count in range(failed[NEW], min(failures, sizes[NEW]) + 1)
    ) / ways


def _failures(tallies: Sequence[Tally], rate: float) -> list[str]:
    lines: list[str] = []
    for tally in tallies:
        for side, who in ((NEW, "the new side"), (BASE, "the base")):
            reasons = tally.failures[side]
            if reasons and tally.good[side]:
                often = side == NEW and fails_more_often(tally) <= rate
                lines.append(
                    f"{len(reasons)} of {len(reasons) + tally.good[side]} samples of {who} failed in "
                    f"{tally.cell} ({commonest(reasons)})"
                    + ("; their pairs are left out" if tally.lost_to_failures else "")
                    + (", and the base's fail less often: that counts as slower." if often else ".")
                )
    return lines


def _files(context: Context) -> list[str]:
    lines = [cut for r in context.recordings for cut in [r.cut_sentence] if cut is not None]
    unfinished = [f"'{r.path}'" for r in context.recordings if not r.complete and r.cut_sentence is None]
    if unfinished:
        verb = "was" if len(unfinished) == 1 else "were"
        lines.append(f"{named(unfinished)} {verb} not finished; what is there is used.")
    if context.left_out:
        lines.append("Left out, since they do not hold both: "
                     f"{named([repr(str(r.path)) for r in context.left_out])}.")
    builds = [b.allocator for b in context.base[0].header.builds]
    others = [name for name in builds if name not in (context.base_name, context.new_name)]
    if context.paired and others:
        lines.append(f"Measured beside them: {', '.join(others)}; compare with --new-allocator {others[0]}.")
    hashes = [e.library.sha256 for e in map(context.entry, (BASE, NEW)) if e.library is not None]
    if len(hashes) == 2 and hashes[0] == hashes[1]:
        lines.append("Base and new are the same library to the byte.")
    return lines


def _too_noisy(answers: Sequence[Answer], matched: Matched, context: Context) -> list[str]:
    found: list[str] = []
    for answer, evidence in zip(answers, matched.evidence):
        is_main = answer.question.phase == "" and answer.metric.name in ("ops_per_second", "cpu_ns_per_op")
        if answer.verdict != UNDECIDED or not is_main or evidence.blocked is not None:
            continue
        half = math.log(answer.high / answer.low) / 2
        if half > answer.effect and not any(text.startswith(answer.question.cell) for text in found):
            text = (f"{answer.question.cell} ({_samples(answer.pairs, context)}, "
                    f"\N{PLUS-MINUS SIGN}{half:.1%}")
            if context.paired:  # of sessions that differ more samples tell no more
                needed = answer.pairs * (half / answer.effect) ** 2
                text += f"; about {_rounded(needed)} would be needed"
            found.append(text + ")")
    if not found:
        return []
    return [f"Too noisy to judge a change of {100 * context.effect:.3g}%: {named(found)}."]


def _rounded(number: float) -> str:
    digits = max(0, int(math.log10(max(1.0, number))) - 1)
    return f"{round(number, -digits):,.0f}"


def _samples(count: int, context: Context) -> str:
    return f"{count} {'pair' if context.paired else 'sample'}{'' if count == 1 else 's'}"


def _too_few(answers: Sequence[Answer], matched: Matched, context: Context) -> list[str]:
    """With few pairs even the same sign in all of them may be chance, when many questions are asked."""
    asked = [e for e in matched.evidence if e.p_value is not None and e.blocked is None]
    lines: list[str] = []
    if context.paired and asked:
        enough = math.ceil(1 + math.log2(len(asked) / context.false_discovery_rate))
        few = sorted({e.pairs for e in asked if LEAST_PAIRS <= e.pairs < enough})
        if few:
            lines.append(
                f"With {few[0]} pairs no single change among {len(asked)} questions can be told from "
                f"chance; {enough} pairs can."
            )
    blocked = [a for a, e in zip(answers, matched.evidence) if e.blocked and e.pairs < LEAST_PAIRS]
    if blocked:
        cells = list(dict.fromkeys(a.question.cell for a in blocked))
        least = min(a.pairs for a in blocked)
        lines.append(
            f"Too few samples to decide anything in {named(cells)}: {_samples(least, context)}, at least "
            f"{LEAST_PAIRS} are needed."
        )
    return lines


def _oversubscribed(answers: Sequence[Answer], context: Context) -> list[str]:
    cores = min(r.header.machine.cores_available for r in context.recordings)
    cells = list(dict.fromkeys(a.question.cell for a in answers if a.question.concurrency > cores))
    if not cells:
        return []
    return [f"Oversubscribed, more threads than the {cores} cores, so that the system's scheduler is "
            f"measured too: {named(cells)}."]


def _outliers(tallies: Sequence[Tally]) -> list[str]:
    found: list[str] = []
    lopsided: list[str] = []
    total = pairs = 0
    for tally in tallies:
        if not tally.logs:
            continue
        logs = numpy.concatenate(tally.logs)
        deviation = robust.robust_deviation(logs)
        away = logs - numpy.median(logs)
        far = away[numpy.abs(away) > OUTLIER_DEVIATIONS * deviation] if deviation > 0 else logs[:0]
        total, pairs = total + len(far), pairs + len(logs)
        if len(far) > max(1.0, _OUTLIER_SHARE * len(logs)):
            found.append(f"{tally.cell}: {len(far)} of {len(logs)}")
            below = int((far < 0).sum())
            if _coin_p_value(below, len(far)) < _SURE:
                lopsided.append(f"{tally.cell} ({max(below, len(far) - below)} of {len(far)} to one side)")
    lines: list[str] = []
    if found:
        lines.append(
            f"Outliers: {total} of {pairs} pairs lie more than {OUTLIER_DEVIATIONS:g} robust standard "
            f"deviations from the rest ({named(found)}); the trimmed mean bounds their weight, none is "
            "thrown away."
        )
    if lopsided:
        lines.append(
            f"Outliers to one side, as if a part of the samples of one build were another case: "
            f"{named(lopsided)}."
        )
    return lines


def _coin_p_value(heads: int, tosses: int) -> float:
    least = min(heads, tosses - heads)
    return min(1.0, 2 * sum(math.comb(tosses, n) for n in range(least + 1)) / 2 ** tosses)


def _drifts(tallies: Sequence[Tally], paired: bool) -> list[str]:
    found: list[str] = []
    for tally in tallies:
        for trend in tally.trends:
            if len(trend) < 3 * LEAST_PAIRS:
                continue
            share, p_value = robust.rank_correlation(trend)
            if abs(share) >= _STRONG_TREND and p_value < _SURE:
                third = len(trend) // 3
                change = float(numpy.median(trend[-third:]) / numpy.median(trend[:third])) - 1
                found.append(f"{tally.cell} {change:+.1%}")
    if not found:
        return []
    harmless = "; pairs are measured side by side, so that ratios hardly change" if paired else (
        "; what was measured later may owe its numbers to that")
    return [f"Drift: the base's numbers changed from the first to the last third of the time: "
            f"{named(found)}{harmless}."]


def _left_out(tallies: Sequence[Tally]) -> list[str]:
    lines: list[str] = []
    unmatched = [f"{t.cell}: {t.unmatched}" for t in tallies if t.unmatched]
    if unmatched:
        lines.append("Samples without a partner in the same round are left out: "
                     f"{named(unmatched)}.")
    repeated = [f"{t.cell}: {t.repeated}" for t in tallies if t.repeated]
    if repeated:
        lines.append(f"Samples whose round has one already are left out: {named(repeated)}.")
    short = [f"{phase} in {t.cell}" for t in tallies for phase in t.short_phases]
    if short:
        lines.append(f"Phases shorter than {1000 * SHORTEST_PHASE_SECONDS:g} ms are not judged alone: "
                     f"{named(short)}.")
    return lines


def _equal(matched: Matched) -> list[str]:
    """Times without any noise are none."""
    cells = [
        t.cell for t in matched.tallies
        if t.trends and all(len(each) > 1 and (each == each[0]).all() for each in t.trends)
    ]
    if not cells:
        return []
    return [f"All samples of the base are equal in {named(cells)}, which measured times never are."]


def _differences(context: Context) -> list[str]:
    """What files that are compared differ in, though it should be the same."""
    found: list[str] = []

    def note(title: str, values: Sequence[Any]) -> None:
        distinct = list(dict.fromkeys("none" if value in (None, "") else str(value) for value in values))
        if len(distinct) > 1:
            found.append(f"{title} ({named(distinct, 3)})")

    headers = [r.header for r in context.recordings]
    note("kernel", [h.machine.kernel for h in headers])
    note("system", [h.machine.system for h in headers])
    note("frequency governor", [h.machine.governor for h in headers])
    note("transparent huge pages", [h.machine.transparent_hugepages for h in headers])
    note("variant", [h.build.variant for h in headers])
    note("compiler", [h.build.compiler for h in headers])
    note("compiler flags", [h.build.flags.strip() for h in headers])
    note("length of a sample in seconds", [h.settings.duration_seconds for h in headers])
    note("seed", [h.settings.workload_seed for h in headers])
    note("--check", [h.settings.check for h in headers])
    note("--latency", [h.settings.latency for h in headers])
    note("environment", [" ".join(f"{k}={v}" for k, v in h.environment.items()) for h in headers])
    lines = [f"The files differ in more than what is compared: {'; '.join(found)}."] if found else []
    ours, theirs = context.entry(BASE), context.entry(NEW)
    changed = [w for w, d in ours.drivers.items()
               if w in theirs.drivers and d.sha256 != theirs.drivers[w].sha256]
    if changed and (context.base_name == context.new_name or ours.kind == theirs.kind == "preloaded"):
        lines.append(f"The drivers of base and new are different files: {named(changed)}.")
    if any(h.settings.check for h in headers):
        lines.append("Measured with --check, which costs every allocator speed.")
    return lines


def _busy(context: Context) -> list[str]:
    loads = [r.header.machine.load_average for r in context.recordings]
    cores = min(r.header.machine.cores_available for r in context.recordings)
    busy = [load for load in loads if load is not None and load > max(0.5, cores / 2)]
    if not busy:
        return []
    return [f"The machine was busy when measuring began (load {max(busy):g} on {cores} cores)."]
