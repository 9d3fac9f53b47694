"""Tests of the matrix: lists, ranges, doubling, and which cells come out of them."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.matrix import (
    KEYS,
    WORKLOADS,
    driver_arguments,
    make_cells,
    needs_calibration,
    parse_matrix,
    parse_workloads,
    with_operations,
)
from runner.matrix_values import parse_values

THREADS = KEYS["threads"]
numbers = st.integers(1, 4096)


@settings(deadline=None)
@given(numbers, numbers)
def test_a_range_holds_all_numbers_between_its_ends(a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    assert parse_values(THREADS, f"{low}..{high}") == list(range(low, high + 1))


@settings(deadline=None)
@given(numbers, numbers)
def test_doubling_stays_in_the_range_and_would_leave_it_next(a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    values = parse_values(THREADS, f"{low}..{high}*2")
    assert values[0] == low
    assert all(after == 2 * before for before, after in zip(values, values[1:]))
    assert values[-1] <= high < 2 * values[-1]


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=20))
def test_a_list_keeps_order_and_drops_repeats(values: list[int]) -> None:
    assert parse_values(THREADS, ",".join(map(str, values))) == list(dict.fromkeys(values))


@settings(deadline=None)
@given(numbers, numbers)
def test_a_backwards_range_is_refused(a: int, b: int) -> None:
    if a != b:
        with pytest.raises(UsageError, match="backwards"):
            parse_values(THREADS, f"{max(a, b)}..{min(a, b)}")


@settings(deadline=None)
@given(st.text(max_size=12))
def test_no_text_makes_the_parser_fail_otherwise_than_with_a_sentence(text: str) -> None:
    for key in KEYS.values():
        try:
            values = parse_values(key, text)
        except UsageError as error:
            assert "--matrix" in str(error) and str(error).endswith(".")
        else:
            assert values


def test_mixed_lists() -> None:
    assert parse_values(THREADS, "1..4,8..64*2,100,3") == [1, 2, 3, 4, 8, 16, 32, 64, 100]
    assert parse_values(KEYS["size"], "128, mix") == [128, "mix"]
    assert parse_values(KEYS["seconds"], "0.5,2") == [0.5, 2.0]


@pytest.mark.parametrize("text", [
    "threads", "threads=", "threads=0", "threads=4097", "threads=1,,2", "threads=1..", "threads=..2",
    "threads=-1", "threads=1..0", "threads=x", "threads=1.5", "threads=1..8*3", "threads=1...4",
    "threads=1e3", "threads=٣", "thread=1", "=1", "seconds=0", "seconds=nan", "seconds=inf",
    "seconds=-1", "sizes=/no/such/file", "sizes=", "size=mixx", "seed=18446744073709551616",
    "threads=" + "9" * 5000,
])
def test_bad_matrices_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_matrix([text])


def test_a_typing_error_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        parse_matrix(["thread=1"])
    with pytest.raises(UsageError, match="did you mean 'larson'"):
        parse_workloads(["larsen"])


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_matrix(["threads=1", "threads=2"])


def test_workload_names() -> None:
    assert parse_workloads([]) == ["larson", "bench_random_mixed", "xmalloc"]
    assert parse_workloads(["xmalloc,random_mixed"]) == ["xmalloc", "bench_random_mixed"]
    for bad in ("", "larson,larson", "larson,", "random_mixed,bench_random_mixed"):
        with pytest.raises(UsageError):
            parse_workloads([bad])


def test_a_key_applies_to_the_workloads_that_have_it() -> None:
    cells = make_cells(list(WORKLOADS), parse_matrix(["threads=1,2", "size=64,128"]), [1])
    count = {name: sum(cell.workload == name for cell in cells) for name in WORKLOADS}
    assert count == {
        "larson": 2, "bench_random_mixed": 4, "xmalloc": 4,
        "cache_thrash": 4, "cache_scratch": 4,
        "mstress": 2, "thread_churn": 2,
        "pareto": 2, "large": 2, "growth": 2, "replay": 3,
        "redis": 1, "sqlite": 1, "gcc": 1, "python": 1,  # which have neither key
    }
    assert len({cell.id for cell in cells}) == len(cells)
    assert all("size" not in cell.parameters for cell in cells if cell.workload == "larson")


def test_traces_of_a_replay(tmp_path: Path) -> None:
    cells = make_cells(["replay"], {}, [1, 2, 4])
    assert [cell.id for cell in cells] == [f"replay trace={name}" for name in ("gcc", "python", "redis")]
    mine = tmp_path / "my own.trace"
    mine.write_bytes(b"")
    (cell,) = make_cells(["replay"], parse_matrix([f"trace={mine}", "loops=3"]), [1])
    assert cell.parameters == {"trace": str(mine), "loops": 3}
    for wrong in (["trace=reddis"], ["trace="], [f"trace={tmp_path}"], ["loops=2", "seconds=1"]):
        with pytest.raises(UsageError):
            make_cells(["replay"], parse_matrix(wrong), [1])


def test_a_key_of_no_chosen_workload_is_refused() -> None:
    with pytest.raises(UsageError, match="none of the chosen workloads"):
        make_cells(["larson"], parse_matrix(["size=64"]), [1])


def test_threads_of_an_empty_and_of_a_given_matrix() -> None:
    assert [c.parameters["threads"] for c in make_cells(["larson"], {}, [1, 2, 4])] == [1, 2, 4]
    cells = make_cells(["larson"], parse_matrix(["max=100"]), [1, 2, 4])
    assert [c.parameters["threads"] for c in cells] == [1]


@pytest.mark.parametrize("matrix", [
    ["seconds=1", "operations=10"], ["threads=1", "releasers=2"], ["min=100", "max=50"],
])
def test_contradictions_are_refused(matrix: list[str]) -> None:
    with pytest.raises(UsageError):
        make_cells(["larson", "xmalloc"], parse_matrix(matrix), [1])


def test_least_and_greatest_size_in_the_wrong_order_name_the_workload() -> None:
    with pytest.raises(UsageError, match="mstress"):
        make_cells(["mstress"], parse_matrix(["min=100", "max=50"]), [1])
    (cell,) = make_cells(["thread_churn"], parse_matrix(["min=2000", "blocks=7"]), [1])
    assert cell.parameters == {"min": 2000, "blocks": 7, "threads": 1}


def test_a_value_beyond_what_the_workload_takes_is_refused() -> None:
    make_cells(["cache_thrash"], parse_matrix(["size=8,65536"]), [1])
    with pytest.raises(UsageError, match="size=65537: cache_thrash takes at most 65536"):
        make_cells(["cache_thrash"], parse_matrix(["size=8,65537"]), [1])
    with pytest.raises(UsageError, match="only xmalloc has it; cache_thrash needs a number"):
        make_cells(["cache_thrash"], parse_matrix(["size=mix"]), [1])


def test_both_kinds_of_threads_of_xmalloc() -> None:
    (cell,) = make_cells(["xmalloc"], parse_matrix(["allocators=3"]), [1])
    assert (cell.parameters["allocators"], cell.parameters["releasers"]) == (3, 1)
    assert cell.concurrency == 4 and "threads" not in cell.parameters
    (one,) = make_cells(["xmalloc"], parse_matrix(["threads=1"]), [1])
    assert one.concurrency == 2


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(UsageError, match="below"):
        make_cells(["larson"], parse_matrix(["threads=1..4096", "rounds=1..4096"]), [1])


def test_arguments_of_a_driver() -> None:
    (cell,) = make_cells(["larson"], parse_matrix(["threads=4"]), [1])
    words = driver_arguments(
        cell, duration=0.25, seed=7, check=True, latency=False, none=True
    )
    pairs = dict(zip(words, words[1:]))
    assert pairs["--threads"] == "4" and pairs["--seconds"] == "0.25" and pairs["--seed"] == "7"
    assert "--check" in words and "--none" in words and "--latency" not in words
    assert words[0] == "--json"


def test_random_mixed_is_calibrated_unless_its_operations_are_given() -> None:
    (cell,) = make_cells(["bench_random_mixed"], {}, [1])
    assert needs_calibration(cell)
    calibrated = with_operations(cell, 5000)
    assert not needs_calibration(calibrated) and calibrated.id == cell.id
    words = driver_arguments(
        calibrated, duration=1, seed=1, check=False, latency=False, none=False
    )
    assert "--seconds" not in words and words[words.index("--operations") + 1] == "5000"
    (given_one,) = make_cells(["bench_random_mixed"], parse_matrix(["operations=9"]), [1])
    assert not needs_calibration(given_one)


def test_a_histogram_brings_its_own_largest_size(tmp_path) -> None:
    path = tmp_path / "sizes of a program"
    path.write_text("16 10\n4096 1\n")
    matrix = parse_matrix([f"sizes=uniform,{path}"])
    plain, file = make_cells(["bench_random_mixed"], matrix, [1])
    assert plain.parameters["size"] == 1024
    assert "size" not in file.parameters and file.parameters["sizes"] == str(path)
