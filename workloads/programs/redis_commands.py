"""Makes the conversation with redis: commands, and the replies that a correct server gives.

Every connection has keys of its own, so that its replies do not depend on how the server interleaves
connections. A model of the data set computes each reply; at the end every key is read back. The file
is a row of batches: a header `<HII` (connection, bytes of commands, bytes of replies), the commands,
the replies.
"""
from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import BinaryIO

CONNECTIONS = 8
PIPELINE = 16  # commands in a batch
HEADER = struct.Struct("<HII")
COMMANDS_AT_FULL = 320_000
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789-_.:/ "


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def _bulk(text: bytes | None) -> bytes:
    return b"$-1\r\n" if text is None else b"$%d\r\n%s\r\n" % (len(text), text)


def _array(items: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(map(_bulk, items))


class _Connection:
    """One connection's keys, as the server must have them."""

    def __init__(self, number: int, generator: random.Random, keys: int) -> None:
        self.number, self.generator, self.keys = number, generator, keys
        self.strings: dict[bytes, bytes] = {}
        self.counters: dict[bytes, int] = {}
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.lists: dict[bytes, list[bytes]] = {}
        self.sorted: dict[bytes, dict[bytes, int]] = {}
        self._text = bytes(generator.choice(_ALPHABET) for _ in range(8192))

    def _key(self, kind: bytes, count: int) -> bytes:
        return b"%s:%d:%d" % (kind, self.number, int(self.generator.random() * count))

    def _value(self) -> bytes:
        """Mostly some dozens of bytes, seldom some thousands."""
        length = int(20 / (1.0025 - self.generator.random()))
        start = int(self.generator.random() * (len(self._text) - length))
        return self._text[start:start + length]

    def set(self, key: bytes) -> tuple[bytes, bytes]:
        """Write a string."""
        self.strings[key] = self._value()
        return _command(b"SET", key, self.strings[key]), b"+OK\r\n"

    def get(self, key: bytes) -> tuple[bytes, bytes]:
        """Read a string."""
        return _command(b"GET", key), _bulk(self.strings.get(key))

    def any(self) -> tuple[bytes, bytes]:
        """Return the next command of the mix with its reply."""
        choice = self.generator.random()
        if choice < 0.30:
            return self.get(self._key(b"string", self.keys))
        if choice < 0.52:
            return self.set(self._key(b"string", self.keys))
        if choice < 0.62:
            key = self._key(b"string", self.keys)
            there = self.strings.pop(key, None) is not None
            return _command(b"DEL", key), b":%d\r\n" % there
        if choice < 0.68:
            key, more = self._key(b"string", self.keys), self._value()[:200]
            text = self.strings[key] = (self.strings.get(key, b"") + more)
            if len(text) > 6000:
                self.strings[key] = more
                return _command(b"SET", key, more), b"+OK\r\n"
            return _command(b"APPEND", key, more), b":%d\r\n" % len(text)
        if choice < 0.74:
            key = self._key(b"counter", self.keys // 8)
            self.counters[key] = self.counters.get(key, 0) + 1
            return _command(b"INCR", key), b":%d\r\n" % self.counters[key]
        if choice < 0.84:
            return self._hash()
        return self._list() if choice < 0.93 else self._sorted()

    def _hash(self) -> tuple[bytes, bytes]:
        key, field = self._key(b"hash", self.keys // 16), self._key(b"field", 24)
        fields = self.hashes.setdefault(key, {})
        if self.generator.random() < 0.5:
            return _command(b"HGET", key, field), _bulk(fields.get(field))
        fresh = field not in fields
        fields[field] = self._value()[:100]
        return _command(b"HSET", key, field, fields[field]), b":%d\r\n" % fresh

    def _list(self) -> tuple[bytes, bytes]:
        key = self._key(b"list", self.keys // 64)
        items = self.lists.setdefault(key, [])
        choice = self.generator.random()
        if choice < 0.5 or not items:
            items.append(self._value()[:300])
            return _command(b"RPUSH", key, items[-1]), b":%d\r\n" % len(items)
        if choice < 0.8:
            return _command(b"LPOP", key), _bulk(items.pop(0))
        return _command(b"LRANGE", key, b"0", b"9"), _array(items[:10])

    def _sorted(self) -> tuple[bytes, bytes]:
        key, member = self._key(b"sorted", self.keys // 128), self._key(b"member", 400)
        scores = self.sorted.setdefault(key, {})
        if self.generator.random() < 0.85:
            fresh = member not in scores
            scores[member] = int(self.generator.random() * 1e6)
            return _command(b"ZADD", key, b"%d" % scores[member], member), b":%d\r\n" % fresh
        order = sorted(scores, key=lambda name: (scores[name], name))
        return _command(b"ZRANGE", key, b"0", b"9"), _array(order[:10])

    def read_back(self) -> list[tuple[bytes, bytes]]:
        """Return the commands that read every string and list, with what must come."""
        found = [self.get(key) for key in self.strings]
        found += [(_command(b"LRANGE", key, b"0", b"-1"), _array(items))
                  for key, items in self.lists.items()]
        return found


def _write(file: BinaryIO, number: int, pairs: list[tuple[bytes, bytes]]) -> int:
    commands, replies = b"".join(p[0] for p in pairs), b"".join(p[1] for p in pairs)
    file.write(HEADER.pack(number, len(commands), len(replies)) + commands + replies)
    return len(pairs)


def write_conversation(path: Path, seed: int, work: int) -> int:
    """Write the conversation for `work` per cent of a full sample; return its commands."""
    wanted = COMMANDS_AT_FULL * work // 100 // CONNECTIONS
    keys = max(64, wanted // 3)
    connections = [
        _Connection(number, random.Random(f"{seed}:redis:{number}"), keys)
        for number in range(CONNECTIONS)
    ]
    total = 0
    with open(path, "wb") as file:
        for _ in range(max(1, wanted // PIPELINE)):
            for connection in connections:
                pairs = [connection.any() for _ in range(PIPELINE)]
                total += _write(file, connection.number, pairs)
        for connection in connections:
            pairs = connection.read_back()
            for start in range(0, len(pairs), PIPELINE):
                total += _write(file, connection.number, pairs[start:start + PIPELINE])
    return total
