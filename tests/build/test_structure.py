"""The shape of the tree: layers, shell scripts, what must not be in the sources."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Bottom to top: a file may include what lies in its own folder or further down this list.
LAYERS = ["base", "os", "page_map", "superslab", "large", "slab", "depot", "heap", "inspect", "report", "api", "interpose"]


def sources(*patterns: str) -> list[Path]:
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        capture_output=True, text=True,
    ).stdout.split("\n")
    return [ROOT / name for name in tracked if name and (ROOT / name).is_file()]


def upward_includes(folder: Path) -> list[str]:
    wrong = []
    for path in sorted(folder.glob("*/*.[ch]")):
        layer = path.parent.name
        if layer == "include":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"(?:([a-z_]+)/)?[\w.]+"', line)
            if not match or match.group(1) is None:
                continue
            if LAYERS.index(match.group(1)) > LAYERS.index(layer):
                wrong.append(f"{path.relative_to(folder)}:{number}: {layer} includes {match.group(1)}")
    return wrong


def test_layers_only_point_down() -> None:
    assert {p.name for p in (ROOT / "allocator").iterdir() if p.is_dir()} <= {*LAYERS, "include"}
    assert upward_includes(ROOT / "allocator") == []


def test_an_arrow_that_points_up_is_found(tmp_path: Path) -> None:
    (tmp_path / "os").mkdir()
    (tmp_path / "os/os.c").write_text('#include "os/os.h"\n#include "heap/heap.h"\n')
    assert upward_includes(tmp_path) == ["os/os.c:2: os includes heap"]


def test_only_os_makes_system_calls_for_memory() -> None:
    calls = re.compile(r"\b(mmap|munmap|mremap|madvise|mprotect|sbrk)\s*\(")
    for path in (ROOT / "allocator").glob("*/*.[ch]"):
        if path.parent.name != "os":
            code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
            assert not calls.search(code), path


def test_the_freelist_is_touched_in_one_header_only() -> None:
    direct = re.compile(r"(->|\.)(freelist|remote)\b")
    for path in (ROOT / "allocator").glob("*/*.[ch]"):
        if path.name == "slab_freelist_atomic.h":
            continue
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        assert not direct.search(code), path


COMMENT = re.compile(r"/\*.*?\*/", re.S)
ORDER_WORDS = {"relaxed": ["relaxed"], "acquire": ["acquire", "acq_rel"], "release": ["release", "acq_rel"],
               "acq_rel": ["acq_rel", "acquire"], "seq_cst": ["seq_cst"]}


def unargued_orders(path: Path) -> list[str]:
    """Atomic operations in whose function, or in the comment above it, nothing says why their memory
    order is enough; those that leave it to the default, whatever a comment says, among them."""
    found = []
    text = path.read_text()
    definitions = re.split(r"\n\n(?=\S)", text)
    line = 1
    for definition in definitions:
        comments = " ".join(COMMENT.findall(definition)).lower()
        code = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), definition)
        for match in re.finditer(r"memory_order_(\w+)|\batomic_(?!\w*_explicit)(?:load|store|exchange|fetch_\w+?|compare_exchange_\w+?)\(", code):
            if not any(word in comments for word in ORDER_WORDS.get(match.group(1) or "", [])):
                found.append(f"{path.name}:{line + code[: match.start()].count(chr(10))}: {match.group()}")
        line += definition.count("\n") + 2
    return found


def test_every_memory_order_is_argued() -> None:
    wrong = [entry for path in sorted((ROOT / "allocator").glob("*/*.[ch]")) for entry in unargued_orders(path)]
    assert wrong == []


def test_an_unargued_memory_order_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.c"
    path.write_text(
        "/* relaxed: a hint */\nint f(void) {\n    return atomic_load_explicit(&x, memory_order_relaxed);\n}\n\n"
        "int g(void) {\n    return atomic_load_explicit(&x, memory_order_acquire);\n}\n\n"
        "/* relaxed */\nint h(void) {\n    return atomic_load(&x);\n}\n"
    )
    assert unargued_orders(path) == ["a.c:7: memory_order_acquire", "a.c:12: atomic_load("]


def test_shell_scripts_pass_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [p for p in sources("*.sh", ".ci/run", "scripts/*") if p.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert len(scripts) >= 5
    done = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for script in scripts:
        assert "set -euo pipefail" in script.read_text(), script


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT), f"CC={compiler}", f"OUT=out/warnings-{compiler}", "CFLAGS=-Werror", "all", "tests"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_files_are_short_and_say_what_they_are_for() -> None:
    for path in sources("*.c", "*.h", "*.py", "*.sh"):
        text = path.read_text()
        assert text.count("\n") <= 520, f"{path} has {text.count(chr(10))} lines"
        first = text.lstrip("#!/usr/bin/env python3bash\n") if text.startswith("#!") else text
        if path.name != "__init__.py":
            assert re.match(r'\s*(/\*|//|#|"""|r""")', first) or text.startswith("#!"), f"{path} begins without a comment"


def test_layout_is_clang_formats() -> None:
    if not shutil.which("clang-format"):
        pytest.skip("clang-format is not installed")
    files = sources("*.c", "*.h")
    done = subprocess.run(
        ["clang-format", "--dry-run", "-Werror", *map(str, files)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[:2000]



def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    """A script's own folder is searched first, so such a module would hide the library's."""
    names = sources("*.py")
    assert len(names) > 100
    hidden = [str(name) for name in names if name.stem in sys.stdlib_module_names - {"__init__"}]
    assert not hidden
