"""The floor: a measuring rod that must serve programs rightly, be found out as what it is, and stay the
cheapest thing that can serve the loop."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from pathlib import Path
from typing import Callable, Dict

import pytest

import driver_contract
from driver_run import SHORT, WORKLOADS, build, clean_environment, run

Program = Callable[..., Path]
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def library() -> Path:
    return build("libfloor.so")


def under(library: Path) -> Dict[str, str]:
    if " " in str(library):
        pytest.skip("LD_PRELOAD can't name a path with a space")
    return {**clean_environment(), "LD_PRELOAD": str(library)}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_drivers_are_linked_with_it_and_say_so(program: Program, library: Path, workload: str) -> None:
    result = run(program(workload, "floor"), [*SHORT[workload], "--json", "--check"]).json
    driver_contract.check(result)
    assert result["check"]["blocks"] > 0 and result["check"]["errors"] == 0
    provider = result["provider"]
    assert (provider["name"], provider["complete"]) == ("floor", True)
    assert provider["path"] == os.path.realpath(library)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("workload", ["larson", "bench_random_mixed", "xmalloc"])
def test_no_driver_finds_a_lost_block(program: Program, workload: str, threads: str) -> None:
    arguments = ["--threads", threads, "--operations", "60000", "--check", "--json"]
    if workload == "bench_random_mixed":
        arguments += ["--size", "20000", "--slots", "300"]
    assert run(program(workload, "floor"), arguments).json["check"]["errors"] == 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_whole_interface(library: Path, tmp_path: Path, compiler: str) -> None:
    path = tmp_path / "interface"
    try:
        subprocess.run(
            [compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-fno-builtin",
             str(HERE / "floor_interface.c"), str(library), f"-Wl,-rpath,{library.parent}", "-o", str(path)],
            check=True,
        )
    except FileNotFoundError:
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run([str(path)], capture_output=True, text=True, env=clean_environment(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all is so\n", "")


def test_programs_run_on_it(library: Path) -> None:
    for command in (["/bin/ls", "/"], ["/bin/sh", "-c", "for i in 1 2 3; do echo $i | cat; done"]):
        plain = subprocess.run(command, capture_output=True, env=clean_environment(), check=True)
        done = subprocess.run(command, capture_output=True, env=under(library), check=True)
        assert (done.stdout, done.stderr) == (plain.stdout, b"")


def test_memory_that_is_refused_is_told_and_not_a_crash(program: Program) -> None:
    """It takes more and more: the driver that gets no more must say so."""
    path = program("bench_random_mixed", "floor")

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))

    done = subprocess.run(
        [str(path), "--operations", "100000", "--size", "100000", "--slots", "20000", "--json"],
        capture_output=True, text=True, env=clean_environment(), preexec_fn=little, check=False,
    )
    assert done.returncode == 1 and "memory" in done.stderr and not done.stdout, done.stderr


def test_a_hit_makes_no_call_and_has_no_frame(library: Path, objdump: str) -> None:
    """What it costs is what the others are measured by: a dozen instructions each way."""
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(library)], capture_output=True, text=True, check=True
    ).stdout
    for name, most in (("malloc", 40), ("free", 20)):
        match = re.search(rf"<{name}>:\n(.*?)\n\n", text, re.DOTALL)
        assert match is not None
        lines = [line.split("\t")[-1] for line in match[1].splitlines() if "\t" in line]
        code = [line for line in lines if not re.match(r"(nop|data16|cs nop|xchg +%ax,%ax)", line)]
        assert 5 <= len(code) <= most
        assert not [line for line in code if re.match(r"(call|push|lock|bl\b|stp)", line)], code
