"""Shows what a gate is doing: on a terminal one line that changes, elsewhere a line now and then; and
the lines that stay.
"""
from __future__ import annotations

import os
import shutil
import sys
import time

from runner.progress import LINE_SECONDS
from runner.schedule import in_words

_REDRAW_SECONDS = 0.2


class Show:
    """Progress goes to standard error. Lines that stay go to standard output, or, where that is for a
    program to read (`quiet`), to standard error too."""

    def __init__(self, quiet: bool) -> None:
        self._stream = sys.stderr
        self._lines = sys.stderr if quiet else sys.stdout
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._what, self._begin, self._last = "", time.monotonic(), 0.0
        self._drawn = False

    def begin(self, what: str) -> None:
        """Something that may take long begins now."""
        self._what, self._begin = what, time.monotonic()
        self._last = self._begin
        if self._live:
            self._draw("")

    def tell(self, now: str) -> None:
        """What is being done at this moment, or the last line of who does it; called often."""
        wait = _REDRAW_SECONDS if self._live else LINE_SECONDS
        if time.monotonic() - self._last < wait:
            return
        self._last = time.monotonic()
        if self._live:
            self._draw(now)
        else:
            print(f"    {self._text(now)}", file=self._stream, flush=True)

    def line(self, text: str = "") -> None:
        """Print a line that stays."""
        self.clear()
        print(text, file=self._lines, flush=True)

    def clear(self) -> None:
        """Take the changing line away."""
        if self._drawn:
            self._stream.write("\r" + " " * self._width() + "\r")
            self._stream.flush()
            self._drawn = False

    def _text(self, now: str) -> str:
        since = in_words(time.monotonic() - self._begin)
        return f"{self._what} ({since}){': ' if now else ''}{now.strip()}"

    def _draw(self, now: str) -> None:
        width, self._drawn = self._width(), True
        text = "".join(c if c.isprintable() else " " for c in self._text(now))
        self._stream.write("\r" + text[:width].ljust(width))
        self._stream.flush()

    @staticmethod
    def _width() -> int:
        return max(20, shutil.get_terminal_size().columns - 1)
