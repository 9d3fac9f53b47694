"""The long stress: hakmem stands it in every variant, and broken allocators don't."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess

import pytest

# Sixty seconds in all. Every run has another seed; a failure names it.
RUNS = {
    "release": ("release", ["--seconds", "20", "--threads", "8"], {}),
    "release-many-threads": ("release", ["--seconds", "5", "--threads", "64"], {}),
    "guard": ("guard", ["--seconds", "5", "--threads", "8"], {}),
    "guard-no-adoption": (
        # what exited threads left behind is used by nobody until it is empty
        "guard", ["--seconds", "5", "--threads", "8", "--resident-percent", "200"], {"HAKMEM_TINY_SS_ADOPT": "0"},
    ),
    "tsan": ("tsan", ["--seconds", "15", "--threads", "8", "--max-live", "128"], {}),
    "asan": ("asan", ["--seconds", "10", "--threads", "8", "--max-live", "128"], {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_all_is_well(name: str, program, execute) -> None:
    variant, arguments, options = RUNS[name]
    done = execute(program("stress", variant), *arguments, **options)
    assert done.returncode == 0, done.stdout[:600] + done.stderr[-6000:]
    assert done.stdout.endswith("all was well\n")
    assert done.stderr == ""
    counts = {text: int(number) for number, text in re.findall(r"^ *(\d+)  (.*)$", done.stdout, re.M)}
    assert len(counts) == 21
    # The live total reaches its bound only with many threads.
    unused = [text for text, number in counts.items() if number == 0 and "at its bound" not in text]
    assert unused == []


FAULTS = {
    # allocators of the drivers' tests: contents change without the program's doing
    "overlap": "contents changed|calloc:|realloc lost contents",
    "scribble": "contents changed|calloc:|realloc lost contents",
    "FAULT_TWICE": "contents changed|calloc:|realloc lost contents",
    "exhausted": "returned NULL",
    "good": "MiB are resident",  # nothing is ever reused
    "FAULT_LEAK": "MiB are (still )?resident",
    "FAULT_NULL": "malloc of \\d+ bytes returned NULL",
    "FAULT_HUGE": "malloc of more than there is returned 0x",
    "FAULT_CALLOC": "calloc: block 0x",
    "FAULT_REALLOC": "realloc lost contents",
    "FAULT_ALIGNMENT": "aligned_alloc of \\d+ bytes returned .* no multiple of",
    "FAULT_USABLE": "malloc_usable_size of block .* is 24, but",
    "FAULT_GENEROUS": "contents changed|calloc:|realloc lost contents",
    "FAULT_ERRNO": "set errno to",
    "FAULT_HANG": "no thread has made a step for 2 s",
    "FAULT_CRASH": "",
    "FAULT_ABORT": "",
}
DIES = {"FAULT_CRASH": [-signal.SIGSEGV], "FAULT_ABORT": [-signal.SIGABRT],
        "FAULT_GENEROUS": [1, -signal.SIGABRT, -signal.SIGSEGV]}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_allocator_is_reported(fault: str, program, faulty, execute) -> None:
    memory = [] if "resident" in FAULTS[fault] else ["--resident-percent", "0"]
    path = program("stress_plain")
    done = execute(path, "--seed", "11", "--seconds", "20", "--hang-seconds", "2", *memory, preload=faulty(fault))
    assert done.returncode in DIES.get(fault, [1]), (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    if done.returncode > 0:  # else the C library found it first, and says it in many ways, or nothing was said
        assert re.search(FAULTS[fault], done.stderr), done.stderr[-2000:]
    assert "all was well" not in done.stdout
    command = next(line for line in done.stderr.splitlines() if line.startswith("repeat with:"))
    words = shlex.split(command.split(":", 1)[1])
    assert f"LD_PRELOAD={faulty(fault)}" in words
    assert words[words.index(str(path)):][:5] == [str(path), "--seed", "11", "--seconds", "20"]
    assert done.stdout.splitlines()[:2] == ["seed 11", command]


def test_what_the_broken_ones_stand_on_is_sound(program, faulty, execute) -> None:
    """Without a fault of its own, and its memory not looked at, the heap that they share passes."""
    done = execute(program("stress_plain"), "--seed", "11", "--operations", "400000", "--resident-percent", "0",
                   preload=faulty("good"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all was well\n")


def test_the_system_malloc_stands_it(program, execute) -> None:
    """So it is not the stress that fails; how much memory that takes is its own affair."""
    done = execute(program("stress_plain"), "--seconds", "2", "--resident-percent", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all was well\n")


def test_a_seed_repeats_a_run(program, execute) -> None:
    def counts(seed: str) -> list[str]:
        done = execute(program("stress"), "--seed", seed, "--threads", "1", "--operations", "150000")
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("   ")]

    first = counts("3")
    assert counts("3") == first
    assert counts("4") != first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "stress: --threads needs a whole number from 1 to 256, not '0'"),
        (["--threads", "257"], "stress: --threads needs a whole number from 1 to 256, not '257'"),
        (["--seconds", "ten"], "stress: --seconds needs a whole number from 1 to 1000000, not 'ten'"),
        (["--seconds"], "stress: --seconds needs a whole number from 1 to 1000000, not ''"),
        (["--seed", "-1"], "stress: --seed needs a whole number from 0 to 18446744073709551615, not '-1'"),
        (["--seed", "18446744073709551616"],
         "stress: --seed needs a whole number from 0 to 18446744073709551615, not '18446744073709551616'"),
        (["--max-live", "0"], "stress: --max-live needs a whole number from 1 to 1048576, not '0'"),
        (["--seconds", "1", "--operations", "5"],
         "stress: --seconds and --operations exclude each other; give one of them"),
        (["--quickly"], "stress: unknown argument '--quickly'; --help names them all"),
        (["5"], "stress: unknown argument '5'; --help names them all"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments: list[str], message: str, program, execute) -> None:
    done = execute(program("stress"), *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message + "\n")


def test_help_names_every_argument(program, execute) -> None:
    done = execute(program("stress"), "--help")
    assert done.returncode == 0
    for name in ("--seed", "--seconds", "--operations", "--threads", "--max-live", "--hang-seconds",
                 "--resident-percent"):
        assert name in done.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler: str, root) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run(
        ["make", "-s", "-C", str(root), f"CC={compiler}", f"OUT=out/warnings-{compiler}", "CFLAGS=-Werror",
         "stress_plain", "never_allocating_plain"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
