"""The errors that end a run with one sentence instead of a traceback."""
from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

EXIT_COMPLETE = 0
EXIT_FAILED_SAMPLES = 1
EXIT_USAGE = 2


class UsageError(Exception):
    """Something the user gave, or that the run needs, is wrong; the text is one sentence that
    names it and says what to do. Ends the program with status 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the known word most like `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def explain_os_error(error: OSError, path: Path, option: str = "--output FILE") -> str:
    """Return a sentence for a failure to read or write `path` that says what to do; `option` is how the
    user names another place."""
    what = {
        errno.ENOSPC: "no space is left on its file system: free some, or choose another place "
        f"with {option}",
        errno.EDQUOT: f"the disk quota is used up: free some, or choose another place with {option}",
        errno.EACCES: f"permission denied: make it accessible, or choose another place with {option}",
        errno.EROFS: f"its file system is read-only: choose another place with {option}",
        errno.ENOENT: "it does not exist",
        errno.EEXIST: "it is not a directory",
        errno.ENOTDIR: "a part of the path is not a directory",
        errno.EISDIR: "it is a directory: name a file",
    }.get(error.errno or 0, (error.strerror or str(error)).lower())
    return f"cannot use '{path}': {what}."
