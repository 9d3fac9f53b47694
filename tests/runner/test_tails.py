"""Tests of the times of single calls: percentiles of all rounds together, and who has the longer tail."""
from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, Optional

import pytest
from made_results import edit_records, make_run

from runner.decode import DecodeError, decode
from runner.estimate import Analysis, analyse
from runner.records import CallLatency
from runner.reports.markdown import markdown
from runner.reports.run import report_of_run
from runner.results_file import read_run
from runner.summary import headline
from runner.table import make_blocks, plain_text, table_remarks
from runner.tails import LEAST_BEYOND, TAIL, TailCell, longer_tails, tail_cells

Pairs = list[list[float]]


def analysis_of(path: Path, **made: Any) -> Analysis:
    made = {"builds": False, "latency": True, "rounds": 15, **made}
    return read_analysis(make_run(path, **made))


def read_analysis(path: Path) -> Analysis:
    run = read_run(path)
    return analyse(run.header, run.samples)


def with_calls(path: Path, calls: dict[str, Pairs], **made: Any) -> Analysis:
    """A run in which each malloc and free of an allocator took what its histogram says, in each round."""
    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record.get("measured"):
            for call in ("malloc", "free"):
                record["measured"]["latency"][call]["histogram"] = calls[record["allocator"]]
        return record

    made = {"builds": False, "latency": True, "allocators": tuple(calls), "rounds": 6, **made}
    return read_analysis(edit_records(make_run(path, **made), change))


def worse(call: str, share: float, workload: str = "larson") -> dict[str, Any]:
    return {"effect": {(workload, "", f"{call}_p999"): share}}


def table(analysis: Analysis, words: str) -> Optional[str]:
    return next((plain_text([block]) for block in make_blocks(analysis) if words in block.title), None)


def test_percentiles_are_of_the_calls_of_all_rounds_together(tmp_path: Path) -> None:
    generator = random.Random(7)
    calls: dict[tuple[str, int], list[int]] = {}

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record.get("measured") and not record["warmup"]:
            # Rounds of different lengths: the median of their percentiles is not the answer.
            times = [round(generator.lognormvariate(4, 1)) for _ in range(generator.randrange(200, 5000))]
            calls[record["allocator"], record["round"]] = times
            record["measured"]["latency"]["malloc"]["histogram"] = [
                [time, times.count(time)] for time in sorted(set(times))
            ]
        return record

    analysis = read_analysis(edit_records(
        make_run(tmp_path / "a.jsonl", builds=False, latency=True, rounds=8), change
    ))
    cell = tail_cells(analysis)[0]
    assert cell.call == "malloc" and set(cell.times) == {"hakmem", "mimalloc", "system"}
    for name, found in cell.times.items():
        ordered = sorted(time for (who, _), times in calls.items() if who == name for time in times)
        assert found.calls == len(ordered)
        assert found.quantiles == tuple(
            ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99, 0.999)
        )


@pytest.mark.parametrize(("slow", "calls", "vague"), [(9, 9999, True), (10, 10000, False)])
def test_a_percentile_with_few_calls_beyond_it_is_marked_and_not_compared(
    tmp_path: Path, slow: int, calls: int, vague: bool
) -> None:
    assert math.floor(calls * (1 - TAIL)) + 1 > slow and LEAST_BEYOND == 10
    times = [[30.0, calls - slow], [500.0, slow]]
    analysis = with_calls(tmp_path / "a.jsonl", {"hakmem": times, "mimalloc": times}, rounds=1)
    cell = tail_cells(analysis)[0]
    assert cell.times["hakmem"].is_vague == vague and (cell.ratio is None) == vague
    shown, notes = table(analysis, "time of one malloc") or "", "\n".join(table_remarks(analysis))
    assert ("†" in shown) == vague and ("†" in notes) == vague
    if vague:
        assert "2 times the --duration" in notes and "larson threads=1 hakmem malloc" in notes
        assert "p99.9 of its malloc" not in headline(analysis)


