"""What a program does wrong ends in a clear message, not in silence."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

MISUSES = {
    "stack": ("int x; free(&x);", "invalid pointer"),
    "wild": ("free((void *)0x6261626162616261);", "invalid pointer"),
    "inside_span": ("char *q = malloc(100000); free(q + 16);", "invalid pointer"),
    "inside_huge": ("char *q = malloc(5000000); free(q + 16);", "invalid pointer"),
    "twice_span": ("char *q = malloc(100000); free(q); free(q);", "invalid pointer"),
    "twice_huge": ("char *q = malloc(5000000); free(q); free(q);", "invalid pointer"),
    "realloc_foreign": ("int x; p = realloc(&x, 10);", "invalid pointer"),
    "usable_foreign": ("int x; malloc_usable_size(&x);", "invalid pointer"),
    "list_overwritten": (
        "char *b[40000]; for (int i = 0; i < 40000; i++) b[i] = malloc(48);"
        "for (int i = 0; i < 40000; i++) free(b[i]);"
        "for (int i = 0; i < 40000; i++) memset(b[i], 0x62, 48);"
        "for (int i = 0; i < 40000; i++) b[i] = malloc(48);",
        "written to after it was freed",
    ),
}


def compile_program(path: Path, body: str, *flags: str) -> Path:
    source = path.with_suffix(".c")
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <malloc.h>\n#include <sys/mman.h>\n"
        "int main(void) { void *volatile p = NULL; (void)p;\n" + body + "\nreturn 0; }\n"
    )
    subprocess.run(["gcc", "-w", "-O0", "-g", "-fno-builtin", str(source), "-o", str(path), *flags], check=True)
    return path


@pytest.mark.parametrize("name", MISUSES)
@pytest.mark.parametrize("page_map", ["1", "2"])
def test_misuse_is_named_and_aborts(name: str, page_map: str, libhakmem: Path, tmp_path: Path) -> None:
    body, message = MISUSES[name]
    program = compile_program(tmp_path / name, body)
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_PAGE_MAP=page_map)
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGABRT, (done.returncode, done.stderr)
    assert done.stderr.startswith("hakmem: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("HAKMEM_PURGE_DELAY", "soon"), ("HAKMEM_PURGE_DELAY", "-2"), ("HAKMEM_TINY_SS_ADOPT", "2"),
     ("HAKMEM_ARENA_RESERVE", ""), ("HAKMEM_DEPOT", "99999999999999999999")],
)
def test_wrong_option_is_named_and_the_default_taken(option: str, value: str, preloaded) -> None:
    done = preloaded("/bin/ls", "/", env={option: value})
    assert done.returncode == 0
    line = done.stderr.decode().splitlines()[0]
    assert line.startswith(f"hakmem: {option}={value} is not")


def test_release_prints_nothing_unasked(libhakmem: Path) -> None:
    done = subprocess.run(["/bin/ls"], env=dict(os.environ, LD_PRELOAD=str(libhakmem)), capture_output=True)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("limit_kib", [200_000, 1_000_000])
def test_little_address_space(limit_kib: int, preloaded) -> None:
    """No room for the flat page map, nor for a large piece of arena: both have a smaller form."""
    script = f"ulimit -v {limit_kib}; exec perl -e 'my @a = map {{ \"x\" x 1000 }} 1..20000; print scalar @a'"
    done = preloaded("bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"20000"


def test_little_is_taken_from_a_limited_address_space(libhakmem: Path, tmp_path: Path) -> None:
    body = """
    size_t most = 0;
    for (size_t step = (size_t)1 << 34; step >= 1 << 20; step /= 2) {
        p = malloc(most + step);
        if (p) { free(p); most += step; }
    }
    return most >> 20 > 3500 ? 0 : 1;
    """
    program = compile_program(tmp_path / "most", body)
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_CACHE_HUGE="0")
    done = subprocess.run(["bash", "-c", f"ulimit -v 4194304; exec '{program}'"], env=environment)
    assert done.returncode == 0


def test_locked_memory_does_not_fill_the_tables(libhakmem: Path, tmp_path: Path) -> None:
    body = """
    p = malloc(100);
    if (mlockall(MCL_CURRENT) != 0) return 77;
    char line[256]; long kib = 0; FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f)) if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    return kib < 65536 ? 0 : 1;
    """
    program = compile_program(tmp_path / "locked", body)
    done = subprocess.run([str(program)], env=dict(os.environ, LD_PRELOAD=str(libhakmem)))
    if done.returncode == 77:
        pytest.skip("this user may not lock memory")
    assert done.returncode == 0


def test_out_of_memory_is_null_and_the_rest_goes_on(libhakmem: Path, tmp_path: Path) -> None:
    body = """
    static void *b[100000]; int n = 0;
    while (n < 100000 && (b[n] = malloc(50000))) { memset(b[n], 1, 50000); n++; }
    if (n == 100000) return 2;
    int small = 0; void *s[2000];
    for (; small < 2000 && (s[small] = malloc(100)); small++) ;
    for (int i = 0; i < n; i++) free(b[i]);
    for (int i = 0; i < small; i++) free(s[i]);
    for (int i = 0; i < 1000; i++) { p = malloc(40000); if (!p) return 3; memset(p, 2, 40000); free(p); }
    p = malloc(1900000); if (!p) return 4; memset(p, 3, 1900000);
    """
    program = compile_program(tmp_path / "oom", body)
    environment = dict(os.environ, LD_PRELOAD=str(libhakmem))
    done = subprocess.run(["bash", "-c", f"ulimit -v 300000; exec '{program}'"], env=environment, capture_output=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
