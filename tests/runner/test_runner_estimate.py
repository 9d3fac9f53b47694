"""Tests of the statistics: what must hold for any numbers, and what known numbers must give."""
from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.estimate import analyse, bootstrap, estimate, geometric_mean, interval_of, quantile, remarks
from runner.records import (
    AllocatorEntry,
    Build,
    Cell,
    CounterSetup,
    Failure,
    Machine,
    Measurement,
    RunHeader,
    Sample,
    Settings,
)

positive = st.floats(1e-3, 1e12)
few = st.lists(positive, min_size=1, max_size=15)


@settings(max_examples=60, deadline=None)
@given(few)
def test_the_parts_of_an_estimate_are_in_order(values: list[float]) -> None:
    found = estimate(values, "x")
    assert (
        min(values) == found.lowest <= found.lower_quartile <= found.median
        <= found.upper_quartile <= found.highest == max(values)
    )
    assert found.lowest <= found.interval.low <= found.interval.high <= found.highest
    assert found.samples == len(values) and found.spread >= 0


@settings(max_examples=30, deadline=None)
@given(few, st.floats(0.1, 10))
def test_an_estimate_scales_with_its_values_and_ignores_their_order(
    values: list[float], factor: float
) -> None:
    shuffled = list(values)
    random.Random(1).shuffle(shuffled)
    assert estimate(values, "x") == estimate(shuffled, "x")
    scaled = estimate([factor * value for value in values], "x")
    assert scaled.median == pytest.approx(factor * estimate(values, "x").median)
    assert scaled.interval.low == pytest.approx(factor * estimate(values, "x").interval.low)


@given(few, st.floats(0, 1))
def test_a_quantile_lies_between_the_ends(values: list[float], share: float) -> None:
    ordered = sorted(values)
    assert ordered[0] * (1 - 1e-12) <= quantile(ordered, share) <= ordered[-1] * (1 + 1e-12)


def test_known_quantiles() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2.5
    assert quantile([1, 2, 3, 4, 5], 0.25) == 2
    assert quantile([7], 0.9) == 7


@given(few)
def test_a_geometric_mean_lies_between_the_ends(values: list[float]) -> None:
    mean = geometric_mean(values)
    assert min(values) * (1 - 1e-9) <= mean <= max(values) * (1 + 1e-9)


def test_intervals_cover_the_true_median_about_as_often_as_they_say() -> None:
    generator = random.Random(11)
    covered = 0
    for trial in range(200):
        values = [generator.gauss(100, 5) for _ in range(15)]
        interval = interval_of(bootstrap(values, str(trial)))
        covered += interval.low <= 100 <= interval.high
    assert 175 <= covered <= 200


def test_an_interval_of_equal_values_is_a_point() -> None:
    found = estimate([3.0] * 7, "x")
    assert found.interval.low == found.interval.high == 3.0 and found.spread == 0


def _header(names: Sequence[str], threads: Sequence[int], cores: int = 2) -> RunHeader:
    cells = [Cell(f"larson threads={n}", "larson", {"threads": n}, n) for n in threads]
    return RunHeader(
        schema="hakmem-results", schema_version=1, id="x", started="2026-01-01T00:00:00Z",
        command=["runner/run.py"], environment={},
        machine=Machine("CPU", "x86_64", cores, cores, None, None, None, 4096, "Linux 6", None,
                        None, None, None, None, "CPython 3.11"),
        build=Build("release", "gcc", "-O2"), git=None, counters=CounterSetup([], None),
        settings=Settings(0.1, 5, None, False, False, False, 42, 1, None),
        matrix={"threads": list(threads)}, workloads=["larson"],
        allocators=[AllocatorEntry(name, "linked", None, None, None, {}) for name in names],
        skipped={}, cells=cells,
    )


def _sample(
    number: int, threads: int, name: str, speed: Optional[float], memory: int = 10, **other: Any
) -> Sample:
    measured = None
    if speed is not None:
        measured = Measurement(10, 1.0, 1.0, 0.0, speed, memory, memory, [memory, memory], 0, 0,
                               None, [], None, None, {})
    failure = None if measured else Failure("crash", "ended by SIGSEGV", [])
    sample = Sample(number, 0, False, f"larson threads={threads}", "larson", name,
                    "ok" if measured else "failed", "2026-01-01T00:00:00Z", 1.0, [], None, None,
                    measured, None, failure)
    return dataclasses.replace(sample, **other)


