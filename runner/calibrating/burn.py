"""Builds libraries whose malloc burns a known number of loop rounds (allocator/api/burn.h), and finds how
many rounds slow a cell down by a wanted share.

A round costs the same whoever runs it, so the time of an operation grows by a straight line with the
rounds. Its slope is measured with one build that burns so much that noise hardly matters, and the small
slow-downs are read off the line: they are known better than they could be measured themselves.
"""
from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.building import VARIANT, make_environment
from runner.errors import UsageError, explain_os_error
from runner.estimate import Interval, bootstrap, interval_of, median
from runner.execute import run_program
from runner.interrupts import Interrupts
from runner.worktrees import tree_of_folder

BURN_EVERY = 256  # mallocs of a thread: HAK_BURN_EVERY of burn.h
INSTRUCTIONS_PER_ROUND = 2
PROBE_ROUNDS = 6000  # of the build that shows what a round costs: half as slow again, or so
MOST_ROUNDS = 10**9
_LIBRARY = "libhakmem.so"
_HEADER = Path("allocator") / "api" / "burn.h"
_BUILD_SECONDS = 1800.0


class BurnWorkshop:
    """A scratch copy of a source tree, in which libraries are built that burn. All are built in one
    place, so that they differ in the one constant alone. Close it at the end."""

    def __init__(self, root: Path, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._folder = tempfile.TemporaryDirectory(prefix="hakmem-burn-")
        self._tree = Path(os.path.realpath(self._folder.name)) / "tree"
        self._copy = tree_of_folder(root, self._tree)
        try:
            self._copy.__enter__()
        except (OSError, shutil.Error) as error:
            self._folder.cleanup()
            raise UsageError(f"'{root}' can't be copied to be built ({error}).") from error
        if not (self._tree / _HEADER).is_file():
            self.close()
            raise UsageError(f"'{root}' has no {_HEADER}, which slows malloc down; use a newer source tree.")

    def build(self, rounds: int, library: Path) -> None:
        """Build the library that burns `rounds` every BURN_EVERY-th malloc and put it at `library`.
        After the first one only what includes the header is compiled again. Raises UsageError with the
        compiler's words, and Interrupted."""
        if not 0 <= rounds <= MOST_ROUNDS:
            raise ValueError(f"{rounds} rounds")
        environment = make_environment()
        flags = f"{environment.get('CFLAGS', '')} -DHAKMEM_BURN={rounds}".strip()
        environment["CFLAGS"] = flags
        out = self._tree / "out" / VARIANT
        self._make(f"out/{VARIANT}/flags", environment)
        # make knows by this file's time what other flags were used for; what is without the header is not.
        for item in out.rglob("*.d"):
            if _HEADER.name in item.read_text("utf-8", "replace"):
                item.with_suffix(".o").unlink(missing_ok=True)
            else:
                os.utime(item.with_suffix(".o"))
        self._make(_LIBRARY, environment)
        try:
            library.parent.mkdir(parents=True, exist_ok=True)
            library.unlink(missing_ok=True)
            shutil.copyfile(out / _LIBRARY, library)
            library.chmod(0o755)
        except OSError as error:
            raise UsageError(explain_os_error(error, library)) from error

    def _make(self, target: str, environment: dict[str, str]) -> None:
        done = run_program(
            ["make", "-s", "-C", str(self._tree), f"VARIANT={VARIANT}", f"OUT=out/{VARIANT}", target],
            environment, _BUILD_SECONDS, self._interrupts,
        )
        if done.status != 0:
            said = done.start_error or " ".join(done.error_lines[-3:]) or "make said nothing"
            raise UsageError(f"the libraries that burn processor time could not be built: {said}.")

    def close(self) -> None:
        """Remove the tree."""
        self._copy.__exit__(None, None, None)
        self._folder.cleanup()


@dataclass(frozen=True)
class Slope:
    """By which share of its own time an operation gets longer with every round, with the 95% interval;
    out of `pairs` of samples with and without `rounds`, which slow it down by `slow_down`."""

    per_round: float
    interval: Interval
    rounds: int
    pairs: int
    slow_down: float

    def rounds_for(self, slow_down: float) -> int:
        """Return how many rounds make throughput smaller by this share."""
        return max(1, round((1 / (1 - slow_down) - 1) / self.per_round))

    def slow_down_of(self, rounds: int) -> tuple[float, Interval]:
        """Return by which share throughput is smaller with so many rounds, and its interval."""
        def share(per_round: float) -> float:
            return 1 - 1 / (1 + per_round * rounds)

        return share(self.per_round), Interval(share(self.interval.low), share(self.interval.high))


def slope_of(logs: Sequence[float], rounds: int, name: str) -> Optional[Slope]:
    """Return the slope out of the logarithms of the ratios of throughput of pairs, with `rounds` over
    without; None where they show no slow-down at all."""
    if not logs:
        return None
    middle = median(logs)
    found = interval_of(bootstrap(logs, f"slope:{name}"))
    if found.high >= 0:
        return None

    def per_round(log: float) -> float:
        return (math.exp(-log) - 1) / rounds

    return Slope(per_round(middle), Interval(per_round(found.high), per_round(found.low)), rounds,
                 len(logs), 1 - math.exp(middle))
