"""Which two builds pr.py compares, found out in repositories made for it."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.pull_request.ends import build_the_same, find_ends


class Repository:
    """A git repository with a branch main and a branch topic that left it at its second commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("allocator/a.c", "1")
        self.fork = self.commit("docs/a.md", "1")
        self.git("checkout", "-q", "-b", "topic")
        self.topic = self.commit("allocator/a.c", "2")
        self.git("checkout", "-q", "main")
        self.main = self.commit("Makefile", "2")

    def git(self, *words: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(self.folder), *words],
            env={**environment, "HOME": str(self.folder)}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")

    def commit(self, name: str, text: str) -> str:
        self.write(name, text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", f"{name} {text}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "a repository")


def ends(repository: Repository, *words: str) -> tuple[str, str]:
    found = find_ends(words, repository.folder)
    return found.base, found.head


def test_by_default_the_work_tree_is_compared_with_where_it_left(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.git("checkout", "-q", "topic")
    assert ends(repository) == (repository.fork, str(repository.folder))
    monkeypatch.chdir(repository.folder)
    assert ends(repository) == (repository.fork, ".")
    assert ends(repository, "HEAD~1") == ("HEAD~1", ".")
    assert ends(repository, "/a", "/b/lib.so") == ("/a", "/b/lib.so")


def test_three_dots_ask_for_where_a_branch_left(repository: Repository) -> None:
    repository.git("checkout", "-q", "--detach", "topic")
    for words in ("main...topic", "...topic"):
        assert ends(repository, words) == (repository.fork, "topic")
    assert ends(repository, f"{repository.main}...HEAD") == (repository.fork, "HEAD")
    assert ends(repository, "main...") == (repository.fork, str(repository.folder))
    assert ends(repository, "main~1...topic") == ("main~1", "topic")


def test_origins_default_branch_comes_before_a_local_main(repository: Repository) -> None:
    repository.git("checkout", "-q", "topic")
    repository.git("update-ref", "refs/remotes/origin/trunk", repository.first)
    repository.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    assert ends(repository)[0] == "origin/trunk"


def test_changes_on_the_default_branch_are_compared_with_its_last_commit(repository: Repository) -> None:
    with pytest.raises(UsageError, match="nothing to compare; name a BASE, for example HEAD~1"):
        ends(repository)
    repository.write("allocator/a.c", "3")
    assert ends(repository) == ("main", str(repository.folder))


@pytest.mark.parametrize("words, said", [
    (("topic...nowhere",), "git knows no revision 'nowhere'"),
    (("topic...topic~1",), "topic~1 has nothing that topic does not have"),
    (("topic...--all",), "git knows no revision '--all'"),
])
def test_what_git_does_not_know_is_named(repository: Repository, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ends(repository, *words)


def test_histories_without_a_common_commit_are_refused(repository: Repository) -> None:
    repository.git("checkout", "-q", "--orphan", "other")
    repository.commit("allocator/b.c", "1")
    with pytest.raises(UsageError, match="no commit in common"):
        ends(repository)


def test_without_git_both_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no git checkout"):
        find_ends([], tmp_path)
    assert find_ends(["/a", "/b"], tmp_path).head == "/b"


def same(repository: Repository, base: str, head: str) -> bool:
    return build_the_same(find_ends([base, head], repository.folder), repository.folder)


def test_only_what_the_library_is_built_from_tells_builds_apart(repository: Repository) -> None:
    tree = str(repository.folder)
    assert same(repository, repository.first, repository.fork)
    assert not same(repository, repository.fork, "topic")
    assert not same(repository, repository.fork, "main")  # another Makefile
    assert same(repository, "main", tree)
    assert not same(repository, "topic", tree)
    repository.write("docs/b.md", "1")
    assert same(repository, "main", tree)
    repository.write("allocator/new.c", "1")  # that git does not know yet
    assert not same(repository, "main", tree)


def test_of_folders_and_libraries_nothing_is_certain(repository: Repository, tmp_path: Path) -> None:
    assert not same(repository, "main", str(tmp_path))
    assert not same(repository, "/a.so", "/a.so")
    assert not same(repository, "nowhere", "main")


def test_where_nothing_can_differ_nothing_is_measured(
    repository: Repository, tmp_path: Path, root: Path
) -> None:
    """Said at once, and in a report where one was asked for."""
    out = tmp_path / "out put"
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
            "import runner.pull_request.main as m; m.ROOT = Path(sys.argv[2]); sys.exit(m.main(sys.argv[3:]))")
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(repository.folder), repository.first,
         repository.fork, "--out", str(out)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and "nothing to measure" in done.stdout, done.stderr
    assert "**The same: nothing" in (out / "report.md").read_text("utf-8")
    assert [path.name for path in out.iterdir()] == ["report.md"]
