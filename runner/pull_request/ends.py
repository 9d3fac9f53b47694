"""Finds out which two builds a pull request compares: where it left its base, and what it is now."""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError
from runner.worktrees import git_says, is_git_tree

# What libhakmem is built from: where nothing of it differs, both builds are the same library.
BUILT_FROM = ("allocator", "Makefile")
_DEFAULT_BRANCHES = ("origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Ends:
    """The two that are compared, as run.py takes them: revisions, folders or libraries."""

    base: str
    head: str
    remark: str  # which they are, and why, in a sentence


def find_ends(words: Sequence[str], root: Path) -> Ends:
    """Return what the words on the command line mean (none, BASE, BASE HEAD, or BASE...HEAD), for the
    tree in `root`. Raises UsageError where BASE can't be found out, or is all there is."""
    if len(words) == 2:
        return Ends(words[0], words[1], f"{words[1]} is compared with {words[0]}.")
    if len(words) == 1 and ("..." not in words[0] or os.path.exists(words[0])):
        tree = _work_tree(root)
        return Ends(words[0], tree, f"The work tree is compared with {words[0]}.")
    start, _, end = words[0].partition("...") if words else ("", "", "")
    return _since_it_left(start, end, root)


def _since_it_left(start: str, end: str, root: Path) -> Ends:
    if not is_git_tree(root):
        raise UsageError(
            f"'{root}' is no git checkout, so there is no revision to compare with; name BASE and HEAD, "
            "two folders or libraries."
        )
    branch = start or _default_branch(root)
    commit = _commit(root, branch)
    tip = _commit(root, end or "HEAD")
    fork = git_says(root, "merge-base", commit, tip)
    if fork is None:
        raise UsageError(
            f"{end or 'the work tree'} and {branch} have no commit in common, so it can't be told where it "
            "left; name BASE and HEAD (in a shallow clone, first: git fetch --unshallow)."
        )
    head = end if end else _work_tree(root)
    title = end if end else "the work tree"
    if fork == tip and (end or not _has_changes(root)):
        raise UsageError(
            f"{title} has nothing that {branch} does not have, so there is nothing to compare; name a BASE, "
            f"for example {end or 'HEAD'}~1."
        )
    base = branch if fork == commit else fork
    remark = f"{_capital(title)} is compared with {fork[:9]}, where it left {branch}."
    return Ends(base, head, remark)


def _capital(text: str) -> str:
    return "The work tree" if text == "the work tree" else text


def _default_branch(root: Path) -> str:
    origin = git_says(root, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    for name in (origin, *_DEFAULT_BRANCHES):
        if name and _find_commit(root, name):
            return name
    raise UsageError("there is no branch main or master to compare with; name BASE, for example HEAD~1.")


def _find_commit(root: Path, name: str) -> Optional[str]:
    return git_says(root, "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")


def _commit(root: Path, name: str) -> str:
    found = _find_commit(root, name)
    if not found:
        shallow = git_says(root, "rev-parse", "--is-shallow-repository") == "true"
        raise UsageError(
            f"git knows no revision '{name}'; "
            + ("this clone is shallow: git fetch --unshallow brings the rest." if shallow
               else "git branch --all and git log show what there is.")
        )
    return found


def _has_changes(root: Path) -> bool:
    return bool(git_says(root, "status", "--porcelain"))


def _work_tree(root: Path) -> str:
    return "." if os.path.realpath(".") == os.path.realpath(root) else str(root)


def build_the_same(ends: Ends, root: Path) -> bool:
    """True if it is certain that both ends build the same library: they are revisions, or the work
    tree, and nothing that it is built from differs."""
    if not is_git_tree(root):
        return False
    commits: list[str] = []
    for end in (ends.base, ends.head):
        if os.path.isabs(end) or end.split("/")[0] in (".", ".."):
            if os.path.realpath(end) != os.path.realpath(root):
                return False
            continue
        found = _find_commit(root, end)
        if not found:
            return False
        commits.append(found)
    if not commits:
        return True  # the work tree twice
    if len(commits) < 2 and git_says(root, "status", "--porcelain", "--", *BUILT_FROM):
        return False
    return git_says(root, "diff", "--quiet", *commits, "--", *BUILT_FROM) is not None
