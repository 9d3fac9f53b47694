"""Cases that once went wrong: changed libraries, repeated cells, odd files, too few samples."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.elf_object import ElfError, ElfObject
from runner.matrix import make_cells, without_repeats


def test_xmalloc_with_one_thread_is_that_with_two() -> None:
    cells, repeated = without_repeats(make_cells(["larson", "xmalloc"], {}, [1, 2, 4]))
    assert [c.id for c in cells] == [
        "larson threads=1", "larson threads=2", "larson threads=4", "xmalloc threads=2",
        "xmalloc threads=4",
    ]
    assert [(c.id, same.id) for c, same in repeated] == [("xmalloc threads=1", "xmalloc threads=2")]
    alone, none = without_repeats(make_cells(["xmalloc"], {}, [1]))
    assert [c.id for c in alone] == ["xmalloc threads=1"] and none == []


def test_a_pipe_is_no_library(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ElfError, match="not a regular file"):
        ElfObject.read(tmp_path / "pipe")


def test_absurd_offsets_are_a_damaged_object(tmp_path: Path) -> None:
    data = bytearray(Path("/proc/self/exe").read_bytes()[:4096])
    data[32:40] = b"\xff" * 8
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(bytes(data))
    with pytest.raises(ElfError):
        ElfObject.read(damaged).exported_functions()


@pytest.mark.parametrize("duration", ["0.0005", "300h"])
def test_a_duration_no_driver_takes_is_refused(bench, small, duration: str) -> None:
    done = bench.run("--workloads", "larson", "--duration", duration)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "0.001 s to 24 h" in done.stderr


def test_one_sample_decides_nothing(bench, small) -> None:
    done = bench.run(*small, "--repeat", "1")
    assert done.returncode == 0, done.stderr
    assert "faster in 0, slower in 0" in done.stdout


def test_resume_wants_the_same_environment(bench, small, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    bench.behave(larson_mimalloc=[f"@5 hang={flag}"])
    process = subprocess.Popen(
        bench.command(*small, "--repeat", "3", "--output", str(bench.results), "--no-plots"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, HAKMEM_DEPOT="0"),
    )
    end = time.monotonic() + 30
    while not flag.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    done = bench.run("--resume", str(bench.results), "--no-plots", new=False)
    assert done.returncode == 2
    assert "HAKMEM_DEPOT set to '0'" in done.stderr
    again = bench.run("--resume", str(bench.results), "--no-plots", new=False,
                      env=dict(os.environ, HAKMEM_DEPOT="0"))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("words", [
    ("--drivers", "d" * 5000), ("--workloads", "random_mixed", "--matrix", "sizes=" + "h" * 5000),
    ("--resume", "r" * 5000), ("--output", "o" * 5000), ("--output", "o/" * 2500 + "x"),
    ("--allocators", "mine=" + "l" * 5000),
])
def test_overlong_paths_are_one_sentence(bench, words: tuple[str, ...]) -> None:
    done = bench.run(*words, new=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("run.py: ") and done.stderr.count("\n") == 1


def test_a_summary_replaces_no_file_of_another(bench, small) -> None:
    bench.results.parent.mkdir(parents=True)
    mine = bench.results.with_suffix(".md")
    mine.write_text("my own notes")
    done = bench.run(*small, "--repeat", "1")
    assert done.returncode == 2 and str(mine) in done.stderr and "would replace" in done.stderr
    assert mine.read_text() == "my own notes" and not bench.results.exists()
