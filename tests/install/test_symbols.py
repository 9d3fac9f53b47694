"""What libhakmem.so shows other objects and what it asks of them: the public names, and the C library."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from installing import Installed, declared

# The C library's names that hakmem takes the place of; the last line: under which glibc has them, too.
INTERPOSED = set(
    """malloc free calloc realloc reallocarray aligned_alloc memalign posix_memalign valloc pvalloc
    free_sized free_aligned_sized cfree malloc_usable_size malloc_trim mallinfo mallinfo2 malloc_info
    malloc_stats mallopt
    __libc_malloc __libc_free __libc_calloc __libc_realloc __libc_memalign __libc_valloc __libc_pvalloc""".split()
)
# operator new, delete and both of arrays: plain and aligned; delete also nothrow and with a size. new's
# nothrow forms are the C++ runtime's, which call these.
OPERATORS = {f"_Zn{kind}m{form}" for kind in "wa" for form in ("", "St11align_val_t")} | {
    f"_Zd{kind}Pv{form}" for kind in "la"
    for form in ("", "m", "RKSt9nothrow_t", "St11align_val_t", "mSt11align_val_t", "St11align_val_tRKSt9nothrow_t")}
# What may be missing in a program, and is used only where it is there: the last lines, C++'s exceptions.
OPTIONAL = {
    "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__", "__cxa_finalize",
    "_ZSt15get_new_handlerv", "__cxa_allocate_exception", "__cxa_throw", "_ZTISt9bad_alloc", "_ZTVSt9bad_alloc",
    "_ZNSt9bad_allocD1Ev",
}


def symbols(library: Path, which: str) -> dict[str, str]:
    """Names (with their version, if they have one) and kinds, as nm prints them."""
    done = subprocess.run(["nm", "-D", f"--{which}-only", str(library)], capture_output=True, text=True, check=True)
    return {line.split()[-1]: line.split()[-2] for line in done.stdout.splitlines()}


def test_the_header_is_understood() -> None:
    assert {"hak_malloc", "hak_free", "hak_version", "hak_posix_memalign", "hak_option_set"} <= declared()


def test_only_public_names_are_exported(installed: Installed) -> None:
    exported = symbols(installed.library, "defined")
    assert set(exported) == declared() | INTERPOSED | OPERATORS
    for name, kind in exported.items():  # a program may have operators of its own
        assert kind == ("W" if name in OPERATORS else "T"), name


def test_no_name_has_a_version(installed: Installed) -> None:
    """With one, the loader would not find it for a program that wants the C library's malloc."""
    assert not any("@" in name for name in symbols(installed.library, "defined"))


def test_nothing_but_the_c_library_is_needed(installed: Installed) -> None:
    dynamic = subprocess.run(["readelf", "-dW", str(installed.library)], capture_output=True, text=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert needed <= {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    assert "(TEXTREL)" not in dynamic and "(RUNPATH)" not in dynamic and "(RPATH)" not in dynamic
    for name, kind in symbols(installed.library, "undefined").items():
        plain, _, version = name.partition("@")
        if kind == "w":
            assert plain in OPTIONAL or version.startswith("GLIBC_"), name
        else:
            assert version.startswith("GLIBC_"), name


@pytest.mark.parametrize("name", ["malloc", "_Znwm"])
def test_the_archive_hides_the_same(installed: Installed, name: str) -> None:
    """A program that holds the archive shows the rest of its names to no library either."""
    done = subprocess.run(["readelf", "-sW", str(installed.prefix / "lib/libhakmem.a")], capture_output=True, text=True)
    visible = set()
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) >= 8 and words[4] in ("GLOBAL", "WEAK") and words[5] == "DEFAULT" and words[6] != "UND":
            visible.add(words[7])
    assert name in visible
    assert visible == declared() | INTERPOSED | OPERATORS


def test_threads_may_end_after_the_library_was_closed(installed: Installed, tmp_path: Path) -> None:
    source = tmp_path / "close.c"
    source.write_text(r"""
    #include <dlfcn.h>
    #include <pthread.h>
    static void *library;
    static void *work(void *unused) {
        void *(*allocate)(unsigned long) = (void *(*)(unsigned long))dlsym(library, "hak_malloc");
        return unused || !allocate(100) || dlclose(library) ? (void *)work : 0;
    }
    int main(int count, char **names) {
        pthread_t thread;
        void *end = main;
        if (count < 2 || !(library = dlopen(names[1], RTLD_NOW | RTLD_LOCAL))) return 1;
        if (pthread_create(&thread, 0, work, 0) || pthread_join(thread, &end)) return 2;
        return end ? 3 : 0;
    }
    """)
    program = source.with_suffix("")
    subprocess.run(["gcc", "-std=c11", "-Wall", "-pthread", str(source), "-o", str(program), "-ldl"], check=True)
    assert subprocess.run([str(program), str(installed.library)]).returncode == 0
