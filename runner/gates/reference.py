"""Finds the reference that a phase's speed is measured against.

It is what the user named (a revision, a directory, a library), else the newest tag that the checked out
commit descends from, else the commit before it. A tag of the checked out commit itself counts only where
the tree has changes since: else a build would be measured against itself.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError
from runner.machine import describe_git
from runner.revisions import find_revision
from runner.worktrees import git_says


@dataclass(frozen=True)
class Reference:
    """What is measured against: `rev` as run.py --rev takes it, `title` for people, `why` it was
    chosen. `problem` is a clause that says why there is none; then only the title counts, and `shallow`
    says that it may be missing from this clone only."""

    rev: str
    title: str
    why: str
    problem: Optional[str] = None
    shallow: bool = False


def find_reference(given: str, root: Path) -> Reference:
    """Return the reference; `given` is empty for the default. A path counts from the working directory."""
    why = "as it was named"
    if not given:
        state = describe_git(root)
        if state is None:
            return Reference("", "none", why, f"'{root}' is no git checkout, so there is no earlier commit; "
                             "name a directory or a library with --reference")
        given, why = _default(root, state.commit, state.dirty)
    try:
        found = find_revision("base", given, root, lambda _text: None)
    except UsageError as error:
        shallow = git_says(root, "rev-parse", "--is-shallow-repository") == "true"
        problem = str(error).replace("--rev ", "the reference ", 1).rstrip(".")
        return Reference(given, given, why, problem, shallow)
    if found.path is not None:
        return Reference(str(found.path), given, why)
    return Reference(given, f"{given} ({(found.entry.commit or '')[:9]}, {found.entry.subject})", why)


def _default(root: Path, head: str, dirty: bool) -> tuple[str, str]:
    tags = git_says(root, "tag", "--merged", "HEAD", "--sort=-version:refname", "--sort=-creatordate") or ""
    for tag in tags.splitlines():
        commit = git_says(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
        if commit and (commit != head or dirty):
            return f"refs/tags/{tag}", "the newest tag"
    return "HEAD~1", "no tag to compare with, so the commit before this one"
