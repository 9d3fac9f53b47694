"""Short runs of the drivers in the sanitizer builds, and proof that these find something."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = {
    "larson": ["4", "10000", "256"],
    "bench_random_mixed": ["100000", "256", "42", "--threads", "2"],
    "xmalloc": ["--allocators", "2", "--releasers", "2", "--operations", "20000", "--size", "mix"],
    "mstress": ["4", "500", "10", "--slots", "200"],
    "thread_churn": ["4", "20", "100"],
}


@pytest.mark.parametrize("variant", ["asan", "tsan"])
@pytest.mark.parametrize("workload", RUNS)
@pytest.mark.parametrize("check", [[], ["--check"]], ids=["plain", "check"])
def test_driver_runs_clean(variant: str, workload: str, check: list[str]) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT), f"VARIANT={variant}", f"{workload}_hakmem"], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("TSAN_OPTIONS", "ASAN_OPTIONS")}
    done = subprocess.run(
        [str(ROOT / "out" / variant / f"{workload}_hakmem"), *RUNS[workload], "--json", *check],
        capture_output=True, text=True, timeout=300, env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr == ""
    assert json.loads(done.stdout)["provider"]["name"] == "hakmem"


@pytest.mark.parametrize("threads", range(1, 17))
def test_no_thread_count_brings_a_warning(threads: int) -> None:
    """Every driver under ThreadSanitizer, contents checked, many hand-overs to new threads."""
    subprocess.run(
        ["make", "-s", "-C", str(ROOT), "VARIANT=tsan", *(f"{workload}_hakmem" for workload in RUNS)], check=True
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("TSAN_OPTIONS", "ASAN_OPTIONS")}
    for workload, arguments in {
        "larson": ["--threads", str(threads), "--operations", "10000", "--max", "256", "--rounds", "2"],
        "bench_random_mixed": ["20000", "256", "42", "--threads", str(threads)],
        "xmalloc": ["--threads", str(threads), "--operations", "10000", "--size", "mix"],
        "mstress": [str(threads), "200", "5"],
    }.items():
        done = subprocess.run(
            [str(ROOT / f"out/tsan/{workload}_hakmem"), *arguments, "--check"],
            capture_output=True, text=True, timeout=300, env=environment,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stderr == ""


MISUSES = {
    "use_after_free": ("p = malloc(64); free(p); ((volatile char *)p)[8] = 1;", "use-after-poison"),
    "read_after_free_large": ("p = malloc(100000); free(p); return ((volatile char *)p)[500];", "use-after-poison"),
    "overflow": ("p = malloc(65); ((volatile char *)p)[66] = 1;", "use-after-poison"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_asan_build_reports_misuse(name: str, tmp_path: Path) -> None:
    body, message = MISUSES[name]
    subprocess.run(["make", "-s", "-C", str(ROOT), "VARIANT=asan", "libhakmem.a"], check=True)
    source = tmp_path / "misuse.c"
    source.write_text("#include <stdlib.h>\nint main(void) { void *volatile p;\n" + body + "\nreturn 0; }\n")
    program = tmp_path / "misuse"
    subprocess.run(
        ["gcc", "-w", "-g", "-fno-builtin", "-fsanitize=address", str(source), "-o", str(program),
         "-Wl,--whole-archive", str(ROOT / "out/asan/libhakmem.a"), "-Wl,--no-whole-archive", "-pthread"],
        check=True,
    )
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert message in done.stderr


def test_tsan_build_reports_a_race(tmp_path: Path) -> None:
    """The program's own race on a block is found: the allocator's synchronisation hides nothing."""
    subprocess.run(["make", "-s", "-C", str(ROOT), "VARIANT=tsan", "libhakmem.a"], check=True)
    source = tmp_path / "race.c"
    source.write_text("""#include <pthread.h>
#include <stdlib.h>
static int *shared;
static void *work(void *a) { for (int i = 0; i < 100000; i++) { free(malloc(40)); shared[0]++; } return a; }
int main(void) { shared = malloc(40); shared[0] = 0; pthread_t a, b;
pthread_create(&a, 0, work, 0); pthread_create(&b, 0, work, 0);
pthread_join(a, 0); pthread_join(b, 0); free(shared); return 0; }
""")
    wrapped = ["malloc", "free", "calloc", "realloc", "malloc_usable_size"]
    program = tmp_path / "race"
    subprocess.run(
        ["gcc", "-g", "-fno-builtin", "-fsanitize=thread", str(source), "-o", str(program),
         *[f"-Wl,--wrap={name}" for name in wrapped],
         "-Wl,--whole-archive", str(ROOT / "out/tsan/libhakmem.a"), "-Wl,--no-whole-archive", "-pthread"],
        check=True,
    )
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "data race" in done.stderr
