"""The order and the end of a comparison's samples, with made speeds on a clock of the test's own."""
from __future__ import annotations

import dataclasses
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest
from made_results import make_run, read_records

from runner import session as session_module
from runner.adaptive import NARROW, Openness, confidence_for, first_rounds
from runner.allocators import Allocator
from runner.interrupts import Interrupts
from runner.measure import Ticket
from runner.progress import Progress
from runner.records import End, Failure, Record, Sample, to_json, to_line
from runner.results_file import read_run
from runner.session import Session, outside_percent
from runner.verdict.comparison import DEFAULT_FALSE_DISCOVERY_RATE

Speed = Callable[[Ticket], float]
DRIVER, OUTSIDE = 0.100, 0.004  # seconds of a sample, and after it


class Workshop:
    """Makes samples without a driver: of the speed that `speed` says, or failed ones where it is 0."""

    def __init__(self, folder: Path, speed: Speed, builds: int = 1, **settings: Any) -> None:
        chosen = {"rounds": None, "budget_seconds": 60.0, **settings}
        others = chosen.pop("allocators", ())
        path = make_run(folder / "made.jsonl", builds=builds, threads=(1, 2, 4), rounds=1, settings=chosen,
                        allocators=others)
        made = read_run(path)
        self.header, self._pattern = made.header, made.samples[0]
        self.speed, self.now, self.kind = speed, 1000.0, "crash"
        self.written: list[Record] = []
        self.shown = io.StringIO()

    def sample(self, ticket: Ticket, _settings: object) -> Sample:
        self.now += DRIVER + OUTSIDE
        assert self._pattern.measured is not None
        speed = self.speed(ticket)
        measured = dataclasses.replace(self._pattern.measured, ops_per_second=speed) if speed else None
        return dataclasses.replace(
            self._pattern, round=ticket.round, position=ticket.position, warmup=ticket.warmup,
            cell=ticket.cell.id, allocator=ticket.allocator.name, elapsed_seconds=DRIVER,
            status="ok" if speed else "failed", measured=measured,
            failure=None if speed else Failure(self.kind, "it fell over", []),
        )

    def write(self, record: Record) -> None:
        self.written.append(record)

    def monotonic(self) -> float:
        return self.now

    def session(self, samples: Optional[list[Sample]] = None) -> Session:
        allocators = [Allocator(entry.name, entry.kind) for entry in self.header.allocators]
        me: Any = self  # laboratory and writer in one
        return Session(self.header, allocators, me, me, Progress(self.shown, 0), Interrupts(),
                       samples=list(samples or []))

    @property
    def samples(self) -> list[Sample]:
        return [r for r in self.written if isinstance(r, Sample) and not r.warmup]

    def rounds(self, cell: str) -> list[int]:
        return sorted({s.round for s in self.samples if s.cell == cell})


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workshop]:
    def make(speed: Speed = lambda ticket: 1e6, **settings: Any) -> Workshop:
        made = Workshop(tmp_path, speed, **settings)
        monkeypatch.setattr(session_module, "time", SimpleNamespace(monotonic=made.monotonic))
        return made

    return make


def noisy(spread: dict[str, float], seed: int = 1, slower: float = 0.0) -> Speed:
    """Speeds that vary by a cell's spread (a standard deviation); `new` is slower by a share."""
    generator = random.Random(seed)

    def speed(ticket: Ticket) -> float:
        mean = 1e6 * (1 - slower) if ticket.allocator.name == "new" else 1e6
        return mean * math.exp(generator.gauss(0, spread[ticket.cell.id]))

    return speed


QUIET, MIDDLE, WILD = "larson threads=1", "larson threads=2", "larson threads=4"
FIRST_ROUNDS = first_rounds(3, 2)
SPREAD = {QUIET: 0.001, MIDDLE: 0.012, WILD: 0.5}