@pytest.mark.parametrize(("share", "word"), [(0.5, "above"), (-0.5, "below"), (0.0, "not clearly")])
def test_a_longer_tail_is_found_where_there_is_one(tmp_path: Path, share: float, word: str) -> None:
    """Of the made results the best baseline, mimalloc, has 1/0.95 of hakmem's times."""
    analysis = analysis_of(
        tmp_path / "a.jsonl", noise=0.005, **worse("malloc", (1 + share) / 0.95 - 1), seed=3
    )
    malloc, free = tail_cells(analysis)
    assert malloc.ratio is not None and malloc.ratio.baseline == "mimalloc" and malloc.ratio.rounds == 15
    assert malloc.ratio.median == pytest.approx(1 + share, rel=0.04)
    assert malloc.ratio.interval.low <= 1 + share <= malloc.ratio.interval.high
    assert [each.call for each in longer_tails(analysis)] == (["malloc"] if word == "above" else [])
    counts = {"above": "above it in 1", "below": "below the best baseline's in 2", "not clearly": "either in 1 of 2"}
    assert counts[word] in headline(analysis)
    listed = table(analysis, "p99.9 is above")
    assert (listed is not None) == (word == "above")
    if listed is not None:
        assert "in 1 of 2" in listed and "larson threads=1, malloc" in listed and "mimalloc" in listed


def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    """Each round has a tail of its own, and calls of one round share it."""
    def cell_of(seed: int) -> TailCell:
        generator = random.Random(seed)
        tails: dict[tuple[str, int], float] = {}

        def change(record: dict[str, Any]) -> dict[str, Any]:
            if record.get("measured"):
                centre = tails.setdefault((record["allocator"], record["round"]), generator.gauss(6, 0.15))
                slow = sorted(math.exp(generator.gauss(centre, 0.3)) for _ in range(100))
                record["measured"]["latency"]["malloc"]["histogram"] = [
                    [30.0, 9900], *([time, 1] for time in slow)
                ]
            return record

        path = make_run(tmp_path / f"{seed}.jsonl", builds=False, latency=True, rounds=15,
                        allocators=("hakmem", "mimalloc"))
        return tail_cells(read_analysis(edit_records(path, change)))[0]

    hits = 0
    for seed in range(25):
        ratio = cell_of(seed).ratio
        assert ratio is not None
        hits += ratio.interval.low <= 1 <= ratio.interval.high
    assert hits >= 20  # of 25, at 95% and a bootstrap of 15 rounds


def test_few_rounds_are_never_sure(tmp_path: Path) -> None:
    few = analysis_of(tmp_path / "a.jsonl", rounds=4, noise=0.001, **worse("free", 1.0))
    assert tail_cells(few)[1].ratio is not None and not longer_tails(few)
    assert "above it in 0" in headline(few)
    more = analysis_of(tmp_path / "b.jsonl", rounds=5, noise=0.001, **worse("free", 1.0))
    assert [each.call for each in longer_tails(more)] == ["free"]


def test_the_worst_stands_first_and_oversubscribed_cells_are_marked(tmp_path: Path) -> None:
    effect = {("larson", "", "malloc_p999"): 1.0, ("larson", "", "free_p999"): 2.0}
    analysis = analysis_of(tmp_path / "a.jsonl", threads=(1, 16), effect=effect, noise=0.001)
    assert [each.call for each in longer_tails(analysis)] == ["free", "free", "malloc", "malloc"]
    listed = table(analysis, "p99.9 is above")
    assert listed is not None and "larson threads=16*, free" in listed


