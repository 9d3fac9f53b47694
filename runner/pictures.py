"""Draws a run's pictures with the first Python that has matplotlib.

Searched in this order: the Python that runs us; `python3` on the PATH; /usr/bin/python3 and
/usr/local/bin/python3. Others than our own are started without PYTHONPATH and PYTHONHOME, which
are made for ours.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional

_PROBE_SECONDS = 60
_DRAW_SECONDS = 600
MISSING = (
    "No pictures: no Python with matplotlib was found; install Debian's package "
    "python3-matplotlib, then run plots/draw.py with the results file."
)


def candidates() -> list[str]:
    """Return the interpreters to look at, each once."""
    found: list[str] = []
    for name in (sys.executable, shutil.which("python3"), "/usr/bin/python3",
                 "/usr/local/bin/python3"):
        if name and os.access(name, os.X_OK) and name not in found:
            found.append(name)
    return found


def environment_for(python: str) -> dict[str, str]:
    """Return the environment to start an interpreter with."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    if python != sys.executable:
        for name in ("PYTHONPATH", "PYTHONHOME"):
            environment.pop(name, None)
    return environment


def find_python(module: str = "matplotlib") -> Optional[str]:
    """Return the first interpreter that can import a module, None if there is none."""
    for python in candidates():
        try:
            done = subprocess.run(
                [python, "-c", f"import sys; assert sys.version_info >= (3, 9); import {module}"],
                env=environment_for(python), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=_PROBE_SECONDS, check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return python
    return None


def draw(
    root: Path, results: Path, folder: Path, script: str = "draw.py"
) -> tuple[list[Path], Optional[str]]:
    """Draw the pictures of a results file into a folder, with a script of plots/. Return the PNG files,
    and a sentence if that did not work."""
    python = find_python()
    if python is None:
        return [], MISSING
    command = [python, str(root / "plots" / script), str(results), "--out", str(folder)]
    try:
        done = subprocess.run(
            command, env=environment_for(python), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_DRAW_SECONDS, check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"No pictures: plots/{script} did not run ({error})."
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return [], f"No pictures: plots/{script} failed: {lines[-1] if lines else 'no message'}"
    return sorted(folder.glob("*.png")), None
