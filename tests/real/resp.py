"""A client for redis: commands in its wire protocol over a unix socket, pipelined."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import List, Optional, Sequence, Type, Union

Reply = Union[None, int, bytes, List["Reply"]]
Word = Union[str, bytes, int]


class Redis:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._file.close()
        self._socket.close()

    def __call__(self, *words: Word) -> Reply:
        return self.pipeline([words])[0]

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> List[Reply]:
        """Sends the commands in one piece (of a few MB at most) and returns their replies."""
        self._socket.sendall(b"".join(map(encode, commands)))
        return [self._read() for _ in commands]

    def _read(self) -> Reply:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        raise AssertionError(f"redis answered {line!r}")


def encode(command: Sequence[Word]) -> bytes:
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