def test_the_table_says_what_was_timed(tmp_path: Path) -> None:
    calls = {"hakmem": [[29.6, 99_000], [40.06, 900], [1234567.0, 100]],
             "mimalloc": [[30.0, 99_890], [400.0, 110]], "floor": [[1.0, 100_000]]}
    analysis = with_calls(tmp_path / "a.jsonl", calls)
    shown = table(analysis, "larson: time of one free, ns, lower is better")
    assert shown is not None and "30 / 30 / 40 " in shown and "30 / 30 / 400" in shown
    assert "0.10 (0.10-0.10) mimalloc" in shown  # the floor is no baseline
    assert table_remarks(analysis)[-1] == "Each time of a call contains reading the clock, about 20 ns."
    report = markdown(report_of_run(read_run(tmp_path / "a.jsonl"), analysis), lambda picture: picture.title)
    assert "time of one free" in report and "p99.9 of its malloc and free is below" in report


def test_what_growth_times_is_realloc(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a.jsonl", builds=False, latency=True, rounds=2)
    path.write_text(path.read_text().replace("larson", "growth"))
    titles = [block.title for block in make_blocks(read_analysis(path))]
    assert any(title.startswith("growth: time of one realloc") for title in titles)
    assert not any("malloc," in title for title in titles if title.startswith("growth: time of one malloc"))


@pytest.mark.parametrize("histogram", [[], [[30.0, 0]]])
def test_calls_of_which_none_was_timed_have_no_table(tmp_path: Path, histogram: Pairs) -> None:
    def no_free(record: dict[str, Any]) -> dict[str, Any]:
        if record.get("measured"):
            record["measured"]["latency"]["free"] = {
                "samples": 0, "p50": None, "p99": None, "p999": None, "max": None, "histogram": histogram
            }
        return record

    path = make_run(tmp_path / "a.jsonl", builds=False, latency=True, rounds=5)
    analysis = read_analysis(edit_records(path, no_free))
    assert table(analysis, "time of one malloc") and table(analysis, "time of one free") is None


def test_an_allocator_that_failed_has_no_times(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl", rounds=6, fail=[(2, "mimalloc")])
    cell = tail_cells(analysis)[0]
    assert set(cell.times) == {"hakmem", "system"}
    assert cell.ratio is not None and cell.ratio.baseline == "system"


def test_runs_without_latency_say_nothing_of_it(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl", latency=False)
    assert not tail_cells(analysis) and not table_remarks(analysis)
    assert "p99.9" not in headline(analysis) and "p99.9" not in plain_text(make_blocks(analysis))


def test_files_without_histograms_are_read_and_told(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a.jsonl", builds=False, latency=True, rounds=5)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        for call in ("malloc", "free") if record.get("measured") else ():
            del record["measured"]["latency"][call]["histogram"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    analysis = read_analysis(path)
    assert not tail_cells(analysis) and "no table of the times" in table_remarks(analysis)[0]


def test_times_that_the_clock_cannot_tell_apart_make_no_ratio(tmp_path: Path) -> None:
    analysis = with_calls(tmp_path / "a.jsonl", {"hakmem": [[0.0, 20_000]], "mimalloc": [[0.0, 20_000]]})
    assert [each.ratio for each in tail_cells(analysis)] == [None, None]
    assert "0 / 0 / 0" in (table(analysis, "time of one malloc") or "")


@pytest.mark.parametrize(("histogram", "complaint"), [
    ([[1.0]], r"\.histogram\[0\] is not a list of 2"),
    ([[1.0, 2, 3]], r"\.histogram\[0\] is not a list of 2"),
    ([[1.0, 2], [1.0, 2.5]], r"\.histogram\[1\]\[1\] is not a whole number"),
    ([["1", 2]], r"\.histogram\[0\]\[0\] is not a number"),
    ([{"1": 2}], r"\.histogram\[0\] is not a list of 2"),
    ({}, r"\.histogram is not a list"),
])
def test_a_broken_histogram_is_named(histogram: Any, complaint: str) -> None:
    value = {"samples": 1, "p50": 1, "p99": 1, "p999": 1, "max": 1, "histogram": histogram}
    with pytest.raises(DecodeError, match=complaint):
        decode(CallLatency, value)
