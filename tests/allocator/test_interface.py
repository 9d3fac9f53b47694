"""The whole interface: the header in every language, the names preloaded and linked statically, C++
programs that replace operators of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "allocator/include/hakmem.h"

LANGUAGES = [
    ("gcc", "c11"), ("gcc", "c99"), ("gcc", "gnu17"), ("g++", "c++11"), ("g++", "c++17"), ("g++", "c++20"),
    ("clang", "c11"), ("clang", "c99"), ("clang++", "c++11"), ("clang++", "c++17"),
]


@pytest.fixture(scope="module")
def static_library(libhakmem: Path) -> Path:
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.a"], check=True)
    return ROOT / "out/release/libhakmem.a"


def needs(compiler: str) -> str:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    return compiler


def built(compiler: str, source: str, target: Path, *flags: str) -> Path:
    suffix = ".cpp" if "++" in compiler else ".c"
    target.with_suffix(suffix).write_text(source + "\n")
    subprocess.run([needs(compiler), str(target.with_suffix(suffix)), "-o", str(target), *flags], check=True)
    return target


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


# ---- the header ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("compiler", "standard"), LANGUAGES)
def test_the_header_is_clean_in_every_language(compiler: str, standard: str, libhakmem: Path, tmp_path: Path) -> None:
    source = """
    #include <hakmem.h>
    #include <hakmem.h>
    int main(void) {
        struct hak_stats all;
        struct hak_class_stats one;
        uint64_t drains = 0;
        long delay = 0;
        void *block = hak_malloc(100);
        if (!block || hak_stats_read(&all, sizeof all) || hak_stats_read_class(1, &one, sizeof one)) return 1;
        if (hak_stats_get("drains", &drains) || hak_option_get("HAKMEM_PURGE_DELAY", &delay)) return 2;
        hak_free_sized(block, 100);
        hak_free_aligned_sized(hak_aligned_alloc(64, 100), 64, 100);
        hak_collect();
        return all.committed > 0 && one.size == 16 && delay == 200 ? 0 : 3;
    }
    """
    program = built(
        compiler, source, tmp_path / "header", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow",
        "-Wconversion", "-Werror", *(["-Wstrict-prototypes"] if "++" not in compiler else ["-Wold-style-cast"]),
        f"-I{HEADER.parent}", str(libhakmem.resolve()), f"-Wl,-rpath,{libhakmem.resolve().parent}",
    )
    assert run(program).returncode == 0


def test_every_name_of_the_header_is_exported_and_described(libhakmem: Path) -> None:
    text = HEADER.read_text()
    names = re.findall(r"^HAKMEM_API [^;(]*?(hak_\w+)\(", text, re.M)
    assert len(names) >= 20
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", str(libhakmem)], capture_output=True, text=True, check=True
    ).stdout
    for name in names:
        assert re.search(rf"\b{name}$", exported, re.M), name
    # Each declaration, or the group that it stands in, follows a comment.
    for match in re.finditer(r"\n\n(HAKMEM_API)", text):
        pytest.fail(f"a declaration without a comment: {text[match.start() + 2:][:60]!r}")


# ---- C ---------------------------------------------------------------------------------------------


def test_c_names_preloaded(libhakmem: Path, tmp_path: Path) -> None:
    """Every case of the C test, in a program that was built without the library. The names that the
    C library doesn't have yet, or no longer, it was linked with from a library that ends it."""
    later = built("gcc", """
    #include <stdlib.h>
    void free_sized(void) { abort(); }
    void free_aligned_sized(void) { abort(); }
    void cfree(void) { abort(); }
    """, tmp_path / "liblater.so", "-w", "-fno-builtin", "-shared", "-fPIC")
    program = tmp_path / "interface"
    subprocess.run(
        ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-fno-builtin", "-w", f"-I{ROOT}/tests/c", "-DCHECK_PLAIN=1",
         str(ROOT / "tests/c/test_interface.c"), str(later), "-o", str(program), f"-Wl,-rpath,{tmp_path}"],
        check=True,
    )
    done = run(program, LD_PRELOAD=str(libhakmem))
    assert done.returncode == 0, done.stderr[-3000:]


def test_c_names_linked_statically(static_library: Path, tmp_path: Path) -> None:
    program = tmp_path / "interface"
    subprocess.run(
        ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-fno-builtin", "-w", f"-I{ROOT}/tests/c", "-DCHECK_PLAIN=1",
         str(ROOT / "tests/c/test_interface.c"), str(static_library), "-o", str(program), "-static", "-pthread"],
        check=True,
    )
    done = run(program)
    assert done.returncode == 0, done.stderr[-3000:]


GLIBC_NAMES = r"""
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), *__libc_valloc(size_t), *__libc_pvalloc(size_t);
extern void __libc_free(void *);
int main(void) {
    for (int i = 0; i < 1000; i++) {
        free(__libc_malloc(100));
        free(__libc_realloc(__libc_calloc(3, 100), 5000));
        free(__libc_memalign(256, 100));
        free(__libc_valloc(100));
        free(__libc_pvalloc(100));
        __libc_free(realloc(malloc(100), 70000));
    }
    puts("ok");
    return 0;
}
"""


