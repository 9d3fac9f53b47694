"""What a checkout knows of a commit: its subject, its time, and how many commits came before it."""
from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

from runner.worktrees import git_says


@dataclass(frozen=True)
class Commit:
    """A commit that was built. `committed` is in UTC; `generation` counts its ancestors, which tells the
    order of commits of the same second. None is what nobody knows."""

    id: Optional[str] = None
    dirty: bool = False
    given: Optional[str] = None
    subject: Optional[str] = None
    committed: Optional[str] = None
    generation: Optional[int] = None


def describe_commit(
    commit: Optional[str], dirty: bool, tree: Path, subject: Optional[str] = None,
    given: Optional[str] = None,
) -> Commit:
    """Return what `tree` knows of a commit, beside what is known already."""
    if commit is None or not re.fullmatch(r"[0-9a-f]{4,64}", commit):
        return Commit(commit, dirty, given, subject)
    seconds, _, found = (git_says(tree, "log", "-1", "--format=%ct %s", commit, "--") or "").partition(" ")
    if not seconds.isdigit():
        return Commit(commit, dirty, given, subject)
    count = git_says(tree, "rev-list", "--count", commit, "--") or ""
    return Commit(
        commit, dirty, given, subject or found.strip(),
        datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        int(count) if count.isdigit() else None,
    )
