"""What compare.py says and ends with: verdicts, wrong input, files that are damaged or do not fit."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made_results import edit_records, make_run, read_records, write_records

pytest.importorskip("numpy")

Outcome = tuple[int, str, str]


@pytest.fixture
def compare(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs compare.py's main in this process: status, standard output, standard error."""
    from runner.verdict.main import main

    def run(*arguments: object) -> Outcome:
        streams = (sys.stdout, sys.stderr)
        handler = signal.getsignal(signal.SIGINT)
        try:
            status = main([str(argument) for argument in arguments])
        finally:
            sys.stdout, sys.stderr = streams
            signal.signal(signal.SIGINT, handler)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return status, shown.out, shown.err

    return run


def sample_of(record: dict[str, Any], cell: str = "larson threads=1") -> bool:
    return record["record"] == "sample" and record["cell"] == cell and not record["warmup"]


def test_slower_is_said_first_and_ends_with_1(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "a file.jsonl", rounds=40, effect={("larson", "handover", "ops_per_second"): 0.05})
    status, text, _ = compare(path)
    assert status == 1
    assert text.startswith("slower: 4.9%")
    assert "in larson threads=1, handover, throughput; 1 of " in text.splitlines()[0]
    assert "HEAD (222222222) against HEAD~1 (111111111), measured side by side" in text


