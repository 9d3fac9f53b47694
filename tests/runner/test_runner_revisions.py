"""Builds of revisions, directories and libraries, out of a tiny source tree that is built in no time."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.revisions import RevisionBuild, build_revisions, library_names, role_names
from runner.worktrees import tree_of_commit

MAKEFILE = """
OUT ?= out/release
.PHONY: libhakmem.so
libhakmem.so: $(OUT)/libhakmem.so
$(OUT)/libhakmem.so: allocator.c
\t@mkdir -p $(@D)
\tgcc -g -shared -fPIC -nostdlib allocator.c -o $@
"""
SOURCE = """
void *malloc(unsigned long n) {{ (void)n; return 0; }}
void free(void *p) {{ (void)p; }}
void *calloc(unsigned long n, unsigned long m) {{ return malloc(n * m); }}
void *realloc(void *p, unsigned long n) {{ (void)p; return malloc(n); }}
int mark = {mark};
"""
NAME = ("-c", "user.name=A", "-c", "user.email=a@b")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *NAME, "-C", str(folder), *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, git's own too (but for its index, which status may refresh)."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and path.name != "index"
    }


@dataclass
class Trees:
    """A source tree with two commits, and where libraries go."""

    root: Path
    scratch: Path
    said: list[str] = field(default_factory=list)

    def write(self, mark: int, text: str = SOURCE) -> None:
        (self.root / "allocator.c").write_text(text.format(mark=mark), "utf-8")

    def commit(self, message: str) -> str:
        git(self.root, "add", "-A")
        git(self.root, "commit", "-qm", message)
        return git(self.root, "rev-parse", "HEAD")

    def build(self, *given: str) -> list[RevisionBuild]:
        return build_revisions(given, self.root, self.scratch, self.said.append)

    def refusal(self, *given: str) -> str:
        with pytest.raises(UsageError) as caught:
            self.build(*given)
        text = str(caught.value)
        assert text.endswith(".") and "\n" not in text and "Traceback" not in text
        return text


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trees:
    found = Trees(tmp_path / "source tree", tmp_path / "built here")
    found.root.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    git(found.root, "init", "-q", "-b", "main")
    (found.root / "Makefile").write_text(MAKEFILE, "utf-8")
    (found.root / ".gitignore").write_text("/out/\n*.log\n", "utf-8")
    found.write(1)
    found.commit("Return nothing")
    found.write(2)
    found.commit("Return nothing, differently")
    monkeypatch.chdir(found.root)
    return found


def mark_of(library: Path) -> int:
    """Return the number that a build was marked with."""
    program = "import ctypes, sys; print(ctypes.c_int.in_dll(ctypes.CDLL(sys.argv[1]), 'mark').value)"
    return int(subprocess.check_output([sys.executable, "-c", program, str(library)], text=True))


def left_behind(trees: Trees) -> list[str]:
    found = [str(path) for path in (trees.scratch.parent / "temporary").iterdir()]
    return found + git(trees.root, "worktree", "list").splitlines()[1:]


def test_names_are_of_one_length() -> None:
    assert role_names(4) == ["base", "new", "new2", "new3"] and role_names(2) == ["base", "new"]
    assert library_names(2) == ["base.so", "new-.so"]
    assert len({len(name) for name in library_names(12)}) == 1 and len(set(library_names(12))) == 12


def test_revisions_and_a_tree_with_changes_are_built_each_as_it_is(trees: Trees) -> None:
    trees.write(3)
    (trees.root / "notes.log").write_text("ignored", "utf-8")
    os.mkfifo(trees.root / "pipe.log")
    before = contents(trees.root)
    builds = trees.build("HEAD~1", "main", ".")
    assert [mark_of(build.library) for build in builds] == [1, 2, 3]
    assert [(b.entry.allocator, b.entry.kind, b.entry.dirty) for b in builds] == [
        ("base", "revision", False), ("new", "revision", False), ("new2", "directory", True)]
    assert [build.entry.subject for build in builds] == [
        "Return nothing", "Return nothing, differently", "Return nothing, differently"]
    assert builds[0].entry.commit == git(trees.root, "rev-parse", "HEAD~1")
    assert builds[0].allocator.library == builds[0].library and builds[0].allocator.kind == "preloaded"
    assert contents(trees.root) == before
    assert left_behind(trees) == []
    assert sorted(path.name for path in trees.scratch.iterdir()) == ["base.so", "new-.so", "new2.so"]


def test_a_tree_that_equals_a_commit_gives_the_same_bytes(trees: Trees) -> None:
    builds = trees.build("HEAD", str(trees.root), "HEAD")
    assert len({build.library.read_bytes() for build in builds}) == 1
    assert len({build.library for build in builds}) == 3
    assert len({len(str(build.library)) for build in builds}) == 1
    assert sum(line.startswith("Building") for line in trees.said) == 2  # the same commit only once


def test_a_tree_without_git_is_built_without_what_was_built_there(trees: Trees, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "out" / "release").mkdir(parents=True)
    (plain / "out" / "release" / "libhakmem.so").write_text("old", "utf-8")
    os.utime(plain / "out" / "release" / "libhakmem.so", (2**32, 2**32))  # newer than its sources
    os.mkfifo(plain / "pipe")
    (plain / "Makefile").write_text(MAKEFILE, "utf-8")
    (plain / "allocator.c").write_text(SOURCE.format(mark=4), "utf-8")
    (build, _) = trees.build(str(plain), "HEAD")
    assert mark_of(build.library) == 4
    assert build.entry.kind == "directory" and build.entry.commit is None and not build.entry.dirty


def test_a_library_is_taken_as_it_is(trees: Trees) -> None:
    built = trees.build("HEAD", "HEAD")[0].library
    library = trees.root / "some library.so"
    library.write_bytes(built.read_bytes())
    for build in trees.build("./some library.so", "some library.so"):
        assert build.entry.kind == "library" and build.library.read_bytes() == library.read_bytes()


def test_a_name_that_is_a_revision_and_a_path_is_said(trees: Trees) -> None:
    (trees.root / "main").mkdir()
    assert trees.build("main", "main")[0].entry.kind == "revision"
    assert any("./main" in line for line in trees.said)


def test_what_does_not_build_is_named_and_the_compiler_heard(trees: Trees) -> None:
    trees.write(1, "int broken = nonsense;\n")
    trees.commit("Break it")
    text = trees.refusal("HEAD~1", "HEAD")
    assert "--rev HEAD:" in text and "could not be built" in text
    assert any("nonsense" in line for line in trees.said)
    assert left_behind(trees) == []


@pytest.mark.parametrize("given, words", [
    ("nowhere", ("--rev nowhere", "git knows no such revision")),
    ("./nowhere", ("no such file or directory",)),
    ("-x", ("--rev -x", "git knows no such revision")),
    ("", ("the name is empty",)),
    ("Makefile", ("not an ELF object", "shared library")),
    ("/dev/null", ("neither a directory nor a file",)),
    ("empty", ("no Makefile",)),
])
def test_what_can_not_be_a_build_is_refused(trees: Trees, given: str, words: tuple[str, ...]) -> None:
    (trees.root / "empty").mkdir()
    text = trees.refusal(given, "HEAD")
    for word in words:
        assert word in text
    assert not trees.scratch.exists()


def test_a_library_without_malloc_or_for_another_machine_is_refused(
    trees: Trees, compile_library: Callable[..., Path]
) -> None:
    plain = compile_library("libplain.so", "int nothing;")
    assert "exports no malloc" in trees.refusal("HEAD", str(plain))
    other = trees.root / "other.so"
    data = bytearray(plain.read_bytes())
    data[18] = 0xB7 if data[18] != 0xB7 else 0x3E  # e_machine: aarch64, or x86-64
    other.write_bytes(data)
    assert "for another machine" in trees.refusal("HEAD", str(other))


def test_a_revision_without_a_makefile_is_refused(trees: Trees) -> None:
    git(trees.root, "rm", "-q", "Makefile")
    git(trees.root, "commit", "-qm", "Take the Makefile away")
    assert "no Makefile in that revision" in trees.refusal("HEAD", "HEAD~1")
    assert left_behind(trees) == []


def test_a_work_tree_that_went_missing_is_not_left_in_gits_list(trees: Trees) -> None:
    tree = trees.scratch / "tree"
    trees.scratch.mkdir()
    with tree_of_commit(trees.root, "HEAD", tree):
        git(trees.root, "worktree", "lock", str(tree))  # as it is while git makes it
        shutil.rmtree(tree)
    assert left_behind(trees) == []


def test_a_shallow_clone_says_what_to_fetch(trees: Trees, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{trees.root}", "shallow")
    lost = git(trees.root, "rev-parse", "HEAD~1")
    trees.root = tmp_path / "shallow"
    assert "git fetch --unshallow" in trees.refusal(lost, "HEAD")


def test_without_git_the_sentence_says_so(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = trees.scratch.parent / "tools"
    tools.mkdir()
    for name in ("make", "gcc", "mkdir", "sh", "as", "ld"):
        os.symlink(subprocess.check_output(["which", name], text=True).strip(), tools / name)
    monkeypatch.setenv("PATH", str(tools))
    assert "git is not installed" in trees.refusal("HEAD", ".")
    assert trees.build(".", ".")[0].entry.commit is None


def test_a_tree_that_is_no_checkout_has_no_revisions(trees: Trees) -> None:
    inner = trees.root / "inner"
    inner.mkdir()
    with pytest.raises(UsageError, match="is no git checkout"):
        build_revisions(["HEAD", "HEAD"], inner, trees.scratch, trees.said.append)


def test_an_interrupt_while_building_leaves_nothing(trees: Trees) -> None:
    slow = MAKEFILE.replace("\tgcc", "\t@touch $(HAKMEM_TEST_MARK); sleep 60\n\tgcc")
    (trees.root / "Makefile").write_text(slow, "utf-8")
    trees.commit("Take long")
    mark = trees.scratch.parent / "mark"
    program = (
        "import sys; from pathlib import Path; from runner.revisions import build_revisions\n"
        "build_revisions(['HEAD', '.'], Path(sys.argv[1]), Path(sys.argv[2]), print)"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", program, str(trees.root), str(trees.scratch)], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HAKMEM_TEST_MARK": str(mark)},
    )
    try:
        deadline = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert mark.exists()
        started.send_signal(signal.SIGINT)
        _, told = started.communicate(timeout=20)
        assert b"KeyboardInterrupt" in told
    finally:
        started.kill()
    assert left_behind(trees) == []
