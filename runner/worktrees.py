"""Scratch copies of source trees: of a commit, or of a folder as it is. Nothing is written into what
they are made from, but for git's own note of a work tree, which is gone again at the end."""
from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from runner.errors import UsageError

_GIT_SECONDS = 300
# Never copied from a folder that git doesn't know: what was built there, and git's own files.
_NOT_COPIED = ("out", ".git")


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git on the repository of `folder`, whatever repository the environment names (as it does
    while a hook runs), and without its hooks. Raises OSError where there is no git."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", "--no-optional-locks", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments],
        env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=_GIT_SECONDS, check=False,
        start_new_session=True,  # Ctrl-C is not to stop it half-way
    )


def git_says(folder: Path, *arguments: str) -> Optional[str]:
    """Return what git prints, without the line's end; None where git fails, or there is none."""
    try:
        done = git(folder, *arguments)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").rstrip("\n") if done.returncode == 0 else None


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line that git said on standard error."""
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


@contextmanager
def tree_of_commit(root: Path, commit: str, tree: Path) -> Iterator[Path]:
    """Check a commit of the repository of `root` out into the folder `tree`, which must not exist; at
    the end it is gone, and so is git's note of it. Raises UsageError."""
    try:
        try:
            done = git(root, "worktree", "add", "--detach", "--force", "--quiet", str(tree), commit)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"git took more than {error.timeout:g} s to check {commit[:12]} out; look what holds it up."
            ) from error
        if done.returncode != 0:
            raise UsageError(
                f"git can't check {commit[:12]} out into a scratch work tree: {last_words(done)}."
            )
        yield tree
    finally:
        _remove_tree(root, tree)


def _remove_tree(root: Path, tree: Path) -> None:
    if git_says(root, "worktree", "remove", "--force", "--force", str(tree)) is None:
        # Made only half, or its folder is gone already.
        shutil.rmtree(tree, ignore_errors=True)
        if str(tree) in (git_says(root, "worktree", "list", "--porcelain") or ""):
            git_says(root, "worktree", "unlock", str(tree))
            git_says(root, "worktree", "prune", "--expire", "now")


@contextmanager
def tree_of_folder(folder: Path, tree: Path) -> Iterator[Path]:
    """Copy a source tree as it is now to `tree`, which must not exist; at the end it is gone. Of a git
    work tree the files are copied that git knows or does not ignore, of another folder all but what
    was built. Raises OSError."""
    try:
        names = _files_by_git(folder)
        if names is None:
            shutil.copytree(folder, tree, symlinks=True, ignore=_built_and_odd(folder))
        else:
            tree.mkdir()
            for name in names:
                _copy(folder, tree, name)
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def is_git_tree(folder: Path) -> bool:
    """True if the folder is the top of a git work tree."""
    top = git_says(folder, "rev-parse", "--show-toplevel")
    return bool(top) and os.path.realpath(str(top)) == os.path.realpath(folder)


def _files_by_git(folder: Path) -> Optional[list[str]]:
    if not is_git_tree(folder):
        return None
    try:
        done = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def _copy(folder: Path, tree: Path, name: str) -> None:
    source, target = folder / name, tree / name
    try:
        kind = os.lstat(source).st_mode
    except FileNotFoundError:
        return  # deleted, and not yet told to git
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(kind):  # a repository in the repository
        shutil.copytree(source, target, symlinks=True, ignore=_built_and_odd(source))
    elif stat.S_ISREG(kind) or stat.S_ISLNK(kind):
        shutil.copy2(source, target, follow_symlinks=False)


def _built_and_odd(top: Path) -> Callable[[str, list[str]], set[str]]:
    """Return what shutil.copytree takes as `ignore`."""
    def ignored(folder: str, names: list[str]) -> set[str]:
        left_out = set(_NOT_COPIED) if os.path.samefile(folder, top) else set()
        for name in names:
            kind = os.lstat(os.path.join(folder, name)).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
                left_out.add(name)  # a pipe would never end, a socket can't be copied
        return left_out

    return ignored
