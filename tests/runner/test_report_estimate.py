"""Tests of how fast the statistics are, and that with numpy or without they are the same."""
from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import estimate
from runner.results_file import read_run
from tests.runner.made_results import edit_records, make_run

positive = st.floats(1e-3, 1e12)


@settings(max_examples=25, deadline=None)
@given(st.lists(positive, min_size=1, max_size=24), st.text(max_size=8))
def test_numpy_gives_the_same_medians_to_the_last_digit(values: list[float], name: str) -> None:
    numpy = pytest.importorskip("numpy")
    with_it = estimate._bootstrap_with(numpy, values, random.Random(f"{estimate._SEED}:{name}"))
    generator = random.Random(f"{estimate._SEED}:{name}")
    one_by_one = [
        estimate.median(generator.choices(values, k=len(values))) for _ in range(estimate.RESAMPLES)
    ]
    assert with_it == one_by_one


def test_without_numpy_the_analysis_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_run(make_run(tmp_path / "run.jsonl", builds=False, threads=(1, 2), rounds=6))
    with_it = estimate.analyse(run.header, run.samples)
    monkeypatch.setattr(estimate, "_numpy", lambda: None)
    assert estimate.analyse(run.header, run.samples) == with_it


@pytest.mark.parametrize("field", ["ops_per_second", "peak_rss_bytes"])
def test_a_sample_that_did_nothing_is_a_failure_and_no_number(tmp_path: Path, field: str) -> None:
    path = make_run(tmp_path / "run.jsonl", builds=False, rounds=6)

    def change(record: dict) -> dict:
        if record.get("allocator") == "mimalloc" and record.get("round") == 3:
            record["measured"][field] = 0
        return record

    run = read_run(edit_records(path, change))
    found = estimate.analyse(run.header, run.samples)
    cell = run.header.cells[0].id
    assert found.results[cell, "mimalloc"].throughput is None
    assert found.results[cell, "mimalloc"].failures == ["its throughput or memory is not above 0"]
    assert found.results[cell, "hakmem"].throughput is not None
    assert (cell, "mimalloc") not in found.ratios and (cell, "system") in found.ratios