def test_builds_of_a_cell_follow_each_other_in_random_order(workshop: Callable[..., Workshop]) -> None:
    made = workshop(builds=2, rounds=12, budget_seconds=None, allocators=("mimalloc", "system"))
    end = made.session().run()
    assert end.samples == len(made.written) - 1 == 3 * 5 * 12 + 5  # one warm-up of each driver
    cells, orders, places = set(), set(), set()
    for start in range(0, len(made.samples), 15):
        part = made.samples[start:start + 15]
        assert len({sample.round for sample in part}) == 1
        order = [sample.cell for sample in part]
        assert order == [cell for cell in order[::5] for _ in range(5)] and len(set(order)) == 3
        cells.add(tuple(order[::5]))
        for names in ([s.allocator for s in part[n:n + 5]] for n in (0, 5, 10)):
            assert sorted(names) == ["base", "mimalloc", "new", "new2", "system"]
            first = min(names.index(build) for build in ("base", "new", "new2"))
            assert set(names[first:first + 3]) == {"base", "new", "new2"}
            orders.add(tuple(names[first:first + 3]))
            places.add(first)
    assert len(cells) == 6 and len(orders) == 6 and places == {0, 1, 2}


def test_the_wider_an_interval_the_more_rounds(workshop: Callable[..., Workshop]) -> None:
    made = workshop(noisy(SPREAD))
    end = made.session().run()
    rounds = {cell: made.rounds(cell) for cell in SPREAD}
    assert rounds[QUIET] == list(range(1, FIRST_ROUNDS + 1))
    assert FIRST_ROUNDS < len(rounds[MIDDLE]) < 120
    assert len(rounds[WILD]) > 150  # the rest of the budget is all its own
    for numbers in rounds.values():
        assert numbers == list(range(1, len(numbers) + 1))  # never opened again
    assert end.status == "complete" and 59 < made.now - 1000 <= 60
    known = Openness(made.header)
    for sample in made.samples:
        known.learn(sample)
    assert known.width(MIDDLE, len(rounds[MIDDLE])) <= math.log1p(NARROW * 0.02)
    assert known.width(WILD, len(rounds[WILD])) > 0.02


def test_a_run_ends_when_all_is_narrow(workshop: Callable[..., Workshop]) -> None:
    made = workshop(noisy(dict.fromkeys(SPREAD, 0.005)), budget_seconds=100_000.0)
    assert made.session().run().status == "complete"
    assert made.now - 1000 < 60


def test_only_the_width_decides_not_the_ratio(workshop: Callable[..., Workshop]) -> None:
    """The same noise around another ratio ends after the same samples."""
    lengths = []
    for slower in (0.0, 0.02, 0.3):
        made = workshop(noisy(SPREAD, slower=slower))
        made.session().run()
        lengths.append([len(made.rounds(cell)) for cell in SPREAD])
    assert lengths[0] == lengths[1] == lengths[2]


def test_the_smaller_the_effect_the_more_rounds(workshop: Callable[..., Workshop]) -> None:
    lengths = []
    for effect in (0.05, 0.02, 0.01):
        made = workshop(noisy(dict.fromkeys(SPREAD, 0.02)), effect=effect, budget_seconds=None)
        made.session().run()
        lengths.append(len(made.samples))
    assert lengths[0] < lengths[1] / 2 < lengths[2] / 4


def test_what_an_interruption_left_goes_on_as_it_would_have(workshop: Callable[..., Workshop]) -> None:
    table: dict[tuple[int, str, str], float] = {}
    draw = noisy(SPREAD)

    def speed(ticket: Ticket) -> float:
        key = (ticket.round, ticket.cell.id, ticket.allocator.name)
        return table.setdefault(key, draw(ticket))

    whole = workshop(speed)
    whole.session().run()
    everything = [r for r in whole.written if isinstance(r, Sample)]
    for cut in (2, 8, 41, 42, 43, 90, 151):
        rest = workshop(speed)
        rest.session(everything[:cut]).run()
        first = rest.written[0]
        assert isinstance(first, Sample)
        torn = cut > 2 and everything[cut - 1].cell == everything[cut].cell and (
            everything[cut - 1].round == everything[cut].round)
        skipped = cut + torn  # the second one of a torn pair is never measured
        assert first.cell == everything[skipped].cell and first.round == everything[skipped].round
        assert [s.cell for s in rest.samples[:30]] == [s.cell for s in everything[skipped:][:30]]


