"""How results name a file: relative to the source tree where it lies inside, so that they tell
nothing of the machine they were made on and mean the same on another."""
from __future__ import annotations

import os
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent


def shown_path(path: str | os.PathLike[str], root: Path = TREE) -> str:
    """Return the path with symbolic links resolved, relative to root where it lies in it."""
    resolved = Path(os.path.realpath(path))
    try:
        return str(resolved.relative_to(os.path.realpath(root)))
    except ValueError:
        return str(resolved)
