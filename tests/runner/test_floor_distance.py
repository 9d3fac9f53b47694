"""Tests of the distance to the floor, of what counts as a baseline, and of where the subject is behind."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

import pytest
from made_results import edit_records, make_run

from runner.allocators import parse_allocators
from runner.errors import UsageError
from runner.estimate import Analysis, analyse
from runner.floor_distance import floor_cells, mean_distance, undefined_sentence
from runner.reports.markdown import markdown
from runner.reports.run import report_of_run
from runner.results_file import read_run
from runner.standing import behind, memory_mean
from runner.table import floor_remarks, make_blocks, plain_text

EVERYBODY = ("hakmem", "mimalloc", "floor", "none")
# Of the made results none does twice hakmem's speed, the floor 1.25 times, mimalloc 0.95 times.
HAKMEM = (1 - 1 / 2) / (1 / 1.25 - 1 / 2)
MIMALLOC = (1 / 0.95 - 1 / 2) / (1 / 1.25 - 1 / 2)


def analysis_of(path: Path, **made: Any) -> Analysis:
    made = {"builds": False, "allocators": EVERYBODY, "rounds": 15, **made}
    run = read_run(make_run(path, **made))
    return analyse(run.header, run.samples)


def title(analysis: Analysis, words: str) -> Optional[str]:
    return next((plain_text([block]) for block in make_blocks(analysis) if words in block.title), None)


def test_the_distance_is_the_time_beyond_none_over_the_floor_s(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl", threads=(1, 2))
    cells = floor_cells(analysis)
    assert [cell.cell.id for cell in cells] == ["larson threads=1", "larson threads=2"]
    for cell in cells:
        assert cell.reason is None and set(cell.distances) == {"hakmem", "mimalloc"}
        for name, true in (("hakmem", HAKMEM), ("mimalloc", MIMALLOC)):
            found = cell.distances[name]
            assert found.median == pytest.approx(true, rel=0.05)
            assert found.interval.low < found.median < found.interval.high
            assert found.interval.high - found.interval.low < 0.25 and found.rounds == 15
    mean = mean_distance(cells, "hakmem")
    assert mean is not None and mean.interval is not None and mean.cells == 2
    assert mean.value == pytest.approx(HAKMEM, rel=0.05)
    assert mean.interval.low < mean.value < mean.interval.high
    assert undefined_sentence(cells) is None and floor_remarks(analysis) == []


def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    hits = 0
    for seed in range(25):
        cell, = floor_cells(analysis_of(tmp_path / f"{seed}.jsonl", seed=seed, noise=0.01))
        interval = cell.distances["mimalloc"].interval
        hits += interval.low <= MIMALLOC <= interval.high
    assert hits >= 19  # of 25, at 95% and a bootstrap of 15 rounds


def test_pairs_of_a_round_take_out_what_hits_all_of_it(tmp_path: Path) -> None:
    """A machine that gets slower by a third during the run makes no wider intervals."""
    quiet, = floor_cells(analysis_of(tmp_path / "a.jsonl", noise=0.003))
    drifting, = floor_cells(analysis_of(tmp_path / "b.jsonl", noise=0.003, drift=-0.4))
    for cell in (quiet, drifting):
        assert cell.distances["hakmem"].median == pytest.approx(HAKMEM, rel=0.03)


def test_a_floor_that_costs_no_more_than_nothing_is_told(tmp_path: Path) -> None:
    def slow_none(record: dict[str, Any]) -> dict[str, Any]:
        if record.get("allocator") == "none" and record["cell"] == "larson threads=1":
            record["measured"]["ops_per_second"] *= 1.25 / 2.0
        return record

    path = make_run(tmp_path / "a.jsonl", builds=False, allocators=EVERYBODY, threads=(1, 2), rounds=10)
    run = read_run(edit_records(path, slow_none))
    analysis = analyse(run.header, run.samples)
    one, two = floor_cells(analysis)
    assert one.reason == "the floor is within the noise of none" and not one.distances
    assert two.reason is None
    assert floor_remarks(analysis) == [
        "The distance to the floor is undefined: the floor is within the noise of none in larson threads=1."
    ]
    table = title(analysis, "distance to the floor")
    assert table is not None and "larson threads=1" in table


def test_without_none_there_is_no_distance_and_a_sentence(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl", allocators=("hakmem", "mimalloc", "floor"))
    assert title(analysis, "distance to the floor") is None
    assert floor_remarks(analysis) == ["The distance to the floor is undefined: none was not measured."]
    without = analysis_of(tmp_path / "b.jsonl", allocators=("hakmem", "mimalloc", "none"))
    assert floor_cells(without) == [] and floor_remarks(without) == []


def test_a_failed_floor_has_no_distance_and_a_failed_allocator_none_of_its_own(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl", fail=[(3, "floor")])
    assert floor_remarks(analysis) == ["The distance to the floor is undefined: floor failed."]
    cell, = floor_cells(analysis_of(tmp_path / "b.jsonl", fail=[(3, "hakmem")]))
    assert set(cell.distances) == {"mimalloc"}


def test_rounds_that_lack_one_of_the_three_do_not_count(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a.jsonl", builds=False, allocators=EVERYBODY, rounds=12)
    run = read_run(edit_records(path, lambda record: None if (
        record.get("allocator"), record.get("round")) in (("hakmem", 4), ("none", 7)) else record))
    cell, = floor_cells(analyse(run.header, run.samples))
    assert (cell.distances["hakmem"].rounds, cell.distances["mimalloc"].rounds) == (10, 11)


def test_neither_the_floor_nor_none_is_a_baseline(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path / "a.jsonl")
    assert analysis.baselines == ["mimalloc"] and analysis.best == {"larson threads=1": "mimalloc"}
    assert analysis.memory_ratios["larson threads=1"][0] == "mimalloc"
    assert all("floor" not in key and "none" not in key for key in analysis.ratios)
    alone = analysis_of(tmp_path / "b.jsonl", allocators=("floor", "none", "system"))
    assert (alone.subject, alone.baselines) == ("system", [])
    assert analysis_of(tmp_path / "c.jsonl", allocators=("none", "floor")).subject == "floor"


def test_floor_is_a_name_of_its_own() -> None:
    assert [a.kind for a in parse_allocators(["floor,none"])] == ["linked", "none"]
    assert "floor" not in [a.name for a in parse_allocators([])]
    with pytest.raises(UsageError, match="none of 'none', 'floor' and 'system'"):
        parse_allocators(["floor=/lib/libfloor.so"])


def test_the_report_shows_the_distance(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "a.jsonl", builds=False, allocators=EVERYBODY, rounds=10))
    report = report_of_run(run, analyse(run.header, run.samples))
    text = markdown(report, lambda picture: picture.title)
    assert "distance to the floor: time per operation beyond none" in text
    assert "geometric means of its peak memory" in text


def test_cells_where_the_subject_is_behind_are_listed_the_worst_first(tmp_path: Path) -> None:
    effect = {("larson", "", "ops_per_second"): 0.10, ("bench_random_mixed", "", "ops_per_second"): 0.30,
              ("larson", "", "peak_rss_bytes"): 0.2}
    analysis = analysis_of(tmp_path / "a.jsonl", workloads=("larson", "bench_random_mixed", "xmalloc"),
                           effect=effect, allocators=("hakmem", "mimalloc", "system"), count_noise=0.01)
    slow, large = behind(analysis)
    assert [each.cell.workload for each in slow] == ["bench_random_mixed", "larson"]
    assert [each.cell.workload for each in large] == ["larson"]
    table = title(analysis, "slower than the best baseline in 2 of 3 cells")
    assert table is not None and "xmalloc" not in table
    assert title(analysis, "more memory than the smallest baseline in 1 of 3 cells") is not None
    ahead = analysis_of(tmp_path / "b.jsonl", allocators=("hakmem", "mimalloc"))
    assert title(ahead, "slower than") is None
    few = analysis_of(tmp_path / "c.jsonl", allocators=("hakmem", "mimalloc"), effect=0.5, rounds=3)
    assert behind(few) == ([], [])  # too few rounds to be sure


def test_the_mean_of_memory_is_told_for_each_baseline(tmp_path: Path) -> None:
    analysis = analysis_of(
        tmp_path / "a.jsonl", workloads=("larson", "xmalloc"), allocators=("hakmem", "mimalloc", "system"),
        effect={("larson", "", "peak_rss_bytes"): 0.44}, count_noise=0.001,
    )
    for workload, true in (("larson", 1.44), ("xmalloc", 1.0), ("", 1.2)):
        mean = memory_mean(analysis, workload, "mimalloc")
        assert mean is not None and mean.value == pytest.approx(true, rel=0.01)
    smallest = memory_mean(analysis, "", "")
    assert smallest is not None and smallest.value == pytest.approx(1.2, rel=0.01)
    assert memory_mean(analysis, "", "jemalloc") is None


def test_a_real_run_shows_the_table(bench) -> None:
    for name in ("larson_floor", "bench_random_mixed_floor", "xmalloc_floor"):
        path = bench.folder / name
        path.write_text((bench.folder / name.replace("_floor", "_system")).read_text("utf-8"), "utf-8")
        path.chmod(0o755)
    # The floor's speed, and that of none, which is measured with the system's driver.
    bench.behave(larson_floor=["speed=80e6"], larson_system=["speed=200e6"])
    done = bench.run("--workloads", "larson", "--matrix", "threads=1", "--duration", "0.01", "--repeat", "5",
                     "--allocators", "hakmem,floor,none")
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("distance to the floor")[2].splitlines()
    row = next(line.split() for line in table if line.strip().startswith("larson threads=1"))
    # (1/60 - 1/200) / (1/80 - 1/200), each sample of the driver is up to 5% off
    assert row[2:4] == ["5.00", "7.50"] and float(row[4]) == pytest.approx(1.56, rel=0.1)
    assert "distance to the floor" in bench.results.with_suffix(".md").read_text("utf-8")
    kinds = {entry["name"]: entry["kind"] for entry in bench.records("run")[0]["allocators"]}
    assert kinds == {"hakmem": "linked", "floor": "linked", "none": "none"}
    assert json.dumps(bench.records("end")[0]["status"]) == '"complete"'