def test_a_cell_whose_build_fails_each_time_is_given_up(workshop: Callable[..., Workshop]) -> None:
    def speed(ticket: Ticket) -> float:
        return 0.0 if (ticket.cell.id, ticket.allocator.name) == (WILD, "new") else 1e6

    made = workshop(speed)
    end = made.session().run()
    assert made.rounds(WILD) == list(range(1, FIRST_ROUNDS + 1)) and end.failed == FIRST_ROUNDS
    made = workshop(speed)
    made.kind = "timeout"  # it would take its whole limit each time: once is enough
    assert made.session().run().failed == 1
    assert len([s for s in made.samples if s.cell == WILD]) <= 2


def test_one_bad_sample_closes_no_cell(workshop: Callable[..., Workshop]) -> None:
    def speed(ticket: Ticket) -> float:
        return 0.0 if (ticket.cell.id, ticket.round) == (WILD, 3) else 1e6

    made = workshop(speed)
    assert made.session().run().failed == 2
    assert all(len(made.rounds(cell)) == FIRST_ROUNDS for cell in SPREAD)


def test_a_budget_that_is_too_short_for_the_first_rounds_is_kept(workshop: Callable[..., Workshop]) -> None:
    made = workshop(noisy(SPREAD), budget_seconds=2.0)
    made.session().run()
    assert made.now - 1000 <= 2.0
    pairs = [(s.round, s.cell) for s in made.samples]
    assert all(pairs.count(pair) == 2 for pair in pairs)  # no half pair at the end


def test_progress_names_open_cells_and_the_time_left(
    workshop: Callable[..., Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.progress.LINE_SECONDS", -1.0)
    made = workshop(noisy(SPREAD))
    made.session().run()
    lines = made.shown.getvalue().splitlines()
    assert any("(3 of 3 cells open)" in line for line in lines)
    assert any("(1 of 3 cells open)" in line and " left" in line for line in lines)


def test_the_runners_own_share_of_the_time_is_reckoned(workshop: Callable[..., Workshop]) -> None:
    made = workshop(rounds=5, budget_seconds=None)
    end = made.session().run()
    assert end.outside_percent == pytest.approx(100 * OUTSIDE / (DRIVER + OUTSIDE), abs=0.01)
    assert isinstance(made.written[-1], End) and made.written[-1] == end
    assert outside_percent(0.0, 3.0) is None and outside_percent(3.1, 3.0) == 0.0
    assert outside_percent(1.0, 4.0) == 75.0


def test_the_first_rounds_are_enough_for_one_change_among_all_questions() -> None:
    assert [first_rounds(cells, 2) for cells in (1, 3, 9, 100)] == [15, 17, 19, 22]
    assert first_rounds(3, 4) == first_rounds(9, 2)
    for cells in (1, 3, 9, 100):
        assert 2 / 2 ** first_rounds(cells, 2) < DEFAULT_FALSE_DISCOVERY_RATE / (10 * cells)


def test_many_questions_need_more_confidence() -> None:
    assert confidence_for(1) == confidence_for(5) == 0.999
    assert confidence_for(100) == pytest.approx(1 - DEFAULT_FALSE_DISCOVERY_RATE / 100)


def test_a_line_is_the_record_as_json(tmp_path: Path) -> None:
    path = make_run(tmp_path / "made.jsonl", rounds=2, latency=True, counters=True, exact=True,
                    fail=[(1, "new")])
    run = read_run(path)
    for record in (run.header, *run.samples, *run.exact_counts, *run.ends):
        assert to_json(record) == json.loads(json.dumps({
            "record": to_json(record)["record"], **dataclasses.asdict(record)
        }))
    assert len(read_records(path)) > 6
    broken = dataclasses.replace(run.ends[0], outside_percent=math.inf)
    with pytest.raises(ValueError):
        to_line(broken)
