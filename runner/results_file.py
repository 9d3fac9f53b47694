"""Reads and writes results files: JSON Lines, one record a line, each on disk before the next.

A reader gets every complete record even of a file that was cut off in the middle of a line.
"""
from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Optional

from runner.decode import DecodeError, decode
from runner.errors import UsageError, explain_os_error
from runner.records import (
    READABLE_VERSIONS,
    RECORD_TYPES,
    SCHEMA_NAME,
    End,
    ExactCount,
    Record,
    Resume,
    RunHeader,
    Sample,
    to_line,
)

# Written and taken back when a file is made, so that a full disk shows before anything is measured.
_TRIAL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Run:
    """A results file in memory."""

    path: Path
    header: RunHeader
    samples: list[Sample]
    ends: list[End]
    resumes: list[Resume]
    kept_bytes: int
    cut_bytes: int
    needs_newline: bool
    exact_counts: list[ExactCount] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True if the last thing that happened to the run was that it reached its end."""
        return bool(self.ends) and self.ends[-1].status == "complete"

    def cut_sentence(self) -> Optional[str]:
        """Return a sentence that says that the last line was cut, or None if it was not."""
        if not self.cut_bytes:
            return None
        return (
            f"The last line of '{self.path}' was cut off in the middle ({self.cut_bytes} bytes); "
            "the complete records before it are used."
        )


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def parse_record(line: bytes) -> Record:
    """Return the record in a line; raises ValueError (DecodeError is one) with the reason."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_reject_constant)
    except RecursionError as error:
        raise DecodeError("it is nested too deeply") from error
    if not isinstance(value, dict) or "record" not in value:
        raise DecodeError("the line is not a record")
    cls = RECORD_TYPES.get(value["record"]) if isinstance(value["record"], str) else None
    if cls is None:
        raise DecodeError(f"unknown kind of record {value['record']!r}")
    if cls is RunHeader:
        _check_version(value)
    record: Record = decode(cls, value)
    return record


def _check_version(value: dict[str, Any]) -> None:
    if value.get("schema") != SCHEMA_NAME:
        raise DecodeError(f"the schema is not '{SCHEMA_NAME}'")
    if value.get("schema_version") not in READABLE_VERSIONS:
        raise DecodeError(
            f"the schema's version is {value.get('schema_version')!r}, this program reads "
            f"versions {READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
        )


def read_run(path: Path) -> Run:
    """Return the run in a results file. Only its last line may be cut off; anything else that
    is wrong raises UsageError naming the file and the line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    lines = data.split(b"\n")
    tail = lines.pop()
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(parse_record(line))
        except ValueError as error:
            raise UsageError(
                f"{path}:{number}: this line is damaged ({error}); restore the file from a copy "
                "or remove the line."
            ) from error
    cut_bytes, needs_newline = len(tail), False
    if tail:
        try:
            records.append(parse_record(tail))
            cut_bytes, needs_newline = 0, True
        except ValueError:
            pass
    return _assemble(path, records, len(data) - cut_bytes, cut_bytes, needs_newline)


def _assemble(
    path: Path, records: list[Record], kept: int, cut: int, needs_newline: bool
) -> Run:
    if not records or not isinstance(records[0], RunHeader):
        raise UsageError(
            f"'{path}' does not begin with a complete record of a run, so nothing in it can be "
            "used; measure again."
        )
    samples: list[Sample] = []
    ends: list[End] = []
    resumes: list[Resume] = []
    exact: list[ExactCount] = []
    for number, record in enumerate(records[1:], start=2):
        if isinstance(record, Sample):
            samples.append(record)
        elif isinstance(record, End):
            ends.append(record)
        elif isinstance(record, ExactCount):
            exact.append(record)
        elif isinstance(record, Resume):
            resumes.append(record)
            ends.clear()
        else:
            raise UsageError(f"{path}:{number}: a second run begins here; split the file in two.")
    return Run(path, records[0], samples, ends, resumes, kept, cut, needs_newline, exact)


class ResultsWriter:
    """Appends records to a results file; each is flushed to the disk before `write` returns.

    Not thread-safe. Raises UsageError when the file can't be made or written.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._written = os.fstat(stream.fileno()).st_size

    @classmethod
    def create(cls, path: Path) -> ResultsWriter:
        """Make a new file, and the folder it lies in; an existing file is never overwritten."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(explain_os_error(error, path.parent)) from error
        try:
            stream = open(path, "xb", buffering=0)
        except FileExistsError as error:
            raise UsageError(
                f"'{path}' exists; choose another --output, or go on with it by --resume."
            ) from error
        except OSError as error:
            raise UsageError(explain_os_error(error, path)) from error
        writer = cls(path, stream)
        try:
            writer._lock()
            writer._try_space()
        except BaseException:
            writer.discard()
            raise
        return writer

    @classmethod
    def reopen(cls, path: Path) -> ResultsWriter:
        """Open the file of an interrupted run and lock it. Read the run after this, so that nothing
        that another one wrote until then is missed, and then call `go_on`."""
        try:
            stream = open(path, "r+b", buffering=0)
        except OSError as error:
            raise UsageError(explain_os_error(error, path)) from error
        writer = cls(path, stream)
        try:
            writer._lock()
        except BaseException:
            stream.close()
            raise
        return writer

    def go_on(self, run: Run) -> None:
        """Prepare to append to what was read; a cut tail is removed."""
        try:
            self._stream.truncate(run.kept_bytes)
            self._stream.seek(run.kept_bytes)
            self._written = run.kept_bytes
            if run.needs_newline:
                self._put(b"\n")
        except OSError as error:
            raise UsageError(explain_os_error(error, self.path)) from error

    def write(self, record: Record) -> None:
        """Append one record. When it can't be written whole, the file is cut back to the records
        before it and UsageError says why."""
        line = to_line(record) + "\n"
        try:
            self._put(line.encode("ascii"))
        except OSError as error:
            raise UsageError(explain_os_error(error, self.path)) from error

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._stream.close()

    def discard(self) -> None:
        """Close the file and remove it (for a run that ended before its first record)."""
        self._stream.close()
        self.path.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"'{self.path}' is being written by another run; wait for its end."
            ) from error
        except OSError:
            pass  # a file system without locks

    def _try_space(self) -> None:
        try:
            self._put(b"\0" * _TRIAL_BYTES)
            self._stream.truncate(0)
            self._stream.seek(0)
            self._written = 0
        except OSError as error:
            raise UsageError(explain_os_error(error, self.path)) from error

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest):]
            os.fdatasync(self._stream.fileno())  # the file's length, too, but not its times
        except OSError:
            try:
                self._stream.truncate(self._written)
                self._stream.seek(self._written)
            except OSError:
                pass  # readers cope with a cut last line
            raise
        self._written += len(data)
