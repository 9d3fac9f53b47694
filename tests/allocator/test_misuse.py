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
    "realloc_upper_bits": (
        "char *q = malloc(100); p = realloc((void *)((unsigned long)q | 1ul << 60), 100);", "invalid pointer",
    ),
    "realloc_foreign": ("int x; p = realloc(&x, 10);", "invalid pointer"),
    "usable_foreign": ("int x; malloc_usable_size(&x);", "invalid pointer"),
    # Taken for a block until it comes home.
    "never_handed_out": (
        "char *q = malloc(48); free(q - (size_t)q % 65536 + 48 * 900); malloc_trim(0);",
        "no block was ever handed out there",
    ),
    "behind_the_last_block_48": (
        "char *q = malloc(48); q -= (size_t)q % 65536; free(q + 65536 / 48 * 48);", "behind the last block"
    ),
    "behind_the_last_block_21824": (
        "char *q = malloc(21824); q -= (size_t)q % 65536; free(q + 65536 / 21824 * 21824);", "behind the last block"
    ),
    "usable_size_behind_the_last_block": (
        "char *q = malloc(1040); q -= (size_t)q % 65536; malloc_usable_size(q + 65520);", "behind the last block"
    ),
    # By another thread: found as soon as it would go home to the slab's owner.
    "never_handed_out_by_another_thread": (
        "pthread_t t; char *q = malloc(48); q = q - (size_t)q % 65536 + 48 * 900;"
        "pthread_create(&t, 0, (void *(*)(void *))free, q); pthread_join(t, 0);",
        "no block was ever handed out there",
    ),
    "list_overwritten": (
        "char *b[40000]; for (int i = 0; i < 40000; i++) b[i] = malloc(48);"
        "for (int i = 0; i < 40000; i++) free(b[i]);"
        "for (int i = 0; i < 40000; i++) memset(b[i], 0x62, 48);"
        "for (int i = 0; i < 40000; i++) b[i] = malloc(48);",
        "written to after it was freed",
    ),
}


# Each with every kind of size: small and medium in a slab, a span, a mapping of its own. `n` is the
# size; what is done in between, and what has to be said at least.
SCENARIOS = {
    "at_once": ("char *q = malloc(n); free(q); free(q);", ""),
    "after_other_frees": (
        "char *b[300]; for (int i = 0; i < 300; i++) b[i] = malloc(n); for (int i = 0; i < 300; i++) free(b[i]); free(b[7]);",
        "",
    ),
    "after_frees_of_other_sizes": (
        "char *q = malloc(n); void *b[900]; for (int i = 0; i < 900; i++) b[i] = malloc(i * 40);"
        "free(q); for (int i = 0; i < 900; i++) free(b[i]); free(q);",
        "",
    ),
    # The sizes differ from n's class: what was given a block again could not be told from it.
    "after_many_other_calls": (
        "char *q = malloc(n); free(q);"
        "for (int i = 0; i < 100000; i++) { void *x = malloc(i % 200 + (n < 300 ? 400 : 50)); memset(x, 1, 50); free(x); }"
        "free(q);",
        "",
    ),
    "handed_out_again_and_freed": (
        "char *q = malloc(n); free(q); for (int i = 0; i < 1000; i++) { char *r = malloc(n); memset(r, 3, n); free(r); } free(q);",
        "",
    ),
    "freed_by_another_thread": (
        "char *q = malloc(n); pthread_t t; pthread_create(&t, 0, (void *(*)(void *))free, q); pthread_join(t, 0); free(q);",
        "",
    ),
    "of_an_ended_thread": (
        "pthread_t t; char *q; pthread_create(&t, 0, (void *(*)(void *))malloc, (void *)n); pthread_join(t, (void **)&q);"
        "free(q); free(q);",
        "",
    ),
    "realloc_of_freed": ("char *q = malloc(n); free(q); p = realloc(q, 2 * n);", ""),
    "realloc_of_freed_to_the_same": ("char *q = malloc(n); free(q); p = realloc(q, n);", ""),
    "by_one_byte": ("char *q = malloc(n); free(q + 1);", "invalid pointer"),
    "by_a_word": ("char *q = malloc(n); free(q + 8);", "invalid pointer"),
    "before_it": ("char *q = malloc(n); free(q - 1);", "invalid pointer"),
    "in_the_middle": ("char *q = malloc(n); if (n > 31) free(q + n / 2 / 16 * 16); else free(q + 12);", "invalid pointer"),
    "calloc_twice": ("char *q = calloc(1, n); free(q); free(q);", ""),
    "aligned_twice": ("char *q = aligned_alloc(64, n); free(q); free(q);", ""),
    "realloc_interior": ("char *q = malloc(n); p = realloc(q + 8, n);", "invalid pointer"),
}
SIZES = [1, 16, 24, 100, 1000, 2500, 9000, 32768, 100_000, 1_000_000, 3_000_000]


def compile_program(path: Path, body: str, *flags: str) -> Path:
    source = path.with_suffix(".c")
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <malloc.h>\n#include <pthread.h>\n#include <sys/mman.h>\n"
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


@pytest.mark.parametrize("check", ["0", "1"], ids=["release", "checked"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_wrong_free_is_found(name: str, check: str, libhakmem: Path, tmp_path: Path) -> None:
    body, message = SCENARIOS[name]
    program = compile_program(tmp_path / name, "size_t n = strtoul(getenv(\"SIZE\"), 0, 10);" + body, "-pthread")
    for size in SIZES:
        for page_map in ("1", "2"):
            environment = dict(os.environ, LD_PRELOAD=str(libhakmem), HAKMEM_PAGE_MAP=page_map, SIZE=str(size),
                               HAKMEM_CHECK=check)
            done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=30)
            assert done.returncode == -signal.SIGABRT, (size, page_map, done.returncode, done.stderr)
            assert done.stderr.startswith("hakmem: ") and done.stderr.count("\n") == 1
            assert message in done.stderr, (size, done.stderr)


def test_a_mark_in_the_programs_own_data_is_no_double_free(libhakmem: Path, tmp_path: Path) -> None:
    """What stands in the second word of a free block may reach the program only by a look at memory that
    it was given uninitialised; copied into other blocks it must not make them look free."""
    body = """
    char *b[4096];
    for (int i = 0; i < 4096; i++) b[i] = malloc(64);
    for (int i = 0; i < 4096; i += 2) free(b[i]);
    for (int i = 0; i < 4096; i += 2) memcpy(b[i + 1], b[i], 64);  /* read after free: harmless so far */
    for (int i = 1; i < 4096; i += 2) free(b[i]);
    for (int i = 0; i < 4096; i++) { b[i] = malloc(48); }          /* uninitialised, and freed as it is */
    for (int i = 0; i < 4096; i++) free(b[i]);
    """
    program = compile_program(tmp_path / "copies", body)
    done = subprocess.run([str(program)], env=dict(os.environ, LD_PRELOAD=str(libhakmem)), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


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
