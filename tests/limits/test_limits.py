"""Limits of the system: address space, data, a memory cgroup, strict overcommit, addresses beyond 47 bits.

Strict overcommit (vm.overcommit_memory=2) is a setting of the whole machine, so it is not turned on
here: what it charges for is added up from /proc/self/smaps.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import uuid
from pathlib import Path
from typing import Callable, Iterator

import pytest


def run(
    command: list[str], library: Path | None, limit: tuple[int, int] | None = None, **environment: str
) -> subprocess.CompletedProcess:
    if library:
        environment["LD_PRELOAD"] = str(library)

    def set_limit() -> None:
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=dict(os.environ, **environment), preexec_fn=set_limit
    )


# ---- ulimit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mib", "percent"),
    [("AS", 30, 40), ("AS", 60, 70), ("AS", 100, 70), ("AS", 300, 75), ("DATA", 60, 70), ("DATA", 300, 75)],
)
def test_what_one_size_had_another_can_have(
    libhakmem: Path, plain: Callable[[str], Path], kind: str, mib: int, percent: int
) -> None:
    limit = (getattr(resource, f"RLIMIT_{kind}"), mib << 20)
    done = run([str(plain("until_null")), str(percent)], libhakmem, limit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > mib * 0.7


def test_threads_share_what_there_is(libhakmem: Path, plain: Callable[[str], Path]) -> None:
    done = run([str(plain("until_null")), "75", "6"], libhakmem, (resource.RLIMIT_AS, 200 << 20))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["/bin/true"], ["/bin/sort", "/etc/passwd"], ["/usr/bin/perl", "-e", "print 1"]])
def test_programs_start_under_any_limit_or_say_why_not(libhakmem: Path, command: list[str]) -> None:
    started = 0
    for kib in [2000, 3000, 4000, 5000, 6000, 8000, 10000, 12000, 14000, 17000, 20000, 30000, 60000]:
        limit = (resource.RLIMIT_AS, kib << 10)
        without, done = run(command, None, limit), run(command, libhakmem, limit)
        if without.returncode != 0:
            continue
        # It needs a few MiB more. What it or the loader says without them is theirs; no signal may end it.
        assert done.returncode >= 0, (kib, done)
        assert done.returncode == 0 or kib < 14000, (kib, done)
        started += done.returncode == 0
    assert started >= 3


# ---- strict overcommit -----------------------------------------------------------------------------


def test_little_is_charged_for_beyond_what_is_used(libhakmem: Path, plain: Callable[[str], Path]) -> None:
    done = run([str(plain("stages")), "accounted"], libhakmem)
    assert done.returncode == 0, done.stderr
    stages = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert stages[0][1] < 8, stages  # MiB, at the start, C library and stack included
    assert len(stages) == 5
    # Blocks of 40,000 bytes and more are whole slabs of 64 KiB. Free SuperSlabs stay charged for, until
    # something can't be had: huge blocks come on top of what small ones had.
    assert all(charged < 100 * 1.25 + 8 for _, charged in stages[1:3]), stages
    assert stages[3][1] < 100 * 1.5 + 8, stages
    assert stages[4][1] < 100 * 2.5 + 16, stages


@pytest.mark.parametrize("thp", ["0", "1"])
def test_huge_pages_are_kept_out_unless_the_option_lets_them_in(libhakmem: Path, thp: str) -> None:
    for reserve in ("1024", "0"):  # with an arena, and with single mappings
        done = run(["/bin/cat", "/proc/self/smaps"], libhakmem, HAKMEM_THP=thp, HAKMEM_ARENA_RESERVE=reserve)
        kib, flags = "", []
        for line in done.stdout.splitlines():
            if line.startswith("Size:"):
                kib = line.split()[1]
            elif line.startswith("VmFlags:") and kib == "2048" and " wr" in line:
                flags.append(line)
        assert flags, "no SuperSlab was found"
        assert all((" nh" in line) == (thp == "0") for line in flags), flags


# ---- a memory cgroup -------------------------------------------------------------------------------


def own_group() -> Path | None:
    """Where a group of this process's can be made: version 1 or 2, or None."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        if number == "0" and (Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.max").exists():
            return Path("/sys/fs/cgroup") / path.lstrip("/")
    return None


@pytest.fixture
def group() -> Iterator[Callable[[int], Path]]:
    made: list[Path] = []

    def make(bytes_at_most: int) -> Path:
        parent = own_group()
        if parent is None:
            pytest.skip("this process is in no memory cgroup")
        path = parent / f"hakmem-{uuid.uuid4().hex[:8]}"
        try:
            path.mkdir()
            made.append(path)
            name = "memory.limit_in_bytes" if (path / "memory.limit_in_bytes").exists() else "memory.max"
            (path / name).write_text(str(bytes_at_most))
        except OSError as error:
            pytest.skip(f"no memory cgroup with a limit can be made here: {error}")
        return path

    yield make
    for path in made:
        path.rmdir()


def test_fits_into_a_cgroup_three_times_as_large_as_what_is_live(
    libhakmem: Path, plain: Callable[[str], Path], group: Callable[[int], Path]
) -> None:
    members = group(128 << 20) / "cgroup.procs"

    def churn(mib: int) -> int:
        return subprocess.run(
            [str(plain("stages")), "churn", str(mib)],
            env=dict(os.environ, LD_PRELOAD=str(libhakmem)),
            preexec_fn=lambda: members.write_text(str(os.getpid())) and None,
            timeout=60,
        ).returncode

    assert churn(200) == -9  # the limit is in force
    assert churn(42) == 0  # what was freed a moment ago may still be resident, in other sizes


# ---- addresses -------------------------------------------------------------------------------------


def test_addresses_above_47_bits_are_nobodys(libhakmem: Path, plain: Callable[[str], Path]) -> None:
    """What the page map says of any such value is tested in tests/c/test_page_map.c."""
    done = run([str(plain("stages")), "high"], libhakmem)
    if done.stdout == "none\n":
        pytest.skip("this machine gives no addresses above 47 bits")
    assert done.returncode == -6 and re.search("invalid pointer", done.stderr), done
