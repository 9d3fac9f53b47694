"""Shows how far the run is and how much time is left: a bar on a terminal, lines elsewhere.

The bar is drawn between samples only, never while one is measured.
"""
from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Optional, TextIO

from runner.schedule import in_words

LINE_SECONDS = 10.0
_BAR_WIDTH = 30


class Progress:
    """Lines, not more than one in LINE_SECONDS. `total` may be raised or lowered later; it counts
    `unit`."""

    def __init__(self, stream: TextIO, total: int, unit: str = "samples") -> None:
        self.stream = stream
        self.total = total
        self.unit = unit
        self._last_line = time.monotonic()

    def update(self, done: int, seconds_left: Optional[float], current: str) -> None:
        """`done` samples are finished and `current` comes next."""
        if time.monotonic() - self._last_line < LINE_SECONDS:
            return
        self._last_line = time.monotonic()
        print(f"{self._state(done, seconds_left)}, at {current}", file=self.stream, flush=True)

    def message(self, text: str) -> None:
        """Print a line that stays."""
        print(text, file=self.stream, flush=True)

    def finish(self, done: int) -> None:
        """Nothing more comes."""
        print(f"{done} of {self.total} {self.unit} done", file=self.stream, flush=True)

    def _state(self, done: int, seconds_left: Optional[float]) -> str:
        share = 100 * done // max(1, self.total)
        left = "" if seconds_left is None else f", {in_words(seconds_left)} left"
        return f"{done} of {self.total} {self.unit} ({share}%){left}"


class PlainBar(Progress):
    """A bar of our own for terminals."""

    def update(self, done: int, seconds_left: Optional[float], current: str) -> None:
        filled = _BAR_WIDTH * done // max(1, self.total)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        width = max(20, shutil.get_terminal_size().columns - 1)
        text = f"[{bar}] {self._state(done, seconds_left)}  {current}"
        self.stream.write("\r" + text[:width].ljust(width))
        self.stream.flush()

    def message(self, text: str) -> None:
        self._clear()
        super().message(text)

    def finish(self, done: int) -> None:
        self._clear()
        super().finish(done)

    def _clear(self) -> None:
        width = max(20, shutil.get_terminal_size().columns - 1)
        self.stream.write("\r" + " " * width + "\r")


class RichBar(Progress):
    """The same with the library rich. It must not refresh by itself: its thread would disturb
    what is measured."""

    def __init__(
        self, stream: TextIO, total: int, unit: str, rich_progress: Any, rich_console: Any
    ) -> None:
        super().__init__(stream, total, unit)
        console = rich_console.Console(file=stream)
        self._bar = rich_progress.Progress(
            rich_progress.BarColumn(bar_width=_BAR_WIDTH),
            rich_progress.TextColumn("{task.description}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def update(self, done: int, seconds_left: Optional[float], current: str) -> None:
        self._bar.update(
            self._task,
            completed=done,
            total=self.total,
            description=f"{self._state(done, seconds_left)}  {current}",
        )
        self._bar.refresh()

    def message(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def finish(self, done: int) -> None:
        self._bar.stop()
        super().finish(done)


def make_progress(total: int, stream: Optional[TextIO] = None, unit: str = "samples") -> Progress:
    """Return what suits the stream (standard error if None) and what is installed; `total` counts
    `unit`."""
    stream = stream or sys.stderr
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return Progress(stream, total, unit)
    try:
        import rich.console
        import rich.progress
    except ImportError:
        return PlainBar(stream, total, unit)
    return RichBar(stream, total, unit, rich.progress, rich.console)
