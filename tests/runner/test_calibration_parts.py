"""What a calibration is made of: intervals of shares, slopes, drawn pairs, records, checks, options."""
from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from runner.calibrating import resampling as calibration_resampling
from runner.calibrating.burn import slope_of
from runner.calibrating.judge import Judge, Pair, run_of, throughput_of
from runner.calibrating.options import Options, parse_options
from runner.calibrating.pairs import pairs_of_budget
from runner.calibrating.rates import Rate
from runner.calibrating.records import (
    Check, ExactOutcome, Finished, Outcome, Plan, Records, RecordsWriter, Resampled, RoundMeasured, SlopeFound,
    read_records,
)
from runner.calibrating.report import blocks_of, markdown
from runner.calibrating.resampling import BATCH, Pool, Task, resample, rounds_of_samples, slowed, tasks_of
from runner.calibrating.summary import checks_of, summarise
from runner.calibrating.truth import truths_of
from runner.calibrating.work import BlockItem, CommandItem, items
from runner.errors import UsageError
from runner.records import Sample
from runner.results_file import Run, read_run
from tests.runner.made_results import make_run

SLOW_DOWNS = [0.01, 0.02, 0.05]
CELL = "larson threads=1"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A recording of a build, its copy, and one that is 5% slower (made to be the second new one)."""
    path = make_run(tmp_path_factory.mktemp("made") / "run.jsonl", builds=2, rounds=300, noise=0.02,
                    seconds=0.1)
    run = read_run(path)
    samples = [slowed(s, 0.05) if s.allocator == "new2" else s for s in run.samples]
    settings = dataclasses.replace(run.header.settings, rounds=None)
    return dataclasses.replace(run, samples=samples, header=dataclasses.replace(run.header, settings=settings))


@pytest.fixture(scope="module")
def pool(recorded: Run) -> Pool:
    return Pool(recorded.header, rounds_of_samples(recorded.samples, ["base", "new", "new2"]), [0.05])


def plan_of(recorded: Run, **changes: object) -> Plan:
    header = recorded.header
    plan = Plan(
        "hakmem-calibration", 1, "20260102T030405Z-0f0f0f", "2026-01-02T03:04:05Z", ["runner/calibrate.py"],
        header.machine, header.git, header.build, header.cells, SLOW_DOWNS, [0.0, 0.005, *SLOW_DOWNS],
        [15.0, 60.0, 300.0], 400, 0.02, 0.01, 15.0, 1800.0, 0.1, 7, False,
    )
    return dataclasses.replace(plan, **changes)  # type: ignore[arg-type]


# ---- rates and slopes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "trials", "low", "high"), [
    (0, 40, 0.0, 0.0876), (95, 100, 0.8882, 0.9785), (40, 40, 0.9124, 1.0), (1, 2, 0.0945, 0.9055),
])
def test_intervals_are_wilsons(count: int, trials: int, low: float, high: float) -> None:
    assert Rate(count, trials).interval == pytest.approx((low, high), abs=1e-4)


def test_a_rate_of_nothing_says_so() -> None:
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(0, 0).text == "-"
    assert (Rate(1, 2) + Rate(2, 3)) == Rate(3, 5)
    assert Rate(39, 40).text == "97.5% (87.1-99.6%)"


def test_a_slope_tells_how_many_rounds_make_a_slow_down() -> None:
    generator = random.Random(1)
    logs = [math.log(1 / (1 + 1e-4 * 6000)) + generator.gauss(0, 0.02) for _ in range(200)]
    slope = slope_of(logs, 6000, "cell")
    assert slope is not None
    assert slope.per_round == pytest.approx(1e-4, rel=0.02)
    assert slope.interval.low < 1e-4 < slope.interval.high
    rounds = slope.rounds_for(0.02)
    assert rounds == pytest.approx((1 / 0.98 - 1) / 1e-4, rel=0.03)
    share, interval = slope.slow_down_of(rounds)
    assert share == pytest.approx(0.02, rel=0.01)
    assert interval.low < share < interval.high
    assert slope_of([0.0, 0.01, -0.01] * 20, 6000, "cell") is None
    assert slope_of([], 6000, "cell") is None


# ---- pairs -----------------------------------------------------------------------------------------


def test_drawn_pairs_are_neighbours_and_swap_the_copies(pool: Pool) -> None:
    drawn = pool.draw(0.0, random.Random(3))
    pairs = [next(drawn) for _ in range(2000)]
    rounds = [pair.base.round for pair in pairs]
    assert all(pair.new.round == pair.base.round for pair in pairs)
    steps = sum(b - a == 1 for a, b in zip(rounds, rounds[1:]))
    assert steps / len(rounds) > 0.9  # blocks of some 20 pairs
    swapped = sum(pair.base.allocator == "new" for pair in pairs) / len(pairs)
    assert 0.3 < swapped < 0.7
    assert {pair.base.allocator for pair in pairs} == {"base", "new"}


def test_what_was_measured_is_drawn_and_the_rest_is_put_in(pool: Pool) -> None:
    measured = next(pool.draw(0.05, random.Random(4)))
    assert measured.new.allocator == "new2"
    put_in = next(pool.draw(0.1, random.Random(4)))
    same = next(pool.draw(0.0, random.Random(4)))
    assert put_in.new.measured is not None and same.new.measured is not None
    assert put_in.new.measured.ops_per_second == pytest.approx(0.9 * same.new.measured.ops_per_second)
    for phase, before in zip(put_in.new.measured.phases, same.new.measured.phases):
        assert phase.ops_per_second == pytest.approx(0.9 * before.ops_per_second)


def test_a_budget_ends_the_pairs_unless_they_are_enough_before(pool: Pool) -> None:
    def pairs() -> Iterator[Pair]:
        return pool.draw(0.0, random.Random(5))

    few = pairs_of_budget(pairs(), pool.header, 5.0)
    assert 4.0 < sum(pair.seconds for pair in few) <= 5.0
    assert len(pairs_of_budget(pairs(), pool.header, 0.01)) == 1
    enough = pairs_of_budget(pairs(), pool.header, 3000.0)
    assert len(few) < len(enough) < 1000  # at a noise of 2% a hundred or so suffice for an effect of 2%


def test_pairs_become_the_run_that_measured_them(pool: Pool) -> None:
    drawn = pool.draw(0.05, random.Random(6))
    pairs = [next(drawn) for _ in range(30)]
    run = run_of(pool.header, pairs)
    assert [build.allocator for build in run.header.builds] == ["base", "new"]
    assert [s.position for s in run.samples] == list(range(60))
    for number, pair in enumerate(pairs, start=1):
        found = {s.allocator: s for s in run.samples if s.round == number}
        assert found["base"].measured == pair.base.measured
        assert found["new"].measured == pair.new.measured
    first = {s.allocator: s.position for s in run.samples if s.round == 1}
    assert (first["base"] < first["new"]) == (pairs[0].base.position < pairs[0].new.position)


def test_rounds_with_a_failed_or_missing_sample_do_not_count(recorded: Run) -> None:
    names = ["base", "new", "new2"]
    some = [s for s in recorded.samples if s.round <= 4 and not (s.round == 2 and s.allocator == "new")]
    broken = [
        dataclasses.replace(s, status="failed", measured=None) if (s.round, s.allocator) == (3, "base") else s
        for s in some
    ]
    found = rounds_of_samples(broken, names)
    assert [[s.round for s in r] for r in found] == [[1] * 3, [4] * 3]
    assert [[s.allocator for s in r] for r in found] == [names] * 2


# ---- resampled comparisons -------------------------------------------------------------------------


def test_resampled_comparisons_find_what_there_is(
    pool: Pool, recorded: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_resampling, "BATCH", 6)
    plan = plan_of(recorded)

    def made(slow_down: float, budget: float) -> Resampled:
        return resample(pool, plan, Judge(0.02, 0.01), Task(CELL, slow_down, budget, 0),
                        lambda pairs, seconds: pairs_of_budget(pairs, pool.header, seconds))

    same, slower, put_in = made(0.0, 15.0), made(0.05, 15.0), made(0.1, 5.0)
    assert (same.comparisons, same.detected, same.shifted) == (6, 0, True)
    assert same.erring <= 1
    assert slower.detected == 6 and not slower.shifted and not slower.erring
    assert put_in.detected == 6 and put_in.shifted
    assert slower.recorded_pairs == len(pool)
    assert made(0.05, 15.0) == slower  # the same for the same seed
    other = dataclasses.replace(plan, order_seed=8)
    seen: list[int] = []
    for each in (plan, other):
        resample(pool, each, Judge(0.02, 0.01), Task(CELL, 0.0, 15.0, 0), lambda pairs, seconds: [
            pair for pair in pairs_of_budget(pairs, pool.header, seconds)
            if seen.append(pair.base.round) is None
        ])
    assert seen[:len(seen) // 2] != seen[len(seen) // 2:]


def test_every_point_gets_equally_many_batches(recorded: Run) -> None:
    plan = plan_of(recorded, resamples=2 * BATCH)
    tasks = tasks_of(plan, [])
    assert len(tasks) == len(set(tasks)) == 2 * 5 * 3
    assert all(task.batch == 0 for task in tasks[:15]) and all(task.batch == 1 for task in tasks[15:])
    done = Resampled(CELL, 0.01, False, 60.0, 1, BATCH, 0, 0, 0, 9.0, 100)
    left = tasks_of(plan, [done])
    assert set(tasks) - set(left) == {Task(CELL, 0.01, 60.0, 1)}


def test_turns_hold_every_cell_and_a_comparison_by_the_commands(recorded: Run) -> None:
    cells = [dataclasses.replace(recorded.header.cells[0], id=name) for name in ("a", "b", "c")]
    plan = plan_of(recorded, cells=cells)
    stream = items(plan)
    turns = [[next(stream) for _ in range(4)] for _ in range(60)]
    for number, turn in enumerate(turns):
        assert sorted(i.cell.id for i in turn if isinstance(i, BlockItem)) == ["a", "b", "c"]
        assert [i.number for i in turn] == [number] * 4
    orders = {tuple(type(i).__name__ + i.cell.id for i in turn) for turn in turns}
    assert len(orders) > 10
    commands = [i for turn in turns for i in turn if isinstance(i, CommandItem)]
    assert sum(i.slow_down == 0 for i in commands) == 40
    assert {(i.cell.id, bool(i.slow_down)) for i in commands} == {(c, s) for c in "abc" for s in (True, False)}
    again = items(plan)
    assert [next(again) for _ in range(8)] == [*turns[0], *turns[1]]


# ---- records ---------------------------------------------------------------------------------------

SLOPE = SlopeFound(CELL, 1e-4, 0.98e-4, 1.02e-4, 6000, 0.375, 100, [101, 204, 526], SLOW_DOWNS,
                   [0.0099, 0.0198, 0.0495], [0.0101, 0.0202, 0.0505], 12.0)


def outcome(slow_down: float, number: int = 0, verdict: str = "same", **changes: object) -> Outcome:
    found = Outcome("block", number, CELL, slow_down, 15.0, 14.9, 60, verdict, slow_down, slow_down - 0.01,
                    slow_down + 0.01, 9, ["ops_per_second"] if verdict == "slower" else [], [], 1, 40.0)
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def test_records_come_back_as_they_were_written(recorded: Run, tmp_path: Path) -> None:
    path = tmp_path / "a b" / "calibration.jsonl"
    writer = RecordsWriter.create(path, plan_of(recorded))
    entries = [
        SLOPE, outcome(0.0), RoundMeasured(CELL, 1, 0, "2026-01-02T03:04:05Z", [6e7, 6e7, 5.9e7, None, 5e7]),
        Resampled(CELL, 0.0, True, 15.0, 0, BATCH, 0, 1, 3, 60.5, 300),
        ExactOutcome(CELL, 0, 60, 0.005, 61.25, 61.56, "slower"), Check("name", "asked", "found", None),
        Finished("interrupted", "2026-01-02T03:04:05Z", 55.0),
    ]
    writer.write(*entries)
    with pytest.raises(UsageError, match="another calibration"):
        RecordsWriter.reopen(path)
    writer.close()
    records = read_records(path)
    assert records.entries == [plan_of(recorded), *entries]
    assert not records.complete
    assert records.spent == 55.0
    with pytest.raises(UsageError, match="exists"):
        RecordsWriter.create(path, plan_of(recorded))


def test_a_cut_last_line_is_removed_and_the_rest_goes_on(recorded: Run, tmp_path: Path) -> None:
    path = tmp_path / "calibration.jsonl"
    writer = RecordsWriter.create(path, plan_of(recorded))
    writer.write(SLOPE)
    writer.close()
    with path.open("ab") as stream:
        stream.write(b'{"record":"comparison","ki')
    writer = RecordsWriter.reopen(path)
    assert writer.records.spent == 12.0
    writer.write(Finished("complete", "2026-01-02T03:04:05Z", 20.0))
    writer.close()
    assert [type(e) for e in read_records(path).entries] == [Plan, SlopeFound, Finished]
    assert read_records(path).complete


@pytest.mark.parametrize(("text", "said"), [
    ("", "does not begin with the plan"),
    ("[1]\n", ":1: this is no line of a calibration"),
    ("\xff\xfe\n", ":1: this is no line of a calibration"),
    ('{"record":"run"}\n', ":1: this is no line"),
    ('{"record":"calibration","schema":"hakmem-calibration","schema_version":9}\n', "version 9"),
    ('{"record":"check","name":"a","asked":"b","found":"c","passed":true}\n', "does not begin with the plan"),
])
def test_what_is_no_calibration_is_refused_and_left_alone(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=said):
        RecordsWriter.reopen(path)
    assert path.read_bytes() == text.encode("latin-1")


# ---- summary ---------------------------------------------------------------------------------------


def records_of(recorded: Run, *entries: object) -> Records:
    records = Records(Path("calibration.jsonl"), plan_of(recorded))
    records.entries += entries  # type: ignore[arg-type]
    return records


def batch(slow_down: float, budget: float, detected: int, erring: int = 0, number: int = 0) -> Resampled:
    return Resampled(CELL, slow_down, slow_down < 0.01, budget, number, 100, detected, erring, 0, 60.0, 300)


def test_checks_pass_fail_or_stay_open(recorded: Run) -> None:
    good = [
        SLOPE, *(outcome(0.0, n) for n in range(45)), *(outcome(0.05, n, "slower") for n in range(45)),
        *(batch(0.0, budget, 0) for budget in (15.0, 60.0, 300.0)), batch(0.02, 300.0, 99),
        batch(0.05, 60.0, 100),
        ExactOutcome(CELL, 0, 60, 0.005, 61.25, 61.56, "slower"),
    ]
    checks = checks_of(summarise(records_of(recorded, *good)))
    assert {check.name: check.passed for check in checks} == {
        "real comparisons": True, "false alarms, real": True, "false alarms, resampled": True,
        f"detection, {CELL}": True, "exact instructions": True,
    }
    bad = [
        outcome(0.0, 0, "slower"), *(outcome(0.0, n) for n in range(1, 20)), batch(0.0, 15.0, 0, 5),
        batch(0.02, 300.0, 93), batch(0.05, 60.0, 50), ExactOutcome(CELL, 0, 60, 0.005, 61.25, 61.56, "same"),
    ]
    checks = checks_of(summarise(records_of(recorded, *bad)))
    assert [check.passed for check in checks] == [False, None, False, None, False, False]
    assert checks[1].found == "1 of 20: 5% (0.9-23.6%)"
    assert all(not c.passed for c in checks_of(summarise(records_of(recorded))))


def test_a_false_alarm_is_any_question_called_different() -> None:
    assert outcome(0.0, slower=["peak_rss_bytes"]).errs
    assert outcome(0.0, faster=["ops_per_second:churn"]).errs
    assert not outcome(0.0).errs
    assert outcome(0.05, verdict="slower").detects and not outcome(0.05, verdict="slower").errs
    assert outcome(0.05, faster=["minor_faults"]).errs


def test_the_truth_is_told_by_the_line_and_by_the_pairs(recorded: Run) -> None:
    generator = random.Random(4)
    rounds = [
        RoundMeasured(CELL, n, 0, "2026-01-02T03:04:05Z",
                      [6e7 * share * math.exp(generator.gauss(0, 0.01)) for share in (1, 1, 0.99, 0.98, 0.9)])
        for n in range(300)
    ]
    copy, one, two, five = truths_of(records_of(recorded, SLOPE, *rounds))
    assert copy.slow_down == 0 and copy.measured == pytest.approx(0, abs=0.003)
    assert (one.agrees, two.agrees, five.agrees) == (True, True, False)
    assert five.measured == pytest.approx(0.1, abs=0.003) and five.pairs == 300
    assert truths_of(records_of(recorded, SLOPE))[1].agrees is None


def test_the_page_has_every_table_and_no_broken_row(recorded: Run, tmp_path: Path) -> None:
    records = records_of(
        recorded, SLOPE, outcome(0.0), outcome(0.05, verdict="slower"), batch(0.0, 15.0, 0),
        batch(0.02, 300.0, 90),
        ExactOutcome(CELL, 0, 60, 0.005, 61.25, 61.56, "slower"),
    )
    summary = summarise(records)
    checks = checks_of(summary)
    page = markdown(summary, checks, [tmp_path / "c-plots" / "calibration.png"], tmp_path / "c.md")
    assert page.startswith("# How far the verdicts can be trusted\n\nNot reached: real comparisons; det")
    assert "](c-plots/calibration.png)" in page
    assert "90 of 100" in page and "90% (82.6-94.5%)" in page
    for block in blocks_of(summary, checks):
        assert block.title in page
        assert all(len(row) == len(block.headings) for row in block.rows), block.title


# ---- options ---------------------------------------------------------------------------------------


def test_the_default_is_two_workloads_and_three_cells() -> None:
    options = parse_options([])
    assert [cell.id for cell in options.cells] == [
        "larson threads=1", "bench_random_mixed threads=1", "larson threads=2",
    ]
    assert options.slow_downs == SLOW_DOWNS
    assert options.resampled_slow_downs == [0.0, 0.005, *SLOW_DOWNS]
    assert options.budgets == [15.0, 30.0, 60.0, 120.0, 300.0]
    assert (options.time_budget, options.budget_each) == (2700.0, 15.0)
    shorter = parse_options(["--time-budget", "30m"])
    assert 12 <= shorter.budget_each < 15  # so that there are 40 of a build with itself


def test_cells_and_shares_can_be_chosen(tmp_path: Path) -> None:
    options: Options = parse_options([
        "--workloads", "xmalloc", "--matrix", "threads=2,4", "--slow-downs", "3%,0.01", "--budgets", "1m,20s",
        "--output", str(tmp_path / "a b.jsonl"),
    ])
    assert [cell.id for cell in options.cells] == ["xmalloc threads=2", "xmalloc threads=4"]
    assert options.slow_downs == [0.01, 0.03]
    assert options.budgets == [20.0, 60.0]
    assert options.output == tmp_path / "a b"


@pytest.mark.parametrize(("arguments", "said"), [
    (["--workload", "larson"], "'--workload' is no option; did you mean '--workloads'"),
    (["--workloads", "lars"], "did you mean 'larson'"),
    (["--workloads", "redis"], "redis is a program"),
    (["--matrix", "threads=0"], "threads=0"),
    (["--slow-downs", "1%,x"], "--slow-downs: 'x'"),
    (["--slow-downs", "90%"], "--slow-downs: '90%'"),
    (["--slow-downs", "1%,2%,3%,4%,5%,6%,7%"], "too many"),
    (["--effect", "-1"], "--effect"),
    (["--time-budget", "soon"], "--time-budget: 'soon'"),
    (["--time-budget", "10s"], "too short for 3 cells"),
    (["--budgets", "15s,"], "--budgets"),
    (["--resamples", "0"], "--resamples: '0'"),
    (["--order-seed", "1.5"], "--order-seed"),
    (["--resume", "/nowhere/x.jsonl"], "--resume '/nowhere/x.jsonl': there is no such file"),
    (["--resume", "/dev/null", "--output", "x"], "leave --output"),
    (["--drivers", "/dev/null"], "that is no directory"),
    (["--output", "x/"], "must name"),
    (["stray"], "'stray' is no option"),
])
def test_wrong_options_get_a_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_options(arguments)
    assert said in str(error.value)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_the_throughput_of_the_whole_run_is_what_detection_is_about(recorded: Run) -> None:
    rounds = rounds_of_samples(recorded.samples, ["base", "new", "new2"])
    comparison = Judge(0.02, 0.01).compare(recorded.header, [Pair(r[0], r[2]) for r in rounds])
    answer = throughput_of(comparison)
    assert (answer.question.metric, answer.question.phase) == ("ops_per_second", "")
    assert answer.verdict == "slower"
    assert answer.change_to_worse == pytest.approx(0.05, abs=0.01)


def test_a_slowed_sample_does_less_in_the_same_time(recorded: Run) -> None:
    sample: Sample = next(s for s in recorded.samples if s.measured is not None)
    changed = slowed(sample, 0.25)
    assert sample.measured is not None and changed.measured is not None
    assert changed.measured.operations == round(0.75 * sample.measured.operations)
    assert changed.measured.wall_seconds == sample.measured.wall_seconds
    json.dumps(dataclasses.asdict(changed))
    failed = dataclasses.replace(sample, measured=None)
    assert slowed(failed, 0.25) is failed
