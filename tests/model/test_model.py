"""The model of the ownership protocol: searched whole, with every mistake it must find."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import spin_model
from spin_model import Search, never_reached, run

pytestmark = pytest.mark.skipif(not spin_model.is_available(), reason="spin or gcc is not installed")

# States that each search has at least; less means that the scenario has lost its point.
CLEAN = {
    Search("EXCHANGE", 2): 100_000,
    Search("SLEEP", 2): 100_000,
    Search("RETURN", 2): 500_000,
    Search("REBIRTH", 2): 200_000,
    Search("TWO_SLABS", 2): 500_000,
    Search("STICKY", 2): 100_000,
    Search("HISTORY", 2): 100_000,
    Search("EXCHANGE", 2, ("NO_ADOPT",)): 30_000,
    Search("RETURN", 2, ("NO_ADOPT",)): 100_000,
    Search("EXCHANGE", 3): 2_000_000,
    Search("SLEEP", 3): 2_000_000,
    Search("RETURN", 3): 2_000_000,
    Search("REBIRTH", 3): 2_000_000,
    Search("TWO_SLABS", 3): 2_000_000,
    Search("STICKY", 3): 1_000_000,
    Search("VERSION", 3): 2_000_000,
}


def name_of(search: Search) -> str:
    return "-".join([search.scenario, str(search.threads), *search.switches])


@pytest.mark.parametrize("search", CLEAN, ids=name_of)
def test_nothing_is_wrong(search: Search) -> None:
    result = run(search)
    assert result.errors == 0 and not result.broken, result.explain()
    assert not result.unfinished, f"not all was searched: {result.unfinished}"
    assert result.states >= CLEAN[search]


@pytest.mark.parametrize("scenario", ["EXCHANGE", "RETURN"])
def test_nobody_runs_for_ever(scenario: str) -> None:
    """Operations are few, so a run without end is one that gets nowhere: a livelock."""
    result = run(Search(scenario, 2, progress=True))
    assert result.errors == 0, result.explain()
    assert not result.unfinished


# ---- the search itself can fail -------------------------------------------------------------------


def test_a_search_that_is_cut_short_is_noticed() -> None:
    result = run(replace(Search("EXCHANGE", 2), depth=60))
    assert "max search depth too small" in result.unfinished


def test_a_run_without_end_is_found() -> None:
    """A thread that can't take its notice back looks again, or it would try for ever."""
    result = run(Search("EXCHANGE", 2, ("MISTAKE_LOOK_ONCE",), progress=True))
    assert result.broken[:1] == ("non-progress cycle",), result.explain()


# ---- every part of the model is reached ------------------------------------------------------------

# What would have to be explained here: a line of which no statement is reached in any search of
# two threads with adoption.
NOT_REACHED_BY_TWO: dict[str, str] = {}

# A line by which each part is known to have been gone through.
PARTS = {
    "hot slot": "path == HOT -> partial",
    "sticky ring": "path == STICKY -> partial",
    "bench slot": "path == BENCH -> partial",
    "mailbox": "path == MAILBOX -> partial",
    "mmap gate": "path == GATE -> partial",
    "a claim of the wrong slab, left again": "surplus = HAS_BLOCKS(s) && !behind && cls",
    "kept slab's next life": "kept = 0; /* as a kept one",
    "withdrawal": "seen_owner = owner[s]; /*",
    "withdrawal that failed": ":: else -> seen_owner = 0",
    "second look: all blocks home": "d_step { waiting = 0; out = 0; worth = 0 }",
    "second look: some blocks home": "waiting = 0; /* offered already",
    "last block home without an owner": "waiting >= used[s] ->",
    "notice for a former owner": "s = 0 /* on to the next",
    "slab of the kept one's place goes back": "partial = partial & ~(1 << (gone - 1));",
}


def two_threads() -> list[spin_model.Result]:
    return [run(s) for s in CLEAN if s.threads == 2 and not s.switches]


def test_every_line_is_reached() -> None:
    unexplained = {
        place: text
        for place, text in never_reached(two_threads()).items()
        if not any(part in text for part in NOT_REACHED_BY_TWO)
    }
    assert unexplained == {}


