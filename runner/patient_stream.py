"""A standard stream that may break without ending the run: a reader that has gone, a full disk."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Optional, TextIO


class PatientStream:
    """Passes everything on to a stream until that can't be written; then to nowhere.

    A reader that goes away, as `head` does, has what it wanted and is no problem; anything else that
    kept text from being written is remembered in `problem`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem: Optional[str] = None

    @classmethod
    def take(cls, name: str) -> PatientStream:
        """Put a patient stream in the place of sys.stdout or sys.stderr, and return it. Where the
        program was started without one, whatever is written goes nowhere."""
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")
        patient = cls(stream)
        setattr(sys, name, patient)
        return patient

    def write(self, text: str) -> int:
        """Write, or give up the stream for good."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or give up the stream for good."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.problem = (error.strerror or str(error)).lower()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        self._stream.flush()  # what is left in its buffer must not come up again at the end


def run_patiently(
    program: str, work: Callable[[], int], lost: Callable[[int], int], kept: str = ""
) -> int:
    """Do a script's work with standard streams that may break, and return its exit status, which an
    argument parser may give, too (after --help). Where standard output could not be written, a sentence
    says so, `kept` in it what is safe all the same, and `lost` turns the status into another."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a locale without the signs that are printed
    output, errors = PatientStream.take("stdout"), PatientStream.take("stderr")
    try:
        status = work()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        output.flush()
        errors.flush()
    if output.problem is None:
        return status
    print(f"{program}: standard output could not be written ({output.problem}){kept}.", file=sys.stderr,
          flush=True)
    return lost(status)
