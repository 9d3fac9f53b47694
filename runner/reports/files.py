"""Writes a file whole or not at all: under another name first, which then takes the file's place."""
from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from runner.errors import UsageError, explain_os_error


def check_writable(path: Path, option: str) -> None:
    """Raise UsageError if no file can be written at `path`, before long work is done for it. Its folder
    is made."""
    if _is_stream(path):
        return
    try:
        if path.is_dir():
            raise UsageError(f"{option} {path}: it is a directory; name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.")
        os.close(descriptor)
        os.unlink(name)
    except OSError as error:
        raise UsageError(explain_os_error(error, path, option)) from error


def write_whole(path: Path, text: str, option: str) -> None:
    """Write `text` in UTF-8; whoever reads the file meanwhile sees the old one or the new one. What is no
    plain file, such as a pipe, is written as it is; `-` is standard output. Raises UsageError."""
    data = text.encode("utf-8", "replace")
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        if _is_stream(path):
            path.write_bytes(data)
            return
        _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise UsageError(explain_os_error(error, path, option)) from error


def _is_stream(path: Path) -> bool:
    if str(path) == "-":
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException:
        try:
            os.unlink(name)
        except OSError:
            pass
        raise


def _mode(path: Path) -> int:
    """The mode of the file that is replaced, else that of any new file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
