"""Holds a conversation with a redis server and compares every reply: SOCKET FILE.

It needs nothing but Python's own modules and its neighbour, and ends the server when all is said.
"""
from __future__ import annotations

import os
import socket
import sys
import time

from redis_commands import CONNECTIONS, HEADER

_PATIENCE_SECONDS = 20.0


def _connect(path: str) -> socket.socket:
    """Connect as soon as the server listens."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > end:
                raise SystemExit(f"redis did not open its socket: {error}") from error
            time.sleep(0.005)


def _expect(connection: socket.socket, expected: bytes, number: int) -> None:
    """Read as many bytes as the right reply has, and compare."""
    pieces, missing = [], len(expected)
    while missing:
        piece = connection.recv(missing)
        if not piece:
            raise SystemExit(f"redis closed connection {number}")
        pieces.append(piece)
        missing -= len(piece)
    found = b"".join(pieces)
    if found != expected:
        place = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
        near = slice(max(0, place - 20), place + 40)
        raise SystemExit(
            f"redis gave a wrong reply on connection {number}: {found[near]!r} instead of "
            f"{expected[near]!r}"
        )


def main(path: str, conversation: str) -> None:
    """Say everything, one batch on each connection before the first reply is read."""
    connections = [_connect(path) for _ in range(CONNECTIONS)]
    waiting: dict[int, bytes] = {}
    with open(conversation, "rb") as file:
        while header := file.read(HEADER.size):
            number, asked, answered = HEADER.unpack(header)
            if number in waiting:
                for other, expected in waiting.items():
                    _expect(connections[other], expected, other)
                waiting.clear()
            connections[number].sendall(file.read(asked))
            waiting[number] = file.read(answered)
    for other, expected in waiting.items():
        _expect(connections[other], expected, other)
    connections[0].sendall(b"SHUTDOWN NOSAVE\r\n")
    if connections[0].recv(1000):
        raise SystemExit("redis refused to shut down")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as failure:
        sys.exit(f"the conversation with redis broke off: {failure}")
    sys.stdout.flush()
    os._exit(0)
