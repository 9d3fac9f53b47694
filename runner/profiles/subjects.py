"""What is profiled: an allocator by its name, a library, or a build of hakmem that is made for it."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.allocators import LINKED, RODS, Allocator, check_library, parse_allocators
from runner.building import build_drivers
from runner.errors import UsageError
from runner.interrupts import Interrupts
from runner.records import BuildEntry
from runner.revisions import DIRECTORY, REVISION, RevisionBuild, build_revisions, find_revision
from runner.worktrees import git_says

_BUILD = "rev:"
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
_MOST_OF_A_NAME = 60


@dataclass(frozen=True)
class Subject:
    """One side of a profile. `given` is what the user called it, `slug` its part of files' names."""

    given: str
    slug: str
    allocator: Allocator
    build: Optional[BuildEntry] = None

    @property
    def title(self) -> str:
        """What to call it in tables."""
        commit = (self.build.commit or "")[:9] if self.build is not None else ""
        name = self.given[len(_BUILD):] if self.given.startswith(_BUILD) else self.given.partition("=")[0]
        changed = ", with changes" if self.build is not None and self.build.dirty else ""
        return f"{name}{f' ({commit}{changed})' if commit and commit not in name else changed}"

    def source(self, path: str, root: Path) -> Optional[str]:
        """Return the text of a source file that the build was made from, whose own tree is gone; None
        where it is not known."""
        if self.build is None:
            return None
        parts = Path(path).parts
        for begin in range(1, len(parts)):
            inner = Path(*parts[begin:])
            if self.build.kind == REVISION:
                text = git_says(root, "show", f"{self.build.commit}:{inner.as_posix()}")
                if text is not None:
                    return text
            elif self.build.kind == DIRECTORY:
                place = Path(self.given[len(_BUILD):] if self.given.startswith(_BUILD) else self.given)
                try:
                    return (place / inner).read_text("utf-8", "replace")
                except OSError:
                    continue  # a path has more ends than one, and none may be there
        return None


def check_named(options: Sequence[tuple[str, str]], root: Path) -> None:
    """Raise UsageError for what names nothing, before anything is built."""
    for option, given in options:
        build = _build_named(option, given, root)
        if build is None:
            _named(option, given)
        else:
            try:
                find_revision("new", build, root, lambda text: None)
            except UsageError as error:
                raise UsageError(str(error).replace("--rev ", _BUILD, 1)) from error


def find_subjects(
    options: Sequence[tuple[str, str]], root: Path, scratch: Path, say: Callable[[str], None],
    interrupts: Interrupts,
) -> list[Subject]:
    """Return what is to be profiled, the builds among it built. `options` has pairs of an option's name
    and what was given. Raises UsageError and Interrupted."""
    builds = [
        (number, build) for number, (option, given) in enumerate(options)
        for build in [_build_named(option, given, root)] if build is not None
    ]
    # The other one is the base.
    builds.reverse()
    made: dict[int, RevisionBuild] = {}
    if builds:
        try:
            built = build_revisions([given for _, given in builds], root, scratch, say, interrupts)
        except UsageError as error:
            raise UsageError(str(error).replace("--rev ", _BUILD, 1)) from error
        made = {number: build for (number, _), build in zip(builds, built)}
    subjects: list[Subject] = []
    for number, (option, given) in enumerate(options):
        slug = _slug(given, [subject.slug for subject in subjects])
        if number in made:
            subjects.append(Subject(given, slug, made[number].allocator, made[number].entry))
        else:
            subjects.append(Subject(given, slug, _named(option, given)))
    return subjects


def _build_named(option: str, given: str, root: Path) -> Optional[str]:
    """Return which build of hakmem is meant, None where an allocator's name is given."""
    if given.startswith(_BUILD):
        return given[len(_BUILD):]
    if given in (*LINKED, *RODS) or "=" in given:
        return None
    try:
        find_revision("new", given, root, lambda text: None)
    except UsageError as error:
        if "/" in given:
            raise UsageError(str(error).replace("--rev ", f"{option} ", 1)) from error
        return None
    return given


def _named(option: str, given: str) -> Allocator:
    if "," in given:
        raise UsageError(f"{option}: '{given}' names several; give one, and another with --against.")
    try:
        return parse_allocators([given])[0]
    except UsageError as error:
        text = str(error).replace("--allocators", option, 1).rstrip(").")
        raise UsageError(
            f"{text}, or a build of hakmem as rev:REVISION or rev:DIRECTORY)."
            if "is no allocator" in text else str(error).replace("--allocators", option, 1)
        ) from error


def _slug(given: str, taken: Sequence[str]) -> str:
    name = given[len(_BUILD):] if given.startswith(_BUILD) else given.partition("=")[0]
    slug = _UNFIT.sub("-", name).strip("-.")[-_MOST_OF_A_NAME:] or "build"
    return slug if slug not in taken else f"{slug}-2"


def provide(subjects: Sequence[Subject], workload: str, root: Path, folder: Path, build: bool) -> None:
    """Build the drivers if wanted, and see that each is there and its library fits. Raises UsageError."""
    targets = {subject.allocator.name: [subject.allocator.driver_name(workload)] for subject in subjects}
    failures = build_drivers(root, targets) if build else {}
    for subject in subjects:
        allocator = subject.allocator
        driver = folder / allocator.driver_name(workload)
        reason = failures.get(allocator.name)
        if reason is None and not driver.is_file():
            reason = f"there is no driver {driver}; build it with make {driver.name}"
        if reason is not None:
            raise UsageError(f"{subject.given} can't be profiled: {reason.rstrip('.')}.")
        try:
            check_library(allocator, driver)
        except UsageError as error:
            text = str(error).replace("--allocators ", "", 1).replace("--rev ", _BUILD, 1)
            raise UsageError(text) from error
