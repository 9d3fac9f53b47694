"""The aarch64 build, cross-compiled and run under qemu's user mode, passes the tests of the native one.

This proves that the code is right on that machine: instructions, calling conventions, thread-local
storage, pages of 4 and 64 KiB, atomics with and without the LSE instructions.

It does not prove the memory orders: qemu runs each thread on a thread of the host, and an x86-64
host reorders far less than an aarch64 processor may. Those are argued in the comments at the atomic
operations. Nor does it reach addresses beyond 47 bits, which the host doesn't give out.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_c import cases

ROOT = Path(__file__).resolve().parents[2]
SYSROOT = Path("/usr/aarch64-linux-gnu")
FULL, SMALL = ROOT / "out/aarch64", ROOT / "out/aarch64-small"
PAGE_64K = 65536
MAKE = ["make", "-s", "-C", str(ROOT), "CC=aarch64-linux-gnu-gcc", "CFLAGS=-Werror"]

# Cases that can't run here, and why.
SKIPPED = {
    "a_failed_resize_unmaps_nothing_else": "it reserves a TiB again and again, which qemu enters in its books "
    "page by page: 40 s, and 75 s with pages of 64 KiB",
}
# The programs about threads run in the small form that the sanitizer builds have (fewer rounds, and
# no look at the resident size): qemu keeps 280 KiB of its own for every thread that ever was, and
# copies its books at every fork.
SMALL_PROGRAMS = "test_thread"
# But these run in full: they are fast, and the small form leaves out what matters here.
FULL_CASES = {"destructors_may_allocate"}

MISSING = [
    package
    for package, there in (
        ("gcc-aarch64-linux-gnu", shutil.which("aarch64-linux-gnu-gcc")),
        ("libc6-dev-arm64-cross", (SYSROOT / "lib/ld-linux-aarch64.so.1").exists()),
        ("qemu-user", shutil.which("qemu-aarch64")),
    )
    if not there
]
if platform.machine() == "aarch64":
    pytestmark = pytest.mark.skip(reason="this machine is an aarch64: all other tests are about that build")
else:
    pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed (packages): {', '.join(MISSING)}")


def emulated(
    *command: object, page: int = 4096, options: tuple[str, ...] = (), timeout: float = 120
) -> subprocess.CompletedProcess:
    qemu = ["qemu-aarch64", "-L", str(SYSROOT), "-p", str(page), *options]
    return subprocess.run([*qemu, *map(str, command)], capture_output=True, text=True, timeout=timeout)


def driver(program: Path, *arguments: str, **how) -> dict:
    """The JSON of a run under --check; an x86-64 program runs as it is."""
    command = [str(program), *arguments, "--check", "--json"]
    if FULL in program.parents:
        done = emulated(*command, **how)
    else:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["check"]["errors"] == 0 and result["check"]["blocks"] > 1000
    return result


@pytest.fixture(scope="module")
def build() -> None:
    """Without a warning, and the native drivers to compare with."""
    programs = [f"{workload}_hakmem" for workload in ("larson", "bench_random_mixed", "xmalloc")]
    subprocess.run(
        [*MAKE, f"OUT={FULL.relative_to(ROOT)}", "tests", "libhakmem.so", "libhakmem.a", "larson_system", "stress",
         *programs],
        check=True,
    )
    small = sorted(source.stem for source in (ROOT / "tests/c").glob(f"{SMALL_PROGRAMS}*.c"))
    subprocess.run(
        [*MAKE, f"OUT={SMALL.relative_to(ROOT)}", "TEST_DEFINES=-DHAKMEM_SANITIZED=1", *small], check=True
    )
    subprocess.run(["make", "-s", "-C", str(ROOT), *programs], check=True)


def run_case(program: str, case: str, page: int) -> None:
    small = program.startswith(SMALL_PROGRAMS) and case not in FULL_CASES
    done = emulated((SMALL if small else FULL) / "tests" / program, case, page=page)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    assert "] 1 test(s) run" in output, f"{case} did not run: {output[-1000:]}"


@pytest.mark.parametrize(("program", "case"), cases())
def test_case(build: None, program: str, case: str) -> None:
    if case in SKIPPED:
        pytest.skip(SKIPPED[case])
    run_case(program, case, 4096)


# qemu then tells the program of such pages and places mappings by them; the rest it does as ever,
# so that what a kernel would refuse is looked for below.
@pytest.mark.parametrize(
    ("program", "case"),
    [(p, c) for p, c in cases() if not p.startswith(SMALL_PROGRAMS) and p != "test_size_class" and c not in SKIPPED],
)
def test_case_with_pages_of_64_kib(build: None, program: str, case: str) -> None:
    run_case(program, case, PAGE_64K)


CALL = re.compile(r"\b(mmap|munmap|mprotect|madvise|mremap)\((NULL|0x[0-9a-f]+|\d+),(-?\d+)([^)]*)\)")


def calls_off_the_page(trace: str) -> tuple[list[str], set[str]]:
    """The allocator's calls in qemu's trace that a kernel with pages of 64 KiB would refuse or round,
    and the names of all its calls."""
    # The loader's own come first; the allocator's first mapping is the page map.
    lines = trace.splitlines()
    first = next(number for number, line in enumerate(lines) if "MAP_NORESERVE" in line)
    wrong, names = [], set()
    for line in lines[first:]:
        match = CALL.search(line)
        # NOHUGEPAGE is advice: where it is refused, nothing else changes.
        if not match or "MADV_NOHUGEPAGE" in match.group(4):
            continue
        names.add(match.group(1))
        address = 0 if match.group(2) == "NULL" else int(match.group(2), 0)
        if address % PAGE_64K or int(match.group(3)) % PAGE_64K:
            wrong.append(line)
    return wrong, names


@pytest.mark.parametrize(
    ("program", "case", "expected"),
    [
        ("test_api", "realloc_keeps_the_contents", {"mmap", "munmap", "mprotect", "madvise", "mremap"}),
        ("test_api", "alignments_are_kept", {"mmap", "mprotect"}),
        ("test_pool", "zeroed_is_true_or_not_said", {"mmap", "mprotect", "madvise"}),
    ],
)
def test_system_calls_fit_pages_of_64_kib(build: None, program: str, case: str, expected: set[str]) -> None:
    done = emulated(FULL / "tests" / program, case, page=PAGE_64K, options=("-strace",))
    assert done.returncode == 0, done.stderr[-2000:]
    wrong, names = calls_off_the_page(done.stderr)
    assert wrong == []
    assert names >= expected


def test_a_call_off_the_page_is_found() -> None:
    start = "7 mmap(NULL,0,PROT_READ,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0) = 0x0000005503b00000\n"
    good = "7 madvise(0x0000005603cd0000,131072,MADV_DONTNEED) = 0\n"
    bad = ["7 madvise(0x0000005603cd1000,65536,MADV_DONTNEED) = 0", "7 munmap(0x0000005603cd0000,4096) = 0"]
    wrong, names = calls_off_the_page(start + good + "\n".join(bad))
    assert wrong == bad and names == {"mmap", "madvise", "munmap"}


# cortex-a53 has no LSE instructions: the atomics are load-exclusive loops there. max has them.
@pytest.mark.parametrize("cpu", ["max", "cortex-a53"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("larson_hakmem", ("4", "10000", "256")),
        ("larson_hakmem", ("2", "3000", "60000")),
        ("bench_random_mixed_hakmem", ("100000", "256", "42")),
        ("bench_random_mixed_hakmem", ("5000", "200000", "7")),
        ("xmalloc_hakmem", ("--threads", "4", "--operations", "20000")),
    ],
)
def test_drivers_do_what_they_do_on_x86_64(build: None, name: str, arguments: tuple[str, ...], cpu: str) -> None:
    ours = driver(FULL / name, *arguments, options=("-cpu", cpu))
    assert ours["provider"]["name"] == "hakmem"
    assert Path(ours["provider"]["path"]) == FULL / "libhakmem.so"
    theirs = driver(ROOT / "out/release" / name, *arguments)
    for key in ("operations", "checksum", "arguments"):
        assert ours.get(key) == theirs.get(key), key
    assert "checksum" in ours or name.startswith("xmalloc")


def test_serves_a_program_that_it_is_preloaded_into(build: None, tmp_path: Path) -> None:
    library = tmp_path / "libhakmem.so"  # a path without a space, which would end it
    library.symlink_to(FULL / "libhakmem.so")
    result = driver(FULL / "larson_system", "4", "5000", "256", options=("-E", f"LD_PRELOAD={library}"))
    assert result["provider"]["name"] == "hakmem"


@pytest.mark.parametrize(("page", "seconds"), [(4096, 4), (PAGE_64K, 3)])
def test_survives_the_stress_test(build: None, page: int, seconds: int) -> None:
    # Its resident size is qemu's as well: left out.
    limits = ("--max-live", "128", "--resident-percent", "0")
    done = emulated(FULL / "stress", "--seed", "42", "--seconds", str(seconds), "--threads", "8", *limits, page=page)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]


def tool(name: str, *arguments: str) -> str:
    command = [f"aarch64-linux-gnu-{name}", *arguments, str(FULL / "libhakmem.so")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def code_of(function: str) -> str:
    """Its instructions, found by address: at one with two names (malloc, hak_malloc) the tools show either."""
    rows = [row.split() for row in tool("readelf", "-sW").splitlines()]
    start, size = next((int(row[1], 16), int(row[2], 0)) for row in rows if row[7:] == [function])
    return tool("objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={start + size}")


def test_thread_local_data_are_at_a_fixed_offset(build: None) -> None:
    """The hit paths of malloc and free add an offset to the thread register, and call nothing."""
    relocations = tool("readelf", "-rW")
    assert "R_AARCH64_TLS_TPREL64" in relocations
    assert "TLSDESC" not in relocations and "DTPMOD" not in relocations
    for function in ("malloc", "free"):
        code = code_of(function)
        assert "tpidr_el0" in code
        assert not re.search(r"\t(bl|blr|ldxr|ldaxr|cas|dmb)\w*\s", code), code


def test_baselines_of_this_machine_are_not_linked() -> None:
    for allocator in ("mimalloc", "jemalloc"):
        done = subprocess.run(
            [*MAKE, "-n", "OUT=out/aarch64", f"lib_{allocator}=libnosuch.so.9", f"larson_{allocator}"],
            capture_output=True, text=True,
        )
        assert "libnosuch.so.9 was not found for aarch64; install the package" in done.stdout + done.stderr
    everything = subprocess.run([*MAKE, "-n", "OUT=out/aarch64", "all"], capture_output=True, text=True)
    assert everything.returncode == 0
    assert "x86_64-linux-gnu" not in everything.stdout
