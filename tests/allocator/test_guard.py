"""The guard build, and HAKMEM_CHECK=1 in any, find each misuse of a small block and names it, and disturbs no correct program."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from test_misuse import compile_program

ROOT = Path(__file__).resolve().parents[2]
MISUSES = {
    "double_free": ("char *q = malloc(40); free(q); free(q);", "was already freed (double free)"),
    "double_free_after_others": (
        "char *b[300]; for (int i = 0; i < 300; i++) b[i] = malloc(40);"
        "for (int i = 0; i < 300; i++) free(b[i]); free(b[7]);",
        "was already freed (double free)",
    ),
    "one_byte_too_far": ("char *q = malloc(41); q[41] = 1; free(q);", "written to beyond its end, at byte 41"),
    "trailer_overwritten": ("char *q = malloc(40); memset(q, 1, 64); free(q);", "written to beyond its end"),
    "inside_a_block": ("char *q = malloc(40); free(q + 16);", "it points 16 bytes into a block of 64 bytes that begins at"),
    "written_after_free": (
        "char *q = malloc(40); free(q); q[20] = 1; for (int i = 0; i < 100; i++) p = malloc(40);",
        "was written to after it was freed, at byte 20",
    ),
    "never_handed_out": ("char *q = malloc(40); free(q - (size_t)q % 65536 + 64 * 900);", "was never handed out"),
    "realloc_of_freed": ("char *q = malloc(40); free(q); p = realloc(q, 400);", "was already freed"),
    "usable_size_of_freed": ("char *q = malloc(40); free(q); return malloc_usable_size(q);", "was already freed"),
    "one_byte_into_the_trailer": ("char *q = malloc(32744); q[32752] = 1; free(q);", "beyond its end, at byte 32752"),
    "calloc_overflow": ("char *q = calloc(3, 100); q[300] = 1; free(q);", "written to beyond its end, at byte 300"),
    "aligned_overflow": (
        "char *q = aligned_alloc(256, 256); q[256] = 1; free(q);", "written to beyond its end, at byte 256"
    ),
    "link_overwritten": (
        "char *b[40000]; for (int i = 0; i < 40000; i++) b[i] = malloc(40);"
        "for (int i = 0; i < 40000; i++) free(b[i]);"
        "for (int i = 0; i < 40000; i++) *(long *)b[i] += 24;"
        "for (int i = 0; i < 40000; i++) b[i] = malloc(40);",
        "which is none of its blocks",
    ),
}


@pytest.fixture(scope="session")
def guard_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    subprocess.run(["make", "-s", "-C", str(ROOT), "VARIANT=guard", "libhakmem.so"], check=True)
    link = tmp_path_factory.mktemp("guard") / "libhakmem.so"
    link.symlink_to(ROOT / "out/guard/libhakmem.so")
    return link


@pytest.fixture(params=["guard build", "HAKMEM_CHECK=1"])
def checked(request: pytest.FixtureRequest, guard_library: Path, libhakmem: Path) -> dict[str, str]:
    """An environment in which every block is checked."""
    if request.param == "guard build":
        return dict(os.environ, LD_PRELOAD=str(guard_library))
    return dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_CHECK="1")


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_named_and_aborts(name: str, checked: dict[str, str], tmp_path: Path) -> None:
    body, message = MISUSES[name]
    program = compile_program(tmp_path / name, body)
    done = subprocess.run([str(program)], env=checked, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGABRT, (done.returncode, done.stderr)
    assert done.stderr.startswith("hakmem: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "-c", "ls -lR /usr/include | sort | tail -1"],
        ["/usr/bin/python3", "-c", "import json; print(len(json.dumps([{str(i): i} for i in range(50000)])))"],
        ["gcc", "-O2", "-x", "c", "-c", str(ROOT / "allocator/base/size_class.c"), "-I", str(ROOT / "allocator"), "-o", "/dev/null"],
        ["perl", "-e", 'my %h; $h{$_ % 5000} .= "x" x ($_ % 300) for 1..200000; print scalar keys %h'],
    ],
    ids=["shell", "python", "gcc", "perl"],
)
def test_correct_programs_run_the_same(command: list[str], checked: dict[str, str]) -> None:
    plain = subprocess.run(command, capture_output=True, timeout=120)
    guarded = subprocess.run(command, capture_output=True, timeout=120, env=dict(checked, HAKMEM_STATS="1"))
    assert plain.returncode == guarded.returncode == 0, guarded.stderr[-1000:]
    assert plain.stdout == guarded.stdout
    assert b"hakmem: counters at exit" in guarded.stderr


@pytest.mark.parametrize("driver", [
    ["larson_hakmem", "8", "20000", "256"],
    ["bench_random_mixed_hakmem", "100000", "16384", "42", "--threads", "2"],
    ["xmalloc_hakmem", "--allocators", "2", "--releasers", "2", "--operations", "20000", "--size", "mix"],
    ["mstress_hakmem", "4", "2000", "30"],
    ["thread_churn_hakmem", "4", "100", "100"],
], ids=lambda d: d[0])
def test_drivers_pass_every_check(driver: list[str]) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT), "VARIANT=guard", driver[0]], check=True)
    done = subprocess.run(
        [str(ROOT / "out/guard" / driver[0]), *driver[1:], "--check"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_slabs_that_change_hands_at_every_chance_stay_sound() -> None:
    """In this build a heap gives a slab up as soon as it may: what it still remembers of it must do no
    harm."""
    subprocess.run(["make", "-s", "-C", str(ROOT), "VARIANT=guard", "test_reuse"], check=True)
    done = subprocess.run(
        [str(ROOT / "out/guard/tests/test_reuse"), "a_slab_that_was_given_up_is_not_kept"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 test(s) run" in done.stdout + done.stderr
