"""Builds what a comparison is of: revisions of git, work trees with their changes, or libraries.

Every build is made from scratch in one and the same temporary folder, one after the other, so that equal
sources give equal libraries to the byte; what comes out is laid down under names of equal length, so that
a build that is compared with itself differs in nothing, not even in the length of LD_PRELOAD.
"""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.allocators import Allocator, check_library
from runner.building import VARIANT, make_environment
from runner.errors import UsageError, explain_os_error
from runner.execute import run_program, signal_phrase
from runner.interrupts import Interrupts
from runner.machine import describe_git
from runner.records import BuildEntry
from runner.schedule import in_words
from runner.worktrees import git_says, is_git_tree, tree_of_commit, tree_of_folder

LIBRARY = "libhakmem.so"
REVISION, DIRECTORY, FILE = "revision", "directory", "library"
_BUILD_SECONDS = 1800.0
_SHOWN_LINES = 40  # of what a compiler says


@dataclass(frozen=True)
class RevisionBuild:
    """A build that is ready to be measured: what it is, and the library to preload."""

    entry: BuildEntry
    library: Path

    @property
    def allocator(self) -> Allocator:
        """The build as an allocator of a run."""
        return build_allocator(self.entry, self.library)


@dataclass(frozen=True)
class Wanted:
    """What one --rev names, found but not yet built. `path` is None for a revision."""

    entry: BuildEntry
    path: Optional[Path] = None

    @property
    def source(self) -> tuple[str, str]:
        """What it is built from: the same for the same."""
        return (self.entry.kind, str(self.path or self.entry.commit))

    @property
    def title(self) -> str:
        """What to call it in a message."""
        entry = self.entry
        subject = f" ({(entry.commit or '')[:9]}, {entry.subject})" if entry.subject else ""
        return f"{entry.allocator}: {entry.given}{subject}{', with changes' if entry.dirty else ''}"


@dataclass(frozen=True)
class Builder:
    """Who hears what goes on while something is built, and who may stop it."""

    say: Callable[[str], None]
    interrupts: Interrupts


def build_allocator(entry: BuildEntry, library: Path) -> Allocator:
    """Return a build as an allocator of a run, whose library is preloaded."""
    return Allocator(entry.allocator, "preloaded", library, f"--rev {entry.given}")


def role_names(count: int) -> list[str]:
    """Return the builds' names as allocators: base, new, new2, new3 ..."""
    return ["base", "new", *(f"new{n}" for n in range(2, count))][:count]


def library_names(count: int) -> list[str]:
    """Return the file names of the builds' libraries, all of one length."""
    names = role_names(count)
    width = max(map(len, names), default=0)
    return [f"{name.ljust(width, '-')}.so" for name in names]


def build_revisions(
    given: Sequence[str], root: Path, scratch: Path, say: Callable[[str], None],
    interrupts: Optional[Interrupts] = None,
) -> list[RevisionBuild]:
    """Build each of `given` and lay its library into the folder `scratch`, which is made if need be and
    is all that is left; the first is the base. Revisions are those of the repository of `root`. What
    goes on is told to `say`, a compiler's complaints too. Raises UsageError naming what can't be built,
    and Interrupted if `interrupts` was asked to stop."""
    watch = interrupts or Interrupts()
    wanted = [find_revision(name, text, root, say) for name, text in zip(role_names(len(given)), given)]
    try:
        os.makedirs(scratch, exist_ok=True)
    except OSError as error:
        raise UsageError(explain_os_error(error, scratch)) from error
    finished: dict[tuple[str, str], Path] = {}
    builds: list[RevisionBuild] = []
    with tempfile.TemporaryDirectory(prefix="hakmem-build-") as temporary:
        tree = Path(os.path.realpath(temporary)) / "tree"
        for item, name in zip(wanted, library_names(len(given))):
            watch.check()
            library = Path(os.path.realpath(scratch)) / name
            before = finished.get(item.source)
            if before is None and item.entry.kind != FILE:
                say(f"Building {item.title}")
                _build(item, root, tree, library, Builder(say, watch))
            else:
                _lay_down(before or item.path or library, library)
            finished.setdefault(item.source, library)
            builds.append(RevisionBuild(item.entry, library))
    return builds


