"""The recorded traces of the workload replay, and what --matrix trace=NAME,FILE takes."""
from __future__ import annotations

import os
from pathlib import Path

from runner.errors import UsageError, nearest
from runner.paths import TREE

FOLDER = TREE / "workloads" / "replay" / "traces"
SUFFIX = ".trace.gz"


def recorded_traces(folder: Path = FOLDER) -> list[str]:
    """Return the names of the traces that the suite brings; the driver knows them by these names."""
    return sorted(path.name[: -len(SUFFIX)] for path in folder.glob(f"*{SUFFIX}"))


def parse_trace(text: str, where: str) -> str:
    """Return a recorded trace's name as it is, a file as its whole path; raises UsageError."""
    names = recorded_traces()
    if text in names:
        return text
    if not os.path.isfile(text):
        raise UsageError(
            f"{where}: '{text}' is neither a recorded trace (there are {', '.join(names) or 'none'}) nor an "
            f"existing file{nearest(text, names)}; give one of them."
        )
    return str(Path(text).resolve())
