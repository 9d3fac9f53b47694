"""Tests of wrong usage: one sentence on standard error, status 2, nothing written or measured."""
from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest


def refused(bench, *arguments: str, new: bool = True) -> str:
    """Run, and return the one sentence that the refusal must consist of."""
    done = bench.run(*arguments, new=new)
    assert done.returncode == 2, (done.returncode, done.stderr, done.stdout)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("run.py: ") and lines[0].endswith(".")
    assert not bench.results.exists()
    return lines[0]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--workloads", "larsson"], ["'larsson'", "did you mean 'larson'"]),
    (["--workloads", "larson,larson"], ["twice"]),
    (["--allocators", "mimaloc"], ["'mimaloc'", "did you mean 'mimalloc'"]),
    (["--allocators", "hakmem,hakmem"], ["twice"]),
    (["--allocators", ""], ["no allocator"]),
    (["--allocators", "=x"], ["can't be the name"]),
    (["--allocators", "x="], ["path is missing"]),
    (["--allocators", "none=/x.so"], ["none of 'none', 'floor' and 'system'"]),
    (["--allocators", "system=/x.so"], ["none of 'none', 'floor' and 'system'"]),
    (["--worklods", "larson"], ["'--worklods'", "did you mean '--workloads'"]),
    (["--matix=threads=1"], ["did you mean '--matrix'"]),
    (["surplus"], ["'surplus'"]),
    (["--matrix"], ["--matrix"]),
    (["--matrix", "thread=1"], ["'thread'", "did you mean 'threads'"]),
    (["--matrix", "threads=0"], ["0 is out of range", "1 to 4096"]),
    (["--matrix", "threads=16..1"], ["backwards", "1..16"]),
    (["--matrix", "threads="], ["empty"]),
    (["--matrix", "threads=two"], ["'two'"]),
    (["--workloads", "larson", "--matrix", "size=8"], ["none of the chosen workloads"]),
    (["--repeat", "0"], ["--repeat", "'0'"]),
    (["--repeat", "many"], ["--repeat", "'many'"]),
    (["--seed", "-1"], ["--seed"]),
    (["--duration", "0"], ["--duration"]),
    (["--time-budget", "soon"], ["--time-budget", "'soon'"]),
    (["--time-budget", "0.1", "--allocators", "hakmem,system"], ["too short for one round", "give at least"]),
])
def test_wrong_arguments(bench, arguments: list[str], words: list[str]) -> None:
    sentence = refused(bench, *arguments)
    for word in words:
        assert word in sentence


def test_a_summary_must_not_replace_the_results(bench) -> None:
    bench.results = bench.results.with_suffix(".md")
    assert "summary" in refused(bench)


def test_an_empty_name_of_a_file(bench) -> None:
    assert "--output" in refused(bench, "--output", "", new=False)


def test_a_missing_folder_of_drivers(bench) -> None:
    assert "no directory" in refused(bench, "--drivers", str(bench.folder / "no"))


def test_an_allocator_that_was_named_must_be_there(bench) -> None:
    sentence = refused(bench, "--allocators", "hakmem,jemalloc")
    assert "jemalloc can't be measured" in sentence and "larson_jemalloc" in sentence


def test_an_allocator_that_was_not_named_is_left_out_aloud(bench, small) -> None:
    done = bench.run(*small, "--repeat", "1")
    assert done.returncode == 0
    assert "Left out: jemalloc" in done.stderr and "Left out: tcmalloc" in done.stdout
    assert set(bench.records("run")[0]["skipped"]) == {"jemalloc", "tcmalloc", "tbbmalloc"}


class TestLibraries:
    """name=/path/to/lib.so"""

    def test_missing(self, bench) -> None:
        assert "does not exist" in refused(bench, "--allocators", "mine=/no/such.so")

    def test_directory(self, bench, tmp_path: Path) -> None:
        assert "can't be read" in refused(bench, "--allocators", f"mine={tmp_path}")

    def test_text(self, bench, tmp_path: Path) -> None:
        path = tmp_path / "text.so"
        path.write_text("INPUT(libx.so.1)\n")
        assert "not an ELF object" in refused(bench, "--allocators", f"mine={path}")

    def test_empty(self, bench, tmp_path: Path) -> None:
        path = tmp_path / "empty.so"
        path.write_bytes(b"")
        assert "not an ELF object" in refused(bench, "--allocators", f"mine={path}")

    def test_cut(self, bench, tmp_path: Path, whole_allocator: Path) -> None:
        path = tmp_path / "cut.so"
        path.write_bytes(whole_allocator.read_bytes()[:200])
        assert "cut off" in refused(bench, "--allocators", f"mine={path}")

    def test_program(self, bench) -> None:
        env = Path(shutil.which("env") or "/usr/bin/env").resolve()
        assert "it is a program" in refused(bench, "--allocators", f"mine={env}")

    def test_no_malloc(self, bench, compile_library) -> None:
        path = compile_library("scalable.so", "void *scalable_malloc(void) { return 0; }")
        sentence = refused(bench, "--allocators", f"mine={path}")
        assert "no malloc and no free and no calloc and no realloc" in sentence

    def test_malloc_alone(self, bench, compile_library) -> None:
        text = "void *malloc(unsigned long n) { (void)n; return 0; } void free(void *p) { (void)p; }"
        path = compile_library("half.so", text, "-fno-builtin")
        assert "exports no calloc and no realloc" in refused(bench, "--allocators", f"mine={path}")

    def test_another_machine(self, bench, tmp_path: Path, whole_allocator: Path) -> None:
        data = bytearray(whole_allocator.read_bytes())
        (machine,) = struct.unpack_from("<H", data, 18)
        struct.pack_into("<H", data, 18, 243 if machine != 243 else 62)
        path = tmp_path / "foreign.so"
        path.write_bytes(data)
        assert "for another machine (riscv64, 64 bits)" in refused(
            bench, "--allocators", f"mine={path}"
        )

    def test_a_library_that_does_not_serve(self, bench, whole_allocator: Path) -> None:
        """Were LD_PRELOAD to fail silently, the C library would be measured in its name."""
        bench.behave(other=["ignore-preload"])
        done = bench.run("--allocators", f"mine={whole_allocator}")
        assert done.returncode == 2 and not bench.results.exists()
        assert "does not serve malloc" in done.stderr and "served by system" in done.stderr


def test_resume_of_what_is_not_there(bench) -> None:
    assert "does not exist" in refused(bench, "--resume", "/no/such.jsonl", new=False)


def test_resume_and_output_exclude_each_other(bench) -> None:
    assert "exclude each other" in refused(bench, "--resume", "x.jsonl")


def test_help_and_list(bench) -> None:
    shown = bench.run("--help", new=False)
    assert shown.returncode == 0 and "examples:" in shown.stdout and "threads=1..16*2" in shown.stdout
    listed = bench.run("--list", new=False)
    assert listed.returncode == 0
    assert "allocator mimalloc: built" in listed.stdout
    assert "allocator jemalloc: not built yet" in listed.stdout