def find_revision(name: str, given: str, root: Path, say: Callable[[str], None]) -> Wanted:
    """Return what `given` names: a path that begins with / or . names a folder or a library; anything
    else a revision of git, or, if there is none, a path. Raises UsageError."""
    if not given.strip() or "\0" in given:
        raise UsageError("--rev: the name is empty; give a git revision, a directory or a library.")
    commit = None
    if not _is_plainly_a_path(given):
        commit = git_says(root, "rev-parse", "--verify", "--quiet", "--end-of-options", given + "^{commit}")
        if commit and not is_git_tree(root):
            commit = None  # of a repository that the tree only lies in
    path = Path(os.path.realpath(given))
    if commit:
        if path.exists():
            say(f"'{given}' is a revision and a path; the revision is taken (write ./{given} for the path).")
        return Wanted(BuildEntry(name, given, REVISION, commit, False, _subject(root, commit)))
    if path.is_dir():
        return Wanted(_directory(name, given, path), path)
    if path.is_file():
        entry = BuildEntry(name, given, FILE, None, False, None)
        check_library(build_allocator(entry, path), Path("/proc/self/exe"))
        return Wanted(entry, path)
    if path.exists():
        raise UsageError(f"--rev {given}: it is neither a directory nor a file; give a shared library (.so).")
    raise UsageError(f"--rev {given}: {_why_nothing(given, root)}.")


def _is_plainly_a_path(given: str) -> bool:
    return os.path.isabs(given) or given.split("/")[0] in (".", "..")


def _subject(folder: Path, commit: str) -> Optional[str]:
    return git_says(folder, "log", "-1", "--no-show-signature", "--format=%s", commit)


def _directory(name: str, given: str, path: Path) -> BuildEntry:
    if not (path / "Makefile").is_file():
        raise UsageError(
            f"--rev {given}: there is no Makefile in that directory; give the top of a source tree."
        )
    state = describe_git(path)
    if state is None:
        return BuildEntry(name, given, DIRECTORY, None, False, None)
    return BuildEntry(name, given, DIRECTORY, state.commit, state.dirty, _subject(path, state.commit))


def _why_nothing(given: str, root: Path) -> str:
    """Say why there is neither a revision nor a path of that name, and what to do."""
    if _is_plainly_a_path(given):
        return "there is no such file or directory; check the path"
    neither = "it is no file and no directory"
    if shutil.which("git") is None:
        return f"{neither}, and git is not installed to look for a revision; install Debian's package git"
    if not is_git_tree(root):
        return f"{neither}, and '{root}' is no git checkout that could have such a revision; give a path"
    if git_says(root, "rev-parse", "--is-shallow-repository") == "true":
        return (
            f"{neither}, and this shallow clone has no such revision; fetch the rest with "
            "git fetch --unshallow, and branches with git fetch origin NAME:NAME"
        )
    return f"{neither}, and git knows no such revision; git branch --all and git log show what there is"


def _build(item: Wanted, root: Path, tree: Path, library: Path, builder: Builder) -> None:
    """Build in the folder `tree`, which is made and removed, and lay the library down."""
    if shutil.which("make") is None:
        raise UsageError("make is not installed, so nothing can be built; install Debian's package make.")
    source: AbstractContextManager[Path]
    if item.path is None:
        source = tree_of_commit(root, str(item.entry.commit), tree)
    else:
        source = tree_of_folder(item.path, tree)
    try:
        with source:
            builder.interrupts.check()
            _make(item, tree, builder)
            _lay_down(tree / "out" / VARIANT / LIBRARY, library)
    except (OSError, shutil.Error) as error:
        raise UsageError(f"--rev {item.entry.given}: its files can't be copied ({error}).") from error


def _make(item: Wanted, tree: Path, builder: Builder) -> None:
    where = f"--rev {item.entry.given}"
    if not (tree / "Makefile").is_file():
        raise UsageError(f"{where}: there is no Makefile in that revision; give one that can be built.")
    done = run_program(
        ["make", "-s", "-C", str(tree), f"VARIANT={VARIANT}", f"OUT=out/{VARIANT}", LIBRARY],
        make_environment(), _BUILD_SECONDS, builder.interrupts, error_lines=_SHOWN_LINES,
    )
    built = (tree / "out" / VARIANT / LIBRARY).is_file()
    if done.status == 0 and built:
        return
    for line in done.error_lines:
        builder.say(f"    {line}")
    reason = "it made no such file"
    if done.timed_out:
        reason = f"it took more than {in_words(_BUILD_SECONDS)}"
    elif done.signal_number is not None:
        reason = f"it was ended by {signal_phrase(done.signal_number)}"
    elif done.start_error is not None:
        reason = f"make could not be started: {done.start_error}"
    elif done.status:
        reason = "the last lines of its output stand above" if done.error_lines else (
            f"make ended with status {done.status}"
        )
    raise UsageError(f"{where}: {LIBRARY} could not be built ({reason}).")


def _lay_down(source: Path, library: Path) -> None:
    """Copy a library. A new file each time: one that is in use is never written over."""
    try:
        if library.exists():
            library.unlink()
        shutil.copyfile(source, library)
        library.chmod(0o755)
    except OSError as error:
        raise UsageError(explain_os_error(error, library)) from error