def test_faster_and_same_end_with_0(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    status, text, _ = compare(make_run(tmp_path / "f.jsonl", rounds=40, effect=-0.05))
    assert (status, text[:7]) == (0, "faster:")
    status, text, _ = compare(make_run(tmp_path / "s.jsonl", rounds=40, noise=0.003), "--strict")
    assert (status, text[:5]) == (0, "same:")


def test_undecided_ends_with_3_only_under_strict(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "u.jsonl", rounds=20, noise=0.2)
    assert compare(path)[0] == 0
    status, text, _ = compare(path, "--strict")
    assert (status, text[:10]) == (3, "undecided:")
    assert "Too noisy to judge a change of 2%: larson threads=1 (20 pairs" in text
    assert "would be needed" in text


def test_json_has_everything(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "j.jsonl", rounds=20, effect=0.1, exact=True, latency=True, counters=True)
    status, text, _ = compare(path, "--json")
    found = json.loads(text)
    assert status == 1 and found["verdict"] == "slower"
    metrics = {answer["question"]["metric"] for answer in found["answers"]}
    assert {"ops_per_second", "malloc_p99", "instructions_per_op", "exact_instructions_per_op",
            "cycles_per_op", "peak_rss_bytes", "minor_faults", "cpu_ns_per_op"} <= metrics
    assert all(answer["low"] <= answer["ratio"] <= answer["high"] for answer in found["answers"])


def test_help_shows_every_option(compare: Callable[..., Outcome]) -> None:
    status, text, _ = compare("--help")
    assert status == 0 and "--false-discovery SHARE" in text and "(default 0.5%)" in text


def test_all_lists_what_is_the_same(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "s.jsonl", rounds=20)
    assert "larson threads=1, churn" not in compare(path)[1]
    assert "larson threads=1, churn" in compare(path, "--all")[1]


@pytest.mark.parametrize(("arguments", "words"), [
    (["missing.jsonl"], "it does not exist"),
    (["empty.jsonl"], "does not begin with a complete record"),
    (["folder"], "holds no results file"),
    (["good.jsonl", "good.jsonl"], "is given as BASE and as NEW"),
    (["good.jsonl", "copy.jsonl"], "are copies of the same run"),
    (["good.jsonl", "other.jsonl"], "have nothing in common"),
    (["good.jsonl", "machine.jsonl"], "different machines (processor: Made Processor and Another)"),
    (["good.jsonl", "newer.jsonl"], "the schema's version is 99"),
    (["good.jsonl", "--new-allocator", "nwe"], "no allocator 'nwe'"),
    (["good.jsonl", "--new-allocator", "nwe"], "did you mean 'new'"),
    (["good.jsonl", "--base-allocator", "new"], "both 'new'"),
    (["matrix.jsonl"], "is no comparison of two builds"),
    (["header.jsonl"], "holds no samples"),
    (["damaged.jsonl"], "damaged.jsonl:5: this line is damaged"),
    (["good.jsonl", "--effect", "much"], "--effect: 'much' is no share"),
    (["good.jsonl", "--effect", "-1"], "--effect"),
    (["good.jsonl", "--confidence", "20%"], "--confidence"),
    (["good.jsonl", "--jsno"], "did you mean '--json'"),
    (["good.jsonl", "--effect", "0"], "--effect: '0' is no share"),
    ([""], "name a results file"),
    ([], "required"),
])
def test_bad_input_is_one_sentence_and_2(
    tmp_path: Path, compare: Callable[..., Outcome], arguments: list[str], words: str
) -> None:
    good = make_run(tmp_path / "good.jsonl", rounds=6)
    lines = good.read_bytes().splitlines(True)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "copy.jsonl").write_bytes(good.read_bytes())
    (tmp_path / "header.jsonl").write_bytes(lines[0])
    (tmp_path / "damaged.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:200] + b"\n" + b"".join(lines[5:]))
    make_run(tmp_path / "other.jsonl", rounds=6, workloads=("xmalloc",))
    make_run(tmp_path / "machine.jsonl", rounds=6, machine={"cpu_model": "Another"})
    make_run(tmp_path / "newer.jsonl", rounds=6, schema_version=99)
    make_run(tmp_path / "matrix.jsonl", rounds=6, builds=False)
    status, text, errors = compare(*[
        tmp_path / each if each.endswith("jsonl") or each == "folder" else each for each in arguments
    ])
    assert (status, text) == (2, "")
    assert words in errors
    assert len(errors.splitlines()) == 1, errors


def test_a_file_cut_off_is_used_and_told(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "cut.jsonl", rounds=20)
    data = path.read_bytes()
    path.write_bytes(data[:-700])
    status, text, _ = compare(path)
    assert status == 0
    assert "was cut off in the middle" in text
    assert "Samples without a partner in the same round are left out: larson threads=1: 1." in text


def test_machines_may_be_compared_when_asked_for(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    base = make_run(tmp_path / "b.jsonl", builds=False, rounds=8)
    new = make_run(tmp_path / "n.jsonl", builds=False, rounds=8, machine={"cores_total": 64})
    assert compare(base, new)[0] == 2
    _, text, _ = compare(base, new, "--across-machines", "--json")
    found = json.loads(text)
    assert "different machines" in found["remarks"][0]
    assert all("measured on different machines" in answer["notes"] for answer in found["answers"])


def test_one_sample_is_undecided(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    status, text, _ = compare(make_run(tmp_path / "one.jsonl", rounds=1, effect=0.5), "--json")
    found = json.loads(text)
    assert status == 0 and found["verdict"] == "undecided"
    assert {answer["verdict"] for answer in found["answers"]} == {"undecided"}
    assert all("one pair of samples only" in answer["notes"] for answer in found["answers"])


def test_five_pairs_decide_nothing_noisy(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    found = json.loads(compare(make_run(tmp_path / "five.jsonl", rounds=5, effect=0.5), "--json")[1])
    timed = [a for a in found["answers"] if a["question"]["metric"] == "ops_per_second"]
    assert timed and all(a["verdict"] == "undecided" for a in timed)
    assert all("5 pairs; at least 6 are needed" in a["notes"] for a in timed)


def test_equal_samples_are_the_same_and_remarked(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = make_run(tmp_path / "equal.jsonl", rounds=10, noise=0)
    status, text, _ = compare(path, "--strict")
    assert status == 0 and text.startswith("same:")
    assert "which measured times never are" in text


@pytest.mark.parametrize("value", [0, -5.0])
def test_no_throughput_is_a_failed_sample(
    tmp_path: Path, compare: Callable[..., Outcome], value: float
) -> None:
    path = make_run(tmp_path / "zero.jsonl", rounds=20)

    def spoil(record: dict[str, Any]) -> dict[str, Any]:
        if sample_of(record) and record["round"] == 7 and record["allocator"] == "new":
            record["measured"]["ops_per_second"] = value
        return record

    status, text, _ = compare(edit_records(path, spoil))
    assert status == 0
    assert "1 of 20 samples of the new side failed in larson threads=1 (it reports no throughput above 0)" in text


def test_a_failed_sample_among_good_ones_costs_its_pair(
    tmp_path: Path, compare: Callable[..., Outcome]
) -> None:
    path = make_run(tmp_path / "f.jsonl", rounds=20, fail=[(3, "new"), (9, "base")])
    found = json.loads(compare(path, "--json")[1])
    assert {answer["pairs"] for answer in found["answers"]} == {18}
    assert any("1 of 20 samples of the base failed" in remark for remark in found["remarks"])


def test_a_build_that_always_fails_is_worse_than_slower(
    tmp_path: Path, compare: Callable[..., Outcome]
) -> None:
    every = [(number, "new") for number in range(1, 11)]
    status, text, _ = compare(make_run(tmp_path / "new.jsonl", rounds=10, fail=every))
    assert status == 1 and text.startswith("slower: broken in larson threads=1")
    base = [(number, "base") for number in range(1, 11)]
    status, text, _ = compare(make_run(tmp_path / "base.jsonl", rounds=10, fail=base))
    assert status == 0 and "every sample of the base failed" in text
    assert compare(tmp_path / "base.jsonl", "--strict")[0] == 3


def test_failing_more_often_than_chance_counts(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    often = [(number, "new") for number in range(1, 21, 2)]
    assert compare(make_run(tmp_path / "often.jsonl", rounds=20, fail=often))[0] == 1
    once = [(2, "new"), (5, "new")]
    assert compare(make_run(tmp_path / "once.jsonl", rounds=20, fail=once))[0] == 0


def test_missing_pairs_are_counted(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    path = edit_records(
        make_run(tmp_path / "m.jsonl", rounds=20),
        lambda r: None if sample_of(r) and r["allocator"] == "base" and r["round"] in (4, 5) else r,
    )
    found = json.loads(compare(path, "--json")[1])
    assert {answer["pairs"] for answer in found["answers"]} == {18}
    assert "Samples without a partner in the same round are left out: larson threads=1: 2." in found["remarks"]


def test_old_and_new_schema_versions_compare(
    tmp_path: Path, compare: Callable[..., Outcome], root: Path
) -> None:
    old = root / "tests" / "runner" / "results_of_version_1.jsonl"
    header = json.loads(old.read_text("ascii").splitlines()[0])
    new = make_run(tmp_path / "n.jsonl", builds=False, workloads=("larson",), rounds=8,
                   machine=header["machine"])
    cells = {cell["id"]: cell for cell in header["cells"]}

    def same_cells(record: dict[str, Any]) -> dict[str, Any]:
        for cell in record.get("cells", []):
            cell.update({k: v for k, v in cells.get(cell["id"], {}).items() if k in cell})
        return record

    status, text, errors = compare(old, edit_records(new, same_cells))
    assert status in (0, 1), errors
    assert "question" in text


def test_folders_hold_sessions(tmp_path: Path, compare: Callable[..., Outcome]) -> None:
    for side, effect in (("base", 0.0), ("new", 0.1)):
        for number in range(4):
            make_run(tmp_path / side / f"{number}.jsonl", builds=False, allocators=("hakmem",), rounds=8,
                     session=0.01 * (number % 2), seed=number + (10 if effect else 0), effect=effect)
    status, text, _ = compare(tmp_path / "base", tmp_path / "new")
    assert status == 1
    assert "measured in different sessions (4 and 4)" in text


def test_works_from_elsewhere_and_either_python(root: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "a b.jsonl", rounds=12, effect=0.2)
    for command in ([str(root / "runner" / "compare.py")], [sys.executable, str(root / "runner/compare.py")]):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 1, done.stderr
        assert done.stdout.startswith("slower:")


def test_ctrl_c_and_closed_pipes_end_it_quietly(root: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "a.jsonl", rounds=40)
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)  # so that it waits for its input
    started = subprocess.Popen([sys.executable, str(root / "runner" / "compare.py"), str(pipe)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(pipe, "wb"):  # it reads from here on
        time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        _, errors = started.communicate(timeout=30)
    assert started.returncode == 130 and b"Traceback" not in errors
    done = subprocess.run(f"'{sys.executable}' '{root}/runner/compare.py' '{path}' --all | head -1",
                          shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("same:") and not done.stderr


def test_records_of_the_helpers_are_valid(tmp_path: Path, root: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((root / "runner" / "results.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    path = make_run(tmp_path / "v.jsonl", builds=2, workloads=("larson", "xmalloc", "redis"), rounds=2,
                    latency=True, counters=True, exact=True, fail=[(1, "new")], allocators=("mimalloc",))
    for record in read_records(path):
        assert not list(validator.iter_errors(record)), record
    assert write_records(tmp_path / "w.jsonl", read_records(path)).read_bytes() == path.read_bytes()
