"""The two programs as a user starts them: output, exit status, bad input, paths with a space."""
from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freelist_trees import ROOT, found_in, make_tree
from freelist_sites.main import main

ANALYZE, VERIFY = "analyze_freelist_sites.sh", "verify_atomic_freelist_conversion.sh"
GOOD = """\
void f(TinySlabMeta *s) {
    void *b = slab_freelist_pop_lockfree(s);
    if (b)
        take(b);
}
"""


def run(program: str, *arguments: object, cwd: Path = ROOT, root: Path = ROOT,
        **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(root / "scripts" / program), *map(str, arguments)], cwd=cwd, text=True,
                          capture_output=True, timeout=120, env={**os.environ, **environment})


def test_a_good_tree_passes(tmp_path: Path) -> None:
    done = run(VERIFY, make_tree(tmp_path / "with a space", GOOD))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Progress: 100% (3/3 sites)" in done.stdout and "[########" in done.stdout
    assert "2 files compile" in done.stdout and done.stdout.endswith("verify: all is well\n")
    assert f"{tmp_path}/with a space/slab/slab.c:14: ss_remote_drain_to_freelist is called in " \
        "slab_claim_then_drain(): allowed" in done.stdout


def test_findings_name_place_and_remedy(tmp_path: Path) -> None:
    code = GOOD + "void *g(TinySlabMeta *s) {\n    ss_remote_drain_to_freelist(s, 0);\n" \
        "    return s->freelist;\n}\n"
    make_tree(tmp_path / "a tree", code)
    done = run(VERIFY, "a tree/", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for start in ("a tree/heap/code.c:9: direct access to freelist in g()",
                  "a tree/heap/code.c:8: ss_remote_drain_to_freelist is called in g()"):
        at = next(i for i, line in enumerate(lines) if line.startswith(start))
        assert lines[at + 1].startswith("    what to do: ")
    assert "Progress: 75% (3/4 sites)" in done.stdout and "verify: 2 findings" in done.stdout
    assert "2 files compile" in done.stdout


def test_a_share_just_below_all_is_not_all(tmp_path: Path) -> None:
    code = "void f(TinySlabMeta *s) {\n" + "    slab_freelist_init(s);\n" * 300 + "    s->freelist = 0;\n}\n"
    done = run(VERIFY, make_tree(tmp_path, code))
    assert "Progress: 99% (302/303 sites)" in done.stdout


def test_what_does_not_compile_is_shown(tmp_path: Path) -> None:
    make_tree(tmp_path, "void f(void) {\n    return undeclared;\n}\n")
    done = run(VERIFY, tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/heap/code.c:3: doesn't compile: " in done.stdout and "undeclared" in done.stdout


MAKEFILE = """\
OUT ?= out
libhakmem.so:
\t@mkdir -p $(OUT)
\t$(CC) -Iallocator -Iallocator/include -fPIC -shared -o $(OUT)/library.so allocator/heap/code.c
"""


def checkout(folder: Path, code: str) -> Path:
    """A checkout with the programs, a Makefile and a small allocator."""
    make_tree(folder / "allocator", code)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "scripts").mkdir()
    for name in (ANALYZE, VERIFY, "python.sh"):
        shutil.copy2(ROOT / "scripts" / name, folder / "scripts" / name)
    shutil.copytree(ROOT / "scripts/freelist_sites", folder / "scripts/freelist_sites",
                    ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_checkout_beside_a_space_is_built_elsewhere(tmp_path: Path) -> None:
    root = checkout(tmp_path / "my checkout", GOOD.replace("take(b)", "(void)0"))
    before = sorted(root.rglob("*"))
    (tmp_path / "scratch").mkdir()
    done = run(VERIFY, cwd=tmp_path, root=root, OUT="elsewhere", MAKEFLAGS="n", CC="cc",
               TMPDIR=str(tmp_path / "scratch"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "make libhakmem.so succeeds" in done.stdout
    assert "allocator/slab/slab.c:14:" in done.stdout
    assert sorted(root.rglob("*")) == before and not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "scratch").iterdir()) == []
    done = run(ANALYZE, cwd=tmp_path, root=root)
    assert done.stdout.startswith("Freelist and remote-queue accesses in allocator\n")
    # make couldn't put its results below a path with a space
    assert run(VERIFY, root / "allocator", cwd=Path("/"), TMPDIR=str(root)).returncode == 0


def test_a_build_that_fails_is_shown(tmp_path: Path) -> None:
    root = checkout(tmp_path, GOOD + "int x = y;\n")
    done = run(VERIFY, root=root)
    assert done.returncode == 1 and "allocator/heap/code.c:7: doesn't compile: " in done.stdout
    (root / "Makefile").write_text("all:\n")
    done = run(VERIFY, root=root)
    assert done.returncode == 1 and "Makefile:1: make libhakmem.so fails: " in done.stdout


def test_json(tmp_path: Path) -> None:
    done = run(ANALYZE, "--json", make_tree(tmp_path, GOOD))
    document = json.loads(done.stdout)
    assert done.returncode == 0 and document["total"] == 3
    assert document["sites"][0] == {
        "file": "heap/code.c", "line": 3, "kind": "pop", "name": "slab_freelist_pop_lockfree",
        "function": "f", "macro": None, "layer": "heap", "path": "other", "lock": None, "lock_decided": None}


@pytest.mark.parametrize("program", [ANALYZE, VERIFY])
@pytest.mark.parametrize("arguments, words", [
    (["no/such folder"], "no folder 'no/such folder'"),
    (["file.c"], "'file.c' is not a folder"),
    (["empty"], "'empty' holds no C sources"),
    ([""], "name is empty"),
    (["tree", "tree"], "second, 'tree'"),
    (["--wrong"], "unknown option '--wrong'"),
    (["-j", "tree"], "unknown option '-j'"),
    (["--", "--json"], "no folder '--json'"),
])
def test_bad_input_is_one_sentence(program: str, arguments: list[str], words: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.c").write_text("int x;\n")
    done = run(program, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(program) and done.stderr.count("\n") == 1 and words in done.stderr


def test_verify_has_no_json_and_both_have_help(tmp_path: Path) -> None:
    assert run(VERIFY, "--json", make_tree(tmp_path)).returncode == 2
    for program in (ANALYZE, VERIFY):
        done = run(program, "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"usage: {program}")


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    done = run(VERIFY, make_tree(tmp_path), CC="no-such-compiler")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'no-such-compiler' is not installed" in done.stderr


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """As if by its permissions, which the superuser needn't heed."""
    read = Path.read_text

    def refuse(path: Path, *arguments: str) -> str:
        if path.name == "slab.c":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert main(["analyze", str(make_tree(tmp_path))]) == 2
    assert capsys.readouterr().err.endswith("slab/slab.c' can't be read: Permission denied\n")


# ---- the allocator itself ------------------------------------------------------------------------


def test_the_allocator_passes(tmp_path: Path) -> None:
    done = run(VERIFY, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify: all is well" in done.stdout


def test_the_allocators_fast_path_touches_no_freelist(tmp_path: Path) -> None:
    document = json.loads(run(ANALYZE, "--json", cwd=tmp_path).stdout)
    fast, warm, cold = (document["paths"][path] for path in ("fast", "warm", "cold"))
    assert {"hak_malloc_fast", "hak_free_fast"} <= set(fast["functions"]) and fast["accessing"] == {}
    assert "hak_heap_refill" in warm["functions"] and "hak_slab_take" in warm["accessing"]
    assert "at_thread_end" in cold["functions"]
    assert document["direct"] == 0 and document["total"] >= 10 and document["by_kind"]["pop"] >= 1


@pytest.mark.parametrize("file, code, mark", [
    ("slab/slab.h", "void *probe(struct hak_superslab *p) { return p->slabs[1].freelist; }", "direct"),
    ("heap/slabs.c", "void probe(TinySlabMeta *p) { *(char *)slab_freelist_pop_lockfree(p) = 0; }", "pop"),
    ("slab/slab.c", "void probe(TinySlabMeta *p) { ss_remote_drain_to_freelist(p, 0); }", "drain"),
])
def test_a_mistake_put_into_the_allocator_is_found(file: str, code: str, mark: str, tmp_path: Path) -> None:
    """Whatever stands there already, one line more is one finding more."""
    tree = tmp_path / "allocator"
    shutil.copytree(ROOT / "allocator", tree)
    before = found_in(ROOT / "allocator")
    text = (tree / file).read_text()
    (tree / file).write_text(text + code + "\n")
    assert found_in(tree) - before == {(file, text.count("\n") + 1, mark)}


# ---- the programs' own sources ---------------------------------------------------------------------


def test_the_package_needs_the_standard_library_alone() -> None:
    for path in (ROOT / "scripts/freelist_sites").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "freelist_sites"}, f"{path}: {name}"
