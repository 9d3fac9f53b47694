"""Tests of drivers that fail in every way: a marked sample, the run goes on, status 1."""
from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

# With one cell of one workload: the 1st run of a driver is the probe, the 2nd the warm-up, and
# the rounds begin with the 3rd.
ONE = ("--workloads", "larson", "--matrix", "threads=2", "--duration", "0.01")


def failures(bench) -> list[dict[str, Any]]:
    return [record for record in bench.records("sample") if record["status"] == "failed"]


@pytest.mark.parametrize(("behaviour", "kind", "words"), [
    ("crash", "crash", "ended by SIGSEGV (segmentation fault)"),
    ("kill", "crash", "ended by SIGKILL"),
    ("exit=1", "exit", "exit status 1: the last words"),
    ("garbage", "output", "no JSON"),
    ("flood", "output", "more than any report"),
    ("provider=system", "provider", "served by system (/lib/mimalloc.so) instead of mimalloc"),
    ("incomplete", "provider", "only a part of malloc"),
    ("without=provider", "output", "no 'provider'"),
    ("without=peak_rss_bytes", "output", "no 'peak_rss_bytes'"),
    ("speed=0", "output", "no operation or no time"),
    ("infinite", "output", "not a finite number"),
    ("memory=0", "output", "no peak memory"),
])
def test_a_driver_that_fails_once(bench, behaviour: str, kind: str, words: str) -> None:
    bench.behave(larson_mimalloc=[f"@4 {behaviour}"])
    done = bench.run(*ONE, "--repeat", "3", "--allocators", "hakmem,mimalloc,system")
    assert done.returncode == 1, done.stderr
    (failed,) = failures(bench)
    assert failed["failure"]["kind"] == kind and words in failed["failure"]["reason"]
    assert failed["measured"] is None and failed["allocator"] == "mimalloc"
    assert failed["round"] == 2
    assert len(bench.records("sample")) == 3 * 3 + 3  # the run went on to its end
    assert bench.records("end")[-1]["failed"] == 1
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("2 "))
    assert row.split().count("failed") == 1 and "system" in row
    assert "Failed: larson threads=2 mimalloc" in done.stderr
    assert "Failed: larson threads=2 mimalloc (1 of 3" in done.stdout
    assert "failed" in bench.results.with_suffix(".md").read_text("utf-8")


def test_the_last_words_of_a_driver_are_kept(bench) -> None:
    bench.behave(larson_system=["exit=1"])
    bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem,system")
    assert failures(bench)[0]["failure"]["stderr"] == ["something went wrong", "the last words"]


def test_damaged_blocks_are_a_failure_and_only_looked_for_with_check(bench) -> None:
    bench.behave(larson_hakmem=["damage"])
    done = bench.run(*ONE, "--repeat", "1", "--check", "--allocators", "hakmem,system")
    assert done.returncode == 1
    assert failures(bench)[0]["failure"]["kind"] == "check"
    assert "found 3 damaged of 1000 blocks" in done.stderr


def test_a_driver_that_hangs_is_killed_with_its_children_and_not_tried_again(
    bench, tmp_path: Path
) -> None:
    flag = tmp_path / "hanging"
    bench.behave(larson_mimalloc=[f"@3 hang={flag}"])
    begin = time.monotonic()
    done = bench.run(*ONE, "--repeat", "3", "--sample-limit", "1.5",
                     "--allocators", "hakmem,mimalloc")
    assert done.returncode == 1 and flag.exists()
    assert time.monotonic() - begin < 60
    (failed,) = failures(bench)
    assert failed["failure"]["kind"] == "timeout" and "1.5 s" in failed["failure"]["reason"]
    tried = [r["round"] for r in bench.records("sample") if r["allocator"] == "mimalloc"]
    assert tried == [0, 1]
    assert len([r for r in bench.records("sample") if r["allocator"] == "hakmem"]) == 4
    assert not _processes_of(bench.folder)


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of running drivers in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in text and "run.py" not in text:
                found.append(text)
    return found


def test_much_chatter_on_standard_error_does_no_harm(bench) -> None:
    bench.behave(larson_hakmem=["chatter"])
    assert bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem").returncode == 0


def test_a_driver_that_changes_during_the_run(bench) -> None:
    """Its later samples would be those of another program."""
    driver = bench.folder / "larson_mimalloc"
    text = driver.read_text("utf-8")
    driver.write_text(text.replace("_main()\n", "_main()\n", 1) + (
        "\nimport os\nif '0.01' in sys.argv:\n    os.utime(sys.argv[0], (1, 1))\n"
    ), "utf-8")
    done = bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem,mimalloc")
    assert done.returncode == 1
    assert {r["failure"]["kind"] for r in failures(bench)} == {"changed"}


def test_a_driver_that_disappears(bench) -> None:
    driver = bench.folder / "larson_mimalloc"
    driver.write_text(driver.read_text("utf-8") + (
        "\nif '0.01' in sys.argv:\n    os.unlink(sys.argv[0])\n"
    ), "utf-8")
    done = bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem,mimalloc")
    assert done.returncode == 1 and "changed or removed" in done.stderr


def test_a_driver_that_cannot_be_started(bench) -> None:
    driver = bench.folder / "larson_mimalloc"
    driver.write_text("#!/no/such/interpreter\n", "utf-8")
    done = bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem,mimalloc")
    assert done.returncode == 1
    assert {r["failure"]["kind"] for r in failures(bench)} == {"start"}


def test_a_driver_that_refuses_its_arguments_is_asked_once(bench) -> None:
    bench.behave(larson_hakmem=["exit=2"])
    done = bench.run(*ONE, "--repeat", "4", "--allocators", "hakmem,system")
    assert done.returncode == 1
    assert [r["failure"]["kind"] for r in failures(bench)] == ["usage"]


def test_a_driver_that_ran_with_other_arguments(bench) -> None:
    driver = bench.folder / "larson_hakmem"
    driver.write_text(
        driver.read_text("utf-8").replace('"arguments": {**values}', '"arguments": {"threads": 1}'),
        "utf-8",
    )
    done = bench.run(*ONE, "--repeat", "1", "--allocators", "hakmem,system")
    assert done.returncode == 1 and "ran with threads=1 instead of 2" in done.stderr


def test_everything_failing_still_ends_in_order(bench) -> None:
    bench.behave(other=["crash"])
    done = bench.run(*ONE, "--repeat", "2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert bench.records("end")[-1]["status"] == "complete"


def test_a_reader_that_goes_away_is_no_traceback(bench) -> None:
    command = " ".join(f"'{word}'" for word in bench.command(
        *ONE, "--repeat", "1", "--no-plots", "--output", str(bench.results)
    ))
    done = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True,
                          timeout=60, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
    assert bench.records("end")
    assert bench.results.with_suffix(".md").is_file()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [ONE, ("--help",), ("--list",)])
def test_output_that_cannot_be_written_is_one_sentence(bench, words, unbuffered: str) -> None:
    command = bench.command(*words, "--repeat", "1", "--no-plots", "--output", str(bench.results))
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                              env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "run.py: standard output could not be written (no space left on device); the results "
        "themselves are kept."
    )
    if words is ONE:
        assert bench.records("end") and bench.results.with_suffix(".md").is_file()


def test_no_standard_streams_at_all(bench) -> None:
    command = " ".join(f"'{word}'" for word in bench.command(
        *ONE, "--repeat", "1", "--no-plots", "--output", str(bench.results)
    ))
    done = subprocess.run(["sh", "-c", f"{command} >&- 2>&-"], timeout=60)
    assert done.returncode == 0 and bench.records("end")[-1]["failed"] == 0
