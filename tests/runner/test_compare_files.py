"""What compare_files makes of files: reading fast and right, matching, sessions, remarks."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made_results import edit_records, make_run, read_records, write_records

numpy = pytest.importorskip("numpy")

from runner.verdict import fast_reader  # noqa: E402
from runner.verdict.runs import CompareOptions, compare_files, compare_runs  # noqa: E402
from runner.verdict.comparison import SAME, SLOWER, UNDECIDED, Comparison  # noqa: E402
from runner.errors import UsageError  # noqa: E402
from runner.verdict.fast_reader import read_recording  # noqa: E402
from runner.verdict.recording import Recording, recording_of  # noqa: E402
from runner.results_file import read_run  # noqa: E402


def same_recordings(one: Recording, other: Recording) -> None:
    assert (one.samples, one.complete, one.cut_sentence) == (other.samples, other.complete, other.cut_sentence)
    assert one.header == other.header and one.exact == other.exact
    assert one.series.keys() == other.series.keys()
    for key, series in one.series.items():
        theirs = other.series[key]
        assert series.failures == theirs.failures and series.phase_seconds == theirs.phase_seconds
        assert numpy.array_equal(series.rounds, theirs.rounds)
        assert series.values.keys() == theirs.values.keys()
        for slot, values in series.values.items():
            assert numpy.array_equal(values, theirs.values[slot], equal_nan=True), (key, slot)


@pytest.fixture
def rich_file(tmp_path: Path) -> Path:
    return make_run(tmp_path / "rich.jsonl", builds=2, workloads=("larson", "xmalloc", "redis"),
                    threads=(1, 2), rounds=12, latency=True, counters=True, exact=True,
                    fail=[(3, "new"), (5, "base")], allocators=("mimalloc",))


@pytest.mark.parametrize("two_processes", [False, True])
def test_both_readers_read_the_same(
    rich_file: Path, two_processes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_reader, "usable_cores", lambda: 2)
    if two_processes:
        monkeypatch.setattr(fast_reader, "_LARGE_BYTES", 1)
    same_recordings(read_recording(rich_file), recording_of(read_run(rich_file)))


def test_recorded_runs_read_the_same(root: Path) -> None:
    reference = root / "results" / "reference"  # which also has records of other kinds
    for path in [reference / "quick-run.jsonl", reference / "programs.jsonl",
                 root / "tests" / "runner" / "results_of_version_1.jsonl"]:
        same_recordings(read_recording(path), recording_of(read_run(path)))


def test_odd_but_right_lines_read_the_same(tmp_path: Path, rich_file: Path) -> None:
    """Other orders, spaces, exponents, fields that are not known, numbers in other places."""
    import json

    lines = []
    for number, record in enumerate(read_records(rich_file)):
        if record["record"] == "sample" and record["measured"]:
            if number % 5 == 1:
                record = {"record": "sample", **dict(reversed(list(record.items())[1:]))}
            if number % 5 == 2:
                record["measured"]["wall_seconds"] = 2.5e-07
            if number % 5 == 3:
                record["future"] = {"more": [1, 2]}
            if number % 7 == 3:
                record["notes"] = ["perf 5.1 failed 3 times"]
            if number % 7 == 4:
                record["allocator"] = "n\u00e9w"
        separators = (", ", ": ") if number % 5 == 4 else (",", ":")
        lines.append(json.dumps(record, separators=separators))
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(lines), "ascii")  # and the last line without its end
    same_recordings(read_recording(path), recording_of(read_run(path)))


@pytest.mark.parametrize("spoil", [
    lambda line: line[:300] + b"\0\0\0" + line[303:],
    lambda line: line[:700],
    lambda line: line.replace(b'"operations":', b'"operations":x', 1),
    lambda line: line.replace(b'"operations":', b'"operations":1.', 1),
    lambda line: line.replace(b'"wall_seconds":0.', b'"wall_seconds":0.0.', 1),
    lambda line: line.replace(b'"round":', b'"round":"', 1),
    lambda line: line.replace(b'"minor_faults":', b'"minor_faults":null,"x":', 1),
    lambda line: line.replace(b'"ops_per_second":', b'"ops_per_second":1e999,"x":', 1),
    lambda line: b"[" + line,
    lambda line: b"",
])
def test_damaged_lines_are_told_alike(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = make_run(tmp_path / "d.jsonl", rounds=10)
    lines = path.read_bytes().split(b"\n")
    lines[15] = spoil(lines[15])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UsageError) as slow:
        read_run(path)
    with pytest.raises(UsageError) as fast:
        read_recording(path)
    assert str(fast.value) == str(slow.value) and ":16:" in str(fast.value)


def test_damage_in_the_second_half_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_reader, "_LARGE_BYTES", 1)
    monkeypatch.setattr(fast_reader, "usable_cores", lambda: 2)
    path = make_run(tmp_path / "d.jsonl", rounds=10)
    lines = path.read_bytes().split(b"\n")
    lines[-4] = lines[-4][:-9]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UsageError, match="damaged"):
        read_recording(path)


def test_twenty_thousand_samples_are_compared_fast(tmp_path: Path) -> None:
    path = make_run(tmp_path / "big.jsonl", threads=(1, 2), rounds=400, effect=0.03)
    data = path.read_bytes().splitlines(True)
    samples = [line for line in data if b'"warmup":false' in line]
    with path.open("wb") as stream:  # the same again with other rounds
        stream.write(data[0])
        for block in range(13):
            number = b'"round":%d' % (block + 1)
            stream.writelines(line.replace(b'"round":', number) for line in samples)
    began = time.process_time()
    found = compare_files(path)
    assert time.process_time() - began < 5  # half a second where nobody else computes
    assert sum(answer.pairs for answer in found.answers) > 60000 and found.verdict == SLOWER


def test_runs_in_memory_and_files_give_the_same(rich_file: Path) -> None:
    run = read_run(rich_file)
    assert compare_runs([run], [run]).to_json() == compare_files(rich_file).to_json()


def matrix_pair(tmp_path: Path, **second: Any) -> Comparison:
    common: dict[str, Any] = {"builds": False, "rounds": 15, "noise": 0.003}
    base = make_run(tmp_path / "b.jsonl", allocators=second.get("allocators"), **common, seed=1)
    new = make_run(tmp_path / "n.jsonl", **common, seed=2, **second)
    return compare_files(base, new)


FIVE = ("hakmem", "mimalloc", "jemalloc", "tcmalloc", "system")


def test_a_session_that_is_slower_as_a_whole_is_not_hakmems_fault(tmp_path: Path) -> None:
    found = matrix_pair(tmp_path, session=-0.2, allocators=FIVE)
    assert found.verdict in (SAME, UNDECIDED) and not found.paired
    assert "relative to the allocators that both measured (mimalloc, jemalloc" in " ".join(found.remarks)


def test_a_slower_allocator_is_seen_across_sessions(tmp_path: Path) -> None:
    assert matrix_pair(tmp_path, session=-0.2, effect=0.1, allocators=FIVE).verdict == SLOWER


def test_without_a_yardstick_times_stay_undecided(tmp_path: Path) -> None:
    found = matrix_pair(tmp_path, effect=0.3, allocators=("hakmem",))
    timed = [a for a in found.answers if a.metric.noise == "time"]
    assert {a.verdict for a in timed} == {UNDECIDED}
    assert all("run.py --rev" in a.notes[-1] for a in timed)
    assert {a.verdict for a in found.answers if a.metric.noise == "count"} == {SAME}


def test_memory_is_judged_without_a_yardstick(tmp_path: Path) -> None:
    more = {("larson", "", "peak_rss_bytes"): 0.1}
    found = matrix_pair(tmp_path, effect=more, allocators=("hakmem",), count_noise=0.005)
    assert [a.metric.name for a in found.with_verdict(SLOWER)] == ["peak_rss_bytes"]


def test_cells_that_differ_or_are_missing_are_not_answered(tmp_path: Path) -> None:
    base = make_run(tmp_path / "b.jsonl", builds=False, threads=(1, 2), rounds=6)
    new = make_run(tmp_path / "n.jsonl", builds=False, threads=(1, 4), rounds=6)

    def other(record: dict[str, Any]) -> dict[str, Any]:
        for cell in record.get("cells", []):
            cell["parameters"]["chunks"] = 1000 if cell["id"].endswith("=1") else 5000
        return record

    found = compare_files(base, edit_records(new, other))
    reasons = {question.cell: reason for question, reason in found.unanswered}
    assert reasons["larson threads=1"] == "measured with different parameters: chunks is None and 1000"
    assert reasons["larson threads=2"] == "the new side has no samples of it"
    assert reasons["larson threads=4"] == "the base has no samples of it"


def test_allocators_of_one_file_form_pairs(tmp_path: Path) -> None:
    path = make_run(tmp_path / "m.jsonl", builds=False, rounds=20)
    options = CompareOptions(base_allocator="mimalloc", new_allocator="system")
    for found in (compare_files(path, None, options), compare_files(path, path, options)):
        assert found.paired and found.verdict == SLOWER and found.new.allocator == "system"


def test_the_second_new_build_can_be_chosen(tmp_path: Path) -> None:
    path = make_run(tmp_path / "three.jsonl", builds=2, rounds=12, effect=0.2)
    assert compare_files(path).verdict == SLOWER
    assert any("--new-allocator new2" in remark for remark in compare_files(path).remarks)
    assert compare_files(path, None, CompareOptions(new_allocator="new2")).verdict != SLOWER


def test_remarks_say_what_a_reader_must_know(tmp_path: Path) -> None:
    path = make_run(tmp_path / "r.jsonl", threads=(8,), rounds=60, outliers=0.08, drift=0.2, complete=False,
                    machine={"load_average": 3.5})
    text = "\n".join(compare_files(path).remarks)
    for words in ("was not finished", "Oversubscribed", "Outliers: ", "the trimmed mean bounds their weight",
                  "Drift: the base's numbers changed", "The machine was busy", "Phases shorter than 1 ms"):
        assert words in text, words


def test_files_that_differ_in_settings_say_so(tmp_path: Path) -> None:
    found = matrix_pair(tmp_path, build={"flags": "-O3"}, machine={"kernel": "Linux 7.0"},
                        settings={"check": True}, allocators=FIVE)
    text = "\n".join(found.remarks)
    assert "kernel (Linux 6.1, Linux 7.0)" in text and "compiler flags" in text and "--check" in text


def test_programs_are_judged_by_processor_time_and_memory(tmp_path: Path) -> None:
    found = compare_files(make_run(tmp_path / "p.jsonl", workloads=("redis",), rounds=20, effect=0.1))
    assert [a.metric.name for a in found.answers] == ["cpu_ns_per_op", "peak_rss_bytes", "minor_faults"]
    assert found.answers[0].verdict == SLOWER
    noisy = compare_files(make_run(tmp_path / "q.jsonl", workloads=("redis",), rounds=20, noise=0.3))
    assert noisy.verdict == UNDECIDED


def test_exact_counts_decide_where_times_do_not(tmp_path: Path) -> None:
    worse = {("larson", "", "exact_instructions_per_op"): 0.005}
    path = make_run(tmp_path / "e.jsonl", rounds=8, noise=0.2, exact=True, effect=worse)
    found = compare_files(path)
    assert [a.metric.name for a in found.with_verdict(SLOWER)] == ["exact_instructions_per_op"]
    failed = edit_records(path, lambda r: {**r, "failure": {"kind": "exit", "reason": "status 1", "stderr": []}}
                          if r["record"] == "exact" and r["allocator"] == "new" else r)
    broken = compare_files(failed)
    assert broken.verdict == SLOWER and "status 1" in broken.broken[0][1]


def test_a_folder_of_sessions_is_resampled_by_session(tmp_path: Path) -> None:
    for number in range(4):
        make_run(tmp_path / "s" / f"{number}.jsonl", rounds=10, seed=number, effect=0.05)
    found = compare_files(tmp_path / "s")
    assert found.verdict == SLOWER and found.answers[0].pairs == 40
    write_records(tmp_path / "s" / "x.jsonl",
                  read_records(make_run(tmp_path / "m.jsonl", builds=False, rounds=2)))
    assert any("Left out, since they do not hold both" in r for r in compare_files(tmp_path / "s").remarks)
