"""Tests of effort, order, times, and the progress that is shown."""
from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import progress, schedule
from runner.errors import UsageError
from runner.schedule import (
    FEWEST_ROUNDS,
    STARTING_OVERHEAD_SECONDS,
    choose_effort,
    in_words,
    parse_time,
    shuffled,
)


@given(st.integers(1, 5000), st.booleans())
def test_the_default_effort_fits_its_time_or_has_the_fewest_rounds(items: int, quick: bool) -> None:
    effort = choose_effort(items, quick=quick)
    assert effort.rounds is not None and effort.rounds >= FEWEST_ROUNDS
    seconds = items * effort.rounds * (effort.duration_seconds + STARTING_OVERHEAD_SECONDS)
    target = schedule.QUICK_BUDGET_SECONDS if quick else schedule.DEFAULT_BUDGET_SECONDS
    assert seconds <= target * 1.02 or (
        effort.rounds == FEWEST_ROUNDS and effort.duration_seconds == schedule.SHORTEST_SECONDS
    )


def test_a_quick_run_of_everything_stays_under_three_minutes() -> None:
    """Three workloads, six allocators, three numbers of threads."""
    effort = choose_effort(54, quick=True)
    samples = 54 * effort.rounds + 18
    assert samples * (effort.duration_seconds + STARTING_OVERHEAD_SECONDS) < 140
    assert effort.rounds >= 5


def test_what_was_given_is_kept() -> None:
    effort = choose_effort(1000, quick=False, duration=3.0, repeat=40)
    assert (effort.duration_seconds, effort.rounds, effort.budget_seconds) == (3.0, 40, None)
    assert choose_effort(1000, quick=False, duration=3.0).rounds == schedule.DEFAULT_ROUNDS
    limited = choose_effort(10, quick=False, budget=60)
    assert limited.rounds is None and limited.budget_seconds == 60


@given(st.integers(1, 1000), st.floats(0.1, 1e5))
def test_a_budget_holds_one_round_or_is_refused_with_what_is_needed(
    items: int, budget: float
) -> None:
    try:
        effort = choose_effort(items, quick=False, budget=budget)
    except UsageError as error:
        assert "give at least" in str(error)
    else:
        each = effort.duration_seconds + STARTING_OVERHEAD_SECONDS
        assert items * each <= budget * 1.02


def test_a_fixed_duration_needs_its_budget() -> None:
    with pytest.raises(UsageError, match="too short for one round"):
        choose_effort(10, quick=False, duration=10, budget=60)


@given(st.lists(st.integers(), unique=True), st.integers(0, 2**32), st.integers(0, 100))
def test_an_order_is_a_permutation_that_its_seed_repeats(
    items: list[int], seed: int, number: int
) -> None:
    order = shuffled(items, seed, number)
    assert sorted(order) == sorted(items) and order == shuffled(items, seed, number)


def test_orders_differ_between_rounds_and_seeds() -> None:
    items = list(range(30))
    assert len({tuple(shuffled(items, seed, n)) for seed in (1, 2) for n in (1, 2, 3)}) == 6


@pytest.mark.parametrize(("text", "seconds"), [
    ("90", 90), ("45s", 45), ("3m", 180), ("1h30m", 5400), ("1.5h", 5400), ("0.25", 0.25),
])
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, "--x") == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "m", "3x", "3m5", "1e3", "nan", ".5", "5.", "٣", "9999h"])
def test_bad_times(text: str) -> None:
    with pytest.raises(UsageError, match="--x"):
        parse_time(text, "--x")


@given(st.floats(0.1, 1e6))
def test_times_in_words_have_a_unit(seconds: float) -> None:
    assert in_words(seconds).endswith((" s", " min", " h"))


def test_known_times_in_words() -> None:
    assert [in_words(n) for n in (0.25, 59.6, 200, 3600, 5400)] == [
        "0.2 s", "60 s", "3 min 20 s", "1 h", "1 h 30 min",
    ]


def test_lines_come_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    shown = progress.make_progress(1000, stream)
    for done in range(1000):
        clock[0] += 0.1
        shown.update(done, 100 - clock[0] / 10, "larson threads=1")
    shown.finish(1000)
    lines = stream.getvalue().splitlines()
    assert 8 <= len(lines) <= 12
    assert "left" in lines[0] and lines[-1] == "1000 of 1000 samples done"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_of_our_own_clears_itself_for_messages() -> None:
    stream = _Terminal()
    bar = progress.PlainBar(stream, 10)
    bar.update(5, 3.0, "larson")
    assert "[###############..............." in stream.getvalue() and "5 of 10" in stream.getvalue()
    bar.message("Failed: x")
    assert stream.getvalue().endswith("\rFailed: x\n")
    bar.finish(10)


def test_richs_bar_shows_the_same() -> None:
    pytest.importorskip("rich")
    stream = _Terminal()
    bar = progress.make_progress(10, stream)
    assert isinstance(bar, progress.RichBar)
    bar.update(5, 3.0, "larson")
    bar.message("Failed: [x]")
    bar.finish(10)
    assert "Failed: [x]" in stream.getvalue() and "10 of 10 samples done" in stream.getvalue()
