"""Builds missing or outdated drivers by calling make, and says which could not be built."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from runner.errors import UsageError

VARIANT = "release"
_MAKE_CHATTER = re.compile(r"make(\[\d+\])?: (\*\*\*|Target|Entering|Leaving|Nothing)")


def drivers_folder(root: Path) -> Path:
    """Return where make puts the drivers."""
    return root / "out" / VARIANT


def build_drivers(root: Path, targets: dict[str, list[str]]) -> dict[str, str]:
    """Bring the drivers up to date. `targets` gives the make targets by allocator name; the
    answer gives make's last words for each allocator whose targets could not be built."""
    everything = sorted({target for group in targets.values() for target in group})
    if not everything:
        return {}
    if shutil.which("make") is None:
        raise UsageError(
            "make is not installed, so the drivers can't be built; install Debian's package make, "
            "or use drivers that are built already with --no-build."
        )
    if not (root / "Makefile").is_file():
        raise UsageError(
            f"there is no Makefile in '{root}', so the drivers can't be built; use a complete "
            "checkout, or --no-build."
        )
    if _make(root, everything) is None:
        return {}
    failures: dict[str, str] = {}
    for name, group in targets.items():
        complaint = _make(root, sorted(set(group)))
        if complaint is not None:
            failures[name] = complaint
    return failures


def make_environment() -> dict[str, str]:
    """Return the environment for make: ours, without what would choose another variant or folder."""
    return {k: v for k, v in os.environ.items() if k not in ("VARIANT", "OUT", "LD_PRELOAD")}


def _make(root: Path, targets: Sequence[str]) -> Optional[str]:
    """Return None for success, else what make said about the failure."""
    done = subprocess.run(
        ["make", "-s", "-k", "-C", str(root), f"VARIANT={VARIANT}", f"OUT=out/{VARIANT}", *targets],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        env=make_environment(),
    )
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
    told = [
        line[len("make: "):] if line.startswith("make: ") else line
        for line in lines
        if line and not _MAKE_CHATTER.match(line)
    ]
    return " ".join(told[-3:]) or (lines[-1] if lines else f"make ended with {done.returncode}")
