"""The folder of a pull request's comparison: what lies where in it."""
from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError, explain_os_error


@dataclass(frozen=True)
class Files:
    """The files of one comparison."""

    folder: Path

    @property
    def results(self) -> Path:
        """Every sample."""
        return self.folder / "results.jsonl"

    @property
    def comparison(self) -> Path:
        """The answers, as JSON."""
        return self.folder / "comparison.json"

    @property
    def markdown(self) -> Path:
        """The report for the pull request."""
        return self.folder / "report.md"

    @property
    def page(self) -> Path:
        """The report as a page."""
        return self.folder / "report.html"

    @property
    def profiles(self) -> Path:
        """The folder of the profiles."""
        return self.folder / "profiles"


def make_folder(wanted: Optional[Path], root: Path) -> Files:
    """Return the files of a new comparison, with the folder made. One that holds an earlier comparison
    is never written over. Raises UsageError."""
    folder = wanted or root / "results" / time.strftime("pr-%Y%m%dT%H%M%SZ", time.gmtime())
    files = Files(folder)
    if files.results.exists():
        raise UsageError(
            f"--out {folder}: an earlier comparison lies there; choose another folder, or go on with it "
            f"by --resume {folder}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(explain_os_error(error, folder, "--out DIR")) from error
    return files
