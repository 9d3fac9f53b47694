"""The pictures that were drawn, which of them are wanted, and how their files are named.

Needs no matplotlib, so that whoever shows pictures can know them without drawing any.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import UsageError, nearest

KINDS: dict[str, str] = {
    "throughput": "throughput over threads, or over what else varies, with confidence bands",
    "ratio": "throughput of the subject relative to each other allocator",
    "memory": "peak memory over threads, or over what else varies",
    "tradeoff": "peak memory over throughput",
    "programs": "processor time and peak memory of real programs, relative to the subject's",
    "latency": "percentiles of the time of malloc and free, of runs with --latency",
    "regression": "change of every phase between two builds, with its interval and verdict",
    "history": "a metric over commits, with the commits where it changed",
}


@dataclass(frozen=True)
class Picture:
    """A picture on disk. `name` is unique among the pictures of a run, the stem of both files, and begins
    with its kind (one of KINDS). `title` is a heading; `caption` says in sentences how to read it and what
    was left out, and serves as the text for who can't see it. Both are plain text."""

    kind: str
    name: str
    title: str
    caption: str
    svg: Path
    png: Path


@dataclass
class Album:
    """A folder that pictures are drawn into. `only` names kinds or pictures; without any, all are
    wanted. Without `png` only the SVG of each is written."""

    folder: Path
    only: Sequence[str] = ()
    png: bool = True
    pictures: list[Picture] = field(default_factory=list)

    def wants(self, kind: str, name: str = "") -> bool:
        """True if a picture of this kind and name is to be drawn (no name: any of that kind)."""
        if not self.only or kind in self.only or name in self.only:
            return True
        return not name and any(wanted.startswith(f"{kind}-") for wanted in self.only)


def check_only(only: Sequence[str]) -> None:
    """Raise UsageError for a word that is neither a kind nor begins like a picture of one."""
    for word in only:
        if word.split("-")[0] not in KINDS:
            raise UsageError(
                f"--only {word}: there is no such picture{nearest(word, KINDS)}; there are "
                f"{', '.join(KINDS)}, and single ones such as throughput-larson."
            )
