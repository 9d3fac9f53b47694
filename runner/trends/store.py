"""The database of a history: how it is made, opened and refused.

A file is looked at without being able to write to it before anything else; what is damaged, of a newer
version, or no history, is refused and stays as it is. Every writer takes the lock before it reads, and
waits for it, so that several may add at once; what it writes is one transaction.
"""
from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from runner.errors import UsageError, explain_os_error

APPLICATION_ID = 0x68616B6D  # "hakm"
VERSION = 1
LOCK_SECONDS = 120.0
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

# A series is one number of one cell; an entry is one allocator (or build) of one run.
_SCHEMA = """
CREATE TABLE machine (
    key TEXT PRIMARY KEY, title TEXT NOT NULL, facts TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, machine TEXT NOT NULL REFERENCES machine,
    started TEXT NOT NULL, command TEXT NOT NULL, settings TEXT NOT NULL, circumstances TEXT NOT NULL,
    checked INTEGER NOT NULL, complete INTEGER NOT NULL, header_sha256 TEXT NOT NULL,
    samples INTEGER NOT NULL, added TEXT NOT NULL
);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    allocator TEXT NOT NULL, product TEXT NOT NULL, version TEXT,
    commit_id TEXT, dirty INTEGER NOT NULL, given TEXT, subject TEXT, committed TEXT, generation INTEGER,
    UNIQUE (run, allocator)
);
CREATE INDEX entry_by_product ON entry (product, run);
CREATE TABLE cell (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, name TEXT NOT NULL, workload TEXT NOT NULL,
    parameters TEXT NOT NULL, concurrency INTEGER NOT NULL, PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE TABLE outcome (
    entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE, cell TEXT NOT NULL,
    attempts INTEGER NOT NULL, failures INTEGER NOT NULL, reason TEXT, PRIMARY KEY (entry, cell)
) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, cell TEXT NOT NULL, phase TEXT NOT NULL, metric TEXT NOT NULL,
    UNIQUE (cell, phase, metric)
);
CREATE TABLE value (
    series INTEGER NOT NULL REFERENCES series, entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE,
    baseline TEXT NOT NULL, median REAL NOT NULL, lower_quartile REAL NOT NULL,
    upper_quartile REAL NOT NULL, lowest REAL NOT NULL, highest REAL NOT NULL, samples INTEGER NOT NULL,
    PRIMARY KEY (series, entry, baseline)
) WITHOUT ROWID;
CREATE INDEX value_by_entry ON value (entry);
"""


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(os.path.abspath(path))}?mode={mode}"


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(_uri(path, mode), uri=True, timeout=LOCK_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _refuse(path: Path, why: str) -> UsageError:
    return UsageError(f"'{path}' {why}; it was left as it is. Name another database with --db PATH.")


def check_file(path: Path) -> bool:
    """Look at a file without writing to it. Return False if it is absent or empty, and is still to become
    a history; raise UsageError if it is none that this program can use."""
    try:
        with open(path, "rb") as stream:
            header = stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(explain_os_error(error, path, "--db PATH")) from error
    if not header:
        return False  # made by a writer that was ended before it wrote anything
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise _refuse(path, "is no SQLite database")
    _check_ids(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
    return True


def _check_ids(path: Path, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise _refuse(path, "is a database, but no history of runs")
    if version != VERSION:
        wanted = "newer" if version > VERSION else "other"
        raise _refuse(path, f"is a history of {wanted} version {version}, this program knows {VERSION}")


def _check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Raise UsageError if anything in it is damaged."""
    _check_ids(path, _pragma(connection, "application_id"), _pragma(connection, "user_version"))
    found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise _refuse(path, f"is damaged ({found[0].strip().splitlines()[-1]}); restore it from a copy")
    known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    wanted = {"machine", "run", "entry", "cell", "outcome", "series", "value"}
    if not wanted <= known:
        raise _refuse(path, f"lacks the table '{min(wanted - known)}'")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a history that can't be changed through this connection. Raises UsageError."""
    if not check_file(path):
        raise UsageError(
            f"there is no history at '{path}' yet; add a run with: runner/history.py add FILE --db PATH."
        )
    with _explained(path):
        _recover(path)
        with contextlib.closing(_connect(path, "ro")) as connection:
            connection.execute("BEGIN")  # all that is read is of one moment
            _check_content(connection, path)
            yield connection


@contextlib.contextmanager
def open_to_write(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a history for one transaction, and make it first where there is none; what was written stays
    if the block ends well. Raises UsageError."""
    exists = check_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(explain_os_error(error, path.parent, "--db PATH")) from error
    with _explained(path):
        if exists:
            _recover(path)
            with contextlib.closing(_connect(path, "ro")) as connection:
                connection.execute("BEGIN")
                _check_content(connection, path)
        with contextlib.closing(_connect(path, "rwc")) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            try:
                if _pragma(connection, "user_version") == 0:
                    _create(connection)
                _check_ids(path, _pragma(connection, "application_id"), _pragma(connection, "user_version"))
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _create(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _recover(path: Path) -> None:
    """Undo what a writer left half done that was killed: its journal lies beside the file, and only a
    connection that may write plays it back. The file's first bytes said already that it is ours."""
    if os.path.exists(f"{path}-journal"):
        with contextlib.closing(_connect(path, "rw")) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite complains about into a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error).lower()
        if "locked" in text:
            raise UsageError(
                f"'{path}' was being written by others for more than {LOCK_SECONDS:.0f} s; try again."
            ) from error
        if "full" in text:
            raise UsageError(
                f"cannot write '{path}': no space is left on its file system; nothing was added."
            ) from error
        if "readonly" in text or "unable to open" in text:
            raise UsageError(
                f"cannot open '{path}' ({text}): make the file and its folder writable, or name another "
                "database with --db PATH."
            ) from error
        if "malformed" in text or "not a database" in text or "corrupt" in text:
            raise _refuse(path, f"is damaged ({text})") from error
        raise UsageError(f"cannot use '{path}': {error}.") from error
