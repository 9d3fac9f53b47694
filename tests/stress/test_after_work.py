"""Memory goes back when the work is over: a second and a thousand small calls later, unasked."""

from __future__ import annotations

import re

import pytest

# Who works, and what is left: in each, 1.1 times the live bytes and 2 MiB may be resident.
RUNS = {
    "one-thread": ["--mib", "64"],
    "one-size": ["--mib", "32", "--min-size", "64", "--max-size", "64", "--call-max", "64"],
    "survivors-together": ["--mib", "64", "--survivors", "50", "--together", "1"],
    "seven-threads-ended": ["--mib", "64", "--threads", "8"],
    "workers-ended": ["--mib", "64", "--threads", "8", "--main-works", "0"],
    "others-ended-after-exchange": ["--mib", "64", "--threads", "8", "--work", "2", "--main-works", "0"],
    "allocators-and-releasers-ended": ["--mib", "64", "--threads", "8", "--work", "1", "--main-works", "0"],
    # What a thread keeps because it was asked for over and over.
    "swings": ["--mib", "4", "--work", "3", "--rounds", "100"],
    "swings-of-one-size": ["--mib", "4", "--work", "3", "--rounds", "100", "--min-size", "64", "--max-size", "64"],
    "swings-of-large-blocks": ["--mib", "8", "--work", "3", "--rounds", "300", "--min-size", "3000", "--max-size", "30000"],
    "swings-and-survivors": ["--mib", "64", "--work", "3", "--rounds", "8", "--survivors", "50", "--together", "1"],
    "swings-of-threads-ended": ["--mib", "16", "--threads", "8", "--work", "3", "--rounds", "50", "--main-works", "0"],
    "large-blocks": ["--mib", "200", "--min-size", "32769", "--max-size", "8000000"],
}


@pytest.mark.parametrize("name", RUNS)
def test_memory_goes_back(name: str, program, execute) -> None:
    done = execute(program("after_work"), *RUNS[name])
    assert done.returncode == 0, done.stdout + done.stderr
    at_end = float(re.search(r"at its end ([\d.]+) MiB", done.stdout).group(1))
    after = float(re.search(r"after the calls ([\d.]+) MiB", done.stdout).group(1))
    assert after < at_end / 3


def test_one_that_keeps_everything_fails(program, faulty, execute) -> None:
    done = execute(program("after_work_plain"), "--mib", "16", "--wait-ms", "1", preload=faulty("good"))
    assert done.returncode == 1
    assert "MiB are resident" in done.stderr
    assert "repeat with: LD_PRELOAD=" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "--threads needs a whole number from 1 to 256, not '0'"),
        (["--work", "4"], "--work needs a whole number from 0 to 3, not '4'"),
        (["--mib"], "--mib needs a whole number from 1 to 1048576, not ''"),
        (["--min-size", "64", "--max-size", "32"], "--min-size 64 is more than --max-size 32"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments: list[str], message: str, program, execute) -> None:
    done = execute(program("after_work"), *arguments)
    assert (done.returncode, done.stderr) == (2, f"after_work: {message}\n")