@pytest.mark.parametrize("way", ["preloaded", "static"])
def test_blocks_under_glibcs_own_names_end_in_free(
    way: str, libhakmem: Path, static_library: Path, tmp_path: Path
) -> None:
    flags = [str(static_library), "-static", "-pthread"] if way == "static" else []
    program = built("gcc", GLIBC_NAMES, tmp_path / "names", "-O1", "-fno-builtin", *flags)
    environment = {} if way == "static" else {"LD_PRELOAD": str(libhakmem)}
    done = run(program, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_old_programs_find_cfree(libhakmem: Path, tmp_path: Path) -> None:
    """No new program can be linked with it; old ones look it up."""
    program = built("gcc", """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdlib.h>
    int main(void) {
        void (*cfree)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
        cfree(malloc(100));
        cfree(NULL);
        return 0;
    }
    """, tmp_path / "old", "-w", "-ldl")
    done = run(program, LD_PRELOAD=str(libhakmem))
    assert (done.returncode, done.stderr) == (0, "")


def test_trim_threshold_of_minus_one_keeps_memory(libhakmem: Path, tmp_path: Path) -> None:
    program = built("gcc", """
    #include <hakmem.h>
    #include <malloc.h>
    int main(void) {
        long delay = 0;
        if (mallopt(M_TRIM_THRESHOLD, 1 << 20) != 1 || hak_option_get("HAKMEM_PURGE_DELAY", &delay) || delay != 200)
            return 1;
        if (mallopt(M_TRIM_THRESHOLD, -1) != 1 || hak_option_get("HAKMEM_PURGE_DELAY", &delay) || delay != -1)
            return 2;
        return 0;
    }
    """, tmp_path / "trim", f"-I{HEADER.parent}", str(libhakmem.resolve()),
                    f"-Wl,-rpath,{libhakmem.resolve().parent}")
    assert run(program).returncode == 0


def test_malloc_info_is_well_formed(libhakmem: Path, tmp_path: Path) -> None:
    from xml.etree import ElementTree

    program = built("gcc", """
    #include <malloc.h>
    #include <stdio.h>
    #include <stdlib.h>
    int main(void) {
        for (int i = 0; i < 10000; i++) if (!malloc((size_t)i)) return 1;
        return malloc_info(0, stdout);
    }
    """, tmp_path / "information", "-O0")
    done = run(program, LD_PRELOAD=str(libhakmem))
    assert done.returncode == 0
    tree = ElementTree.fromstring(done.stdout)
    assert tree.tag == "malloc" and tree.get("version") == "1"
    sizes = tree.findall("heap/sizes/size")
    assert sizes
    for size in sizes:
        assert int(size.get("total")) == int(size.get("count")) * int(size.get("to"))
    for path in ("heap/total", "heap/system", "heap/aspace", "total", "system", "aspace"):
        assert tree.findall(path), path


# ---- C++ -------------------------------------------------------------------------------------------

# A program's own single forms alone: what arrays, sized deletes and nothrow bring must come to them.
# Its blocks are no blocks of malloc's, so that whoever frees them as such is found.
OWN_OPERATORS = r"""
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
static int news, deletes;
alignas(64) static char pool[1 << 20];
static std::size_t used;
static void *take(std::size_t size, std::size_t alignment) {
    news++;
    used = (used + alignment - 1) / alignment * alignment;
    void *block = pool + used;
    used += size;
    return block;
}
void *operator new(std::size_t size) { return take(size, 16); }
void operator delete(void *block) noexcept { if (block) deletes++; }
#ifdef ALIGNED
void *operator new(std::size_t size, std::align_val_t alignment) {
    return take(size, static_cast<std::size_t>(alignment));
}
void operator delete(void *block, std::align_val_t) noexcept { if (block) deletes++; }
#endif
struct Plain { int values[10]; };
struct Counted { int values[10]; ~Counted() {} };
struct alignas(64) Wide { char values[64]; };
int main() {
    delete new Plain;
    delete new Counted;
    delete[] new Plain[5];
    delete[] new Counted[5];
    delete new (std::nothrow) Counted;
    delete[] new (std::nothrow) Counted[3];
    ::operator delete(::operator new(10), std::size_t{10});
    ::operator delete[](::operator new[](10), std::size_t{10});
    ::operator delete(::operator new(10), std::nothrow);
    ::operator delete[](::operator new[](10), std::nothrow);
    int expected = 10;
#ifdef ALIGNED
    delete new Wide;
    delete[] new Wide[3];
    delete new (std::nothrow) Wide;
    std::align_val_t a{64};
    ::operator delete(::operator new(10, a), std::size_t{10}, a);
    ::operator delete[](::operator new[](10, a), std::size_t{10}, a);
    ::operator delete(::operator new(10, a), a, std::nothrow);
    ::operator delete[](::operator new[](10, a), a, std::nothrow);
    expected += 7;
#endif
    std::free(std::malloc(100));
    std::printf("%d %d %d\n", news - expected, deletes - expected, expected);
    return news == expected && deletes == expected ? 0 : 1;
}
"""


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("way", ["preloaded", "linked", "static"])
def test_a_programs_own_operators_serve_all_forms(
    way: str, aligned: bool, compiler: str, libhakmem: Path, static_library: Path, tmp_path: Path
) -> None:
    flags = {
        "preloaded": [],
        "linked": [str(libhakmem.resolve()), f"-Wl,-rpath,{libhakmem.resolve().parent}"],
        "static": [str(static_library), "-static", "-pthread"],
    }[way]
    program = built(
        compiler, OWN_OPERATORS, tmp_path / "own", "-std=c++17", "-fsized-deallocation", "-O0", "-w", *(["-DALIGNED"] if aligned else []), *flags
    )
    environment = {"LD_PRELOAD": str(libhakmem)} if way == "preloaded" else {}
    done = run(program, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cxx_operators_linked_statically(static_library: Path, tmp_path: Path) -> None:
    """All that operators.cpp checks, but for which library the names come from."""
    program = tmp_path / "operators"
    subprocess.run(
        [needs("g++"), "-std=c++17", "-O1", "-fno-builtin", "-w", str(ROOT / "tests/allocator/operators.cpp"), "-o",
         str(program), str(static_library), "-static-libstdc++", "-static-libgcc", "-pthread"],
        check=True,
    )
    done = run(program)
    assert [line for line in done.stdout.splitlines() if not line.endswith(" is not hakmem's")] == [], done.stdout
    assert done.returncode in (0, 1)
    assert done.stderr == ""


PLUGIN = r"""
#include <cstddef>
#include <new>
static int called;
static void handler() { if (++called == 3) throw 7; }
extern "C" int fails(void) {
    int found = 0;
    try { ::operator new(std::size_t{1} << 60); } catch (const std::bad_alloc &) { found |= 1; }
    try { ::operator new[](std::size_t{1} << 60, std::align_val_t{64}); } catch (const std::bad_alloc &) { found |= 2; }
#ifndef WITHOUT_NOTHROW
    if (!::operator new(std::size_t{1} << 60, std::nothrow))
#endif
        found |= 4;
    std::set_new_handler(handler);
    try { ::operator new(std::size_t{1} << 60); } catch (int thrown) { if (thrown == 7 && called == 3) found |= 8; }
    return found;
}
"""


@pytest.mark.parametrize("runtime", ["libstdc++", "libc++abi"])
def test_new_throws_in_a_plug_in_that_brought_the_cxx_runtime(runtime: str, libhakmem: Path, tmp_path: Path) -> None:
    """The program is in C, and had no C++ runtime when it was loaded."""
    flags = []
    if runtime == "libc++abi":
        library = subprocess.run(["gcc", "-print-file-name=libc++abi.so.1"], capture_output=True, text=True).stdout.strip()
        if not os.path.isabs(library):
            pytest.skip("libc++abi.so.1 is not installed")
        flags = ["-DWITHOUT_NOTHROW", "-nodefaultlibs", library, "-lgcc_s", "-lc"]
    built("g++", PLUGIN, tmp_path / "plugin.so", "-std=c++17", "-w", "-O0", "-shared", "-fPIC", *flags)
    program = built("gcc", """
    #include <dlfcn.h>
    int main(int argc, char **argv) {
        void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        return argc == 2 && plugin ? ((int (*)(void))dlsym(plugin, "fails"))() : 99;
    }
    """, tmp_path / "host", "-w", "-ldl")
    done = run(program, str(tmp_path / "plugin.so"), LD_PRELOAD=str(libhakmem))
    assert (done.returncode, done.stderr) == (15, "")


def test_new_without_any_cxx_runtime_says_so(libhakmem: Path, tmp_path: Path) -> None:
    source = "#include <stddef.h>\nvoid *_Znwm(size_t);\nint main(void) { return !_Znwm((size_t)1 << 60); }"
    program = built("gcc", source, tmp_path / "plain", str(libhakmem.resolve()),
                    f"-Wl,-rpath,{libhakmem.resolve().parent}")
    done = run(program)
    assert done.returncode == -6 and "no C++ runtime to throw std::bad_alloc" in done.stderr


@pytest.mark.parametrize("language", ["gcc", "g++"])
def test_a_static_link_has_no_warnings(language: str, static_library: Path, tmp_path: Path) -> None:
    """That of dlopen in a static program above all; and C++'s own runtime is there to throw."""
    source = {
        "gcc": "#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }",
        "g++": """#include <new>
               int main() { try { ::operator new(1ul << 60); } catch (const std::bad_alloc &) { return 0; } return 1; }""",
    }[language]
    program = built(language, source, tmp_path / "static", "-O0", "-w", str(static_library), "-static", "-pthread",
                    "-Wl,--fatal-warnings")
    assert run(program).returncode == 0


def test_a_c_program_needs_no_cxx_runtime(libhakmem: Path) -> None:
    needed = subprocess.run(["readelf", "-d", str(libhakmem)], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"NEEDED.*\[(.*)\]", needed) == ["libc.so.6"]