@pytest.mark.parametrize("part", PARTS)
def test_part_is_reached(part: str) -> None:
    places = []
    for path in spin_model.MODEL.glob("*.pml"):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if PARTS[part] in text:
                places.append(f"{path.name}:{number}")
    assert len(places) == 1, f"{PARTS[part]!r} is written in {places}"
    known = {f"{p.file}:{p.line}" for r in two_threads() for p in r.statements}
    assert places[0] in known, f"spin has no statement at {places[0]}"
    assert places[0] not in never_reached(two_threads())


def test_a_line_that_is_not_reached_is_found() -> None:
    alone = never_reached([run(Search("EXCHANGE", 2))])
    assert any("path == MAILBOX -> partial" in text for text in alone.values())


# ---- the mistakes ----------------------------------------------------------------------------------

OWNER = "only_the_owner_touches_a_slab"
ALL_HOME = "not_stuck_with_all_blocks_home"
NO_BEARER = "not_stuck_without_bearer"
UNFINDABLE = "not_stuck_unfindable"
UNKNOWN = "retired_when_nobody_knows_it"

MISTAKES = [
    # The six of history: a drain of a slab that was not claimed.
    ("DRAIN_IN_REFILL_SCAN", "EXCHANGE", 2, OWNER),
    ("DRAIN_AT_ALLOCATION_ENTRY", "RETURN", 2, OWNER),
    ("DRAIN_BEFORE_CLAIM_HOT", "EXCHANGE", 2, OWNER),
    ("DRAIN_BEFORE_CLAIM_STICKY", "STICKY", 2, OWNER),
    ("DRAIN_BEFORE_CLAIM_BENCH", "RETURN", 2, OWNER),
    ("DRAIN_BEFORE_CLAIM_MMAP_GATE", "EXCHANGE", 2, OWNER),
    # Others: claims, notices, offers.
    ("CLAIM_IN_TWO_STEPS", "EXCHANGE", 2, "given_back_once"),
    ("NO_VERSION", "VERSION", 3, NO_BEARER),
    ("NO_WITHDRAWAL", "EXCHANGE", 2, NO_BEARER),
    ("PENDING_NOT_CLOSED", "EXCHANGE", 2, NO_BEARER),
    ("NO_SECOND_LOOK", "EXCHANGE", 2, ALL_HOME),
    ("NO_LOOK_AFTER_A_PUSH", "EXCHANGE", 2, ALL_HOME),
    ("RETIRE_WITH_NOTICE_OUT", "EXCHANGE", 2, UNKNOWN),
    ("OFFER_BEFORE_ABANDON", "SLEEP", 2, UNFINDABLE),
    ("OFFER_BY_OLD_OWNER", "SLEEP", 2, UNFINDABLE),
    ("RETURNED_ONLY_POSTED", "REBIRTH", 2, UNFINDABLE),
]


@pytest.mark.parametrize(("mistake", "scenario", "threads", "check"), MISTAKES, ids=lambda v: str(v))
def test_mistake_is_found(mistake: str, scenario: str, threads: int, check: str) -> None:
    result = run(Search(scenario, threads, (f"MISTAKE_{mistake}",)))
    print(f"{mistake}, {threads} threads: {result.broken}")
    assert result.broken == (check,), result.explain()


def test_every_switch_is_tested() -> None:
    text = "".join(p.read_text() for p in spin_model.MODEL.glob("*.pml"))
    switches = set(re.findall(r"MISTAKE_(\w+)", text))
    assert switches == {m[0] for m in MISTAKES} | {"LOOK_ONCE"}


# Without the rule's own checks: what comes of breaking it.
HARM = [
    ("DRAIN_IN_REFILL_SCAN", "HISTORY", {"no_block_lost", ALL_HOME}),
    ("DRAIN_AT_ALLOCATION_ENTRY", "REBIRTH", {ALL_HOME}),
    ("DRAIN_BEFORE_CLAIM_MMAP_GATE", "RETURN", {NO_BEARER}),
]


@pytest.mark.parametrize(("mistake", "scenario", "harm"), HARM, ids=lambda v: v if isinstance(v, str) else "")
def test_mistake_does_harm(mistake: str, scenario: str, harm: set[str]) -> None:
    search = Search(scenario, 2, ("EFFECTS_ONLY", f"MISTAKE_{mistake}"), all_errors=True)
    result = run(search)
    print(f"{mistake}: {sorted(set(result.broken))}")
    assert harm <= set(result.broken), result.explain()
