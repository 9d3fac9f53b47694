"""Memory stays in proportion when one thread does all the freeing and allocates nothing."""

from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize("before", ["0", "1"])
def test_memory_stays_below_a_quarter_more(before: str, program, execute) -> None:
    done = execute(program("never_allocating"), "--seconds", "5", "--allocated-before", before)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"ratio ([\d.]+) at most.*turned over ([\d.]+) times", done.stdout)
    assert found, done.stdout
    assert float(found.group(1)) <= 1.25
    assert float(found.group(2)) > 1


def test_an_allocator_that_reuses_nothing_fails(program, faulty, execute) -> None:
    done = execute(program("never_allocating_plain"), "--seconds", "1", "--live-mib", "50", preload=faulty("good"))
    assert done.returncode == 1
    assert "times the live set" in done.stderr
    assert "repeat with: LD_PRELOAD=" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "1"], "--threads needs a whole number from 2 to 256, not '1'"),
        (["--allocated-before", "2"], "--allocated-before needs a whole number from 0 to 1, not '2'"),
        (["--live-mib"], "--live-mib needs a whole number from 1 to 1048576, not ''"),
        (["--often"], "unknown argument '--often'; --help names them all"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments: list[str], message: str, program, execute) -> None:
    done = execute(program("never_allocating"), *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"never_allocating: {message}\n")