def test_ratios_are_taken_within_rounds() -> None:
    """Both are slow in the same rounds, so that the ratio is much steadier than the speeds."""
    samples = []
    for number, slowdown in enumerate((1, 2, 4, 1, 3, 1, 2), start=1):
        samples.append(_sample(number, 1, "hakmem", 120 / slowdown))
        samples.append(_sample(number, 1, "mimalloc", 100 / slowdown))
    analysis = analyse(_header(["hakmem", "mimalloc"], [1]), samples)
    ratio = analysis.ratios["larson threads=1", "mimalloc"]
    assert ratio.median == pytest.approx(1.2)
    assert ratio.interval.low == pytest.approx(1.2) and ratio.interval.high == pytest.approx(1.2)
    assert ratio.rounds == 7
    assert analysis.results["larson threads=1", "hakmem"].throughput.spread > 0.1
    assert any("Noisy" in line for line in remarks(analysis))


def _with_halves(sample: Sample, halves: list[int]) -> Sample:
    assert sample.measured is not None
    return dataclasses.replace(sample, measured=dataclasses.replace(sample.measured, rss_halves_bytes=halves))


@pytest.mark.parametrize(
    ("halves", "told"),
    [([100, 111], True), ([100, 110], False), ([100, 100], False), ([150, 100], False), ([], False), ([0, 100], False)],
)
def test_memory_that_still_rises_is_told(halves: list[int], told: bool) -> None:
    samples = []
    for number in range(1, 6):
        for name in ("hakmem", "mimalloc"):
            sample = _sample(number, 1, name, 100)
            samples.append(_with_halves(sample, halves) if name == "mimalloc" else sample)
    lines = [line for line in remarks(analyse(_header(["hakmem", "mimalloc"], [1]), samples)) if "Not settled" in line]
    assert len(lines) == told
    if told:
        assert "over 10% higher" in lines[0] and "--duration" in lines[0]
        assert lines[0].endswith(": larson threads=1 mimalloc.")


def test_one_sample_that_rose_is_no_rise() -> None:
    samples = [_sample(number, 1, "hakmem", 100) for number in range(1, 6)]
    samples[0] = _with_halves(samples[0], [100, 500])
    assert not any("Not settled" in line for line in remarks(analyse(_header(["hakmem"], [1]), samples)))


def test_best_baseline_smallest_memory_and_means() -> None:
    samples = [
        _sample(number, threads, name, speed * threads, memory)
        for number in range(1, 6)
        for threads in (1, 4)
        for name, speed, memory in (
            ("hakmem", 90, 20), ("mimalloc", 100, 25), ("jemalloc", 60, 10), ("none", 900, 1)
        )
    ]
    header = _header(["hakmem", "mimalloc", "jemalloc", "none"], [1, 4])
    analysis = analyse(header, samples)
    assert analysis.baselines == ["mimalloc", "jemalloc"]  # the empty loop is none
    assert set(analysis.best.values()) == {"mimalloc"}
    assert analysis.memory_ratios["larson threads=1"] == ("jemalloc", 2.0)
    assert analysis.speed_means["larson", ""].value == pytest.approx(0.9)
    assert analysis.speed_means["", "jemalloc"].value == pytest.approx(1.5)
    assert analysis.undisturbed_means[""].value == pytest.approx(0.9)
    assert analysis.memory_means[""].value == pytest.approx(2.0)
    assert any("oversubscribed" in line for line in remarks(analysis))
    assert not any("oversubscribed" in line for line in remarks(analyse(_header(["hakmem"], [2]), [])))


def test_a_failed_sample_leaves_no_number() -> None:
    samples = [_sample(n, 1, "hakmem", 100) for n in range(1, 6)]
    samples += [_sample(n, 1, "mimalloc", 100 if n > 1 else None) for n in range(1, 6)]
    analysis = analyse(_header(["hakmem", "mimalloc"], [1]), samples)
    broken = analysis.results["larson threads=1", "mimalloc"]
    assert broken.throughput is None and broken.failures == ["ended by SIGSEGV"]
    assert not analysis.ratios and not analysis.best
    assert any(line.startswith("Failed: larson threads=1 mimalloc (1 of 5") for line in remarks(analysis))


def test_warmups_do_not_count_but_their_failures_do() -> None:
    samples = [_sample(n, 1, "hakmem", 100) for n in range(1, 6)]
    extreme = _sample(0, 1, "hakmem", 1e9, warmup=True)
    found = analyse(_header(["hakmem"], [1]), [extreme, *samples]).results["larson threads=1", "hakmem"]
    assert found.throughput.highest == 100 and found.throughput.samples == 5
    failed = _sample(0, 1, "hakmem", None, warmup=True)
    found = analyse(_header(["hakmem"], [1]), [failed, *samples]).results["larson threads=1", "hakmem"]
    assert found.throughput is None and found.failures


def test_few_samples_are_pointed_out() -> None:
    header = _header(["hakmem"], [1])
    three = [_sample(n, 1, "hakmem", 100) for n in range(3)]
    assert any("Too few samples" in line and "only 3" in line for line in remarks(analyse(header, three)))
    five = [_sample(n, 1, "hakmem", 100) for n in range(5)]
    assert not any("Too few" in line for line in remarks(analyse(header, five)))
