"""What the kinds of criteria share: what a kind is made of, what it works with, what it finds."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from runner.gates.process import Ended, follow
from runner.gates.reference import Reference
from runner.gates.values import Parameter
from runner.interrupts import Interrupts

_BUILD_LIMIT_SECONDS = 1800.0


class NotJudged(Exception):
    """A criterion can't be judged, which counts as failed; the text says why. `lines` are the last
    ones that were said about it."""

    def __init__(self, reason: str, lines: Optional[list[str]] = None) -> None:
        super().__init__(reason)
        self.lines = lines or []


@dataclass(frozen=True)
class Finding:
    """What came of a criterion. `remarks` are sentences that a reader must know, `lines` what a
    program said last."""

    passed: bool
    measured: str
    remarks: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass
class Workshop:
    """What criteria are judged with. `out` holds a folder for each variant, and is the tree's own where
    `build` is True; `scratch` may be written to and goes away at the end; `tell` shows what is being
    done now."""

    root: Path
    out: Path
    build: bool
    reference: Reference
    scratch: Path
    environment: Mapping[str, str]
    interrupts: Interrupts
    tell: Callable[[str], None]

    def follow(
        self, command: list[str], limit_seconds: float, tell: Optional[Callable[[str], None]] = None
    ) -> Ended:
        """Run a program of the tree; see process.py. `tell` hears its last line instead of ours."""
        return follow(
            command, self.root, self.environment, limit_seconds, self.interrupts, tell or self.tell
        )

    def make(self, variant: str, target: str) -> Path:
        """Bring a target up to date and return its path; raises NotJudged where that fails."""
        path = self.out / variant / target
        if self.build:
            self.tell(f"building {variant}/{target}")
            ended = self.follow(
                ["make", "-s", "--no-print-directory", f"VARIANT={variant}", f"OUT=out/{variant}", target],
                _BUILD_LIMIT_SECONDS,
            )
            if ended.problem is not None:
                raise NotJudged(f"{target} could not be built for {variant}: make: {ended.problem}", ended.lines)
        if not path.is_file():
            raise NotJudged(f"there is no program {path}; build it with ./build.sh {variant} {target}")
        return path


@dataclass(frozen=True)
class Kind:
    """A kind of criterion. `check` raises UsageError for values that don't fit together, `asked` says
    in words what a criterion asks for, `judge` finds out. The values come by the parameters' names."""

    name: str
    parameters: Mapping[str, Parameter]
    check: Callable[[Mapping[str, Any]], None]
    asked: Callable[[Mapping[str, Any]], str]
    judge: Callable[[Mapping[str, Any], Workshop], Finding]
    needs_reference: bool = False


def fits(_values: Mapping[str, Any]) -> None:
    """The check of a kind whose values always fit together."""
