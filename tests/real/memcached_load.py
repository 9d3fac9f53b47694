"""A load generator for memcached: threads that set, get, compare, delete and count, in the text protocol."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional


class Client:
    """One connection."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def line(self, request: bytes) -> bytes:
        self._socket.sendall(request + b"\r\n")
        return self._file.readline()[:-2]

    def set(self, key: bytes, value: bytes) -> None:
        answer = self.line(b"set %s 0 0 %d\r\n%s" % (key, len(value), value))
        assert answer == b"STORED", f"set of {len(value)} bytes: {answer!r}"

    def get(self, *keys: bytes) -> Dict[bytes, bytes]:
        self._socket.sendall(b"get " + b" ".join(keys) + b"\r\n")
        found: Dict[bytes, bytes] = {}
        while (line := self._file.readline()[:-2]) != b"END":
            word, key, _, length = line.split(b" ")
            assert word == b"VALUE", f"get: {line!r}"
            found[key] = self._file.read(int(length))
            assert self._file.read(2) == b"\r\n"
        return found

    def stats(self) -> Dict[str, str]:
        self._socket.sendall(b"stats\r\n")
        found: Dict[str, str] = {}
        while (line := self._file.readline().decode().strip()) != "END":
            _, name, value = line.split(" ", 2)
            found[name] = value
        return found


@dataclass
class Load:
    """What is asked of the server, and what came of it."""

    path: Path
    seconds: float
    threads: int = 4
    keys: int = 300  # of each thread
    largest: int = 20000  # bytes of a value
    may_miss: bool = False  # the server is too small for all of it, and forgets
    operations: int = 0
    misses: int = 0
    counted: int = 0
    errors: List[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Raises the first error of any thread; then every counter and value is as it should be."""
        client = Client(self.path)
        client.set(b"shared-counter", b"0")
        threads = [threading.Thread(target=self._guarded, args=(number,)) for number in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        counter = client.get(b"shared-counter")
        assert counter == {b"shared-counter": b"%d" % self.counted} or (self.may_miss and not counter)
        client.close()

    def _guarded(self, number: int) -> None:
        try:
            self._thread(number)
        except BaseException as error:  # noqa: B902 - any end of a thread is the load's
            self.errors.append(error)

    def _thread(self, number: int) -> None:
        pick = random.Random(number)
        written: Dict[bytes, Optional[bytes]] = {}
        misses = counted = operations = 0
        client = Client(self.path)
        noise = pick.randbytes(2 * self.largest)
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline and not self.errors:
            if operations % 500 == 499:  # connections come and go
                client.close()
                client = Client(self.path)
            operations += 1
            key = b"key-%d-%d" % (number, pick.randrange(self.keys))
            what = pick.random()
            if what < 0.4:
                start = pick.randrange(self.largest)
                value = key + noise[start : start + pick.choice((10, 100, 1000, self.largest))]
                client.set(key, value)
                written[key] = value
            elif what < 0.9:
                keys = {key, *pick.sample(sorted(written), min(len(written), 5))}
                found = client.get(*keys)
                for one in keys:
                    expected, got = written.get(one), found.get(one)
                    if got is None and expected is not None and self.may_miss:
                        misses += 1
                    else:
                        assert got == expected, f"{one!r}: read {got!r:.80}, written was {expected!r:.80}"
            elif what < 0.95:
                answer = client.line(b"delete " + key)
                assert answer in (b"DELETED", b"NOT_FOUND")
                assert self.may_miss or (answer == b"DELETED") == (written.get(key) is not None)
                written[key] = None
            else:
                answer = client.line(b"incr shared-counter 1")
                assert answer.isdigit() or (self.may_miss and answer == b"NOT_FOUND"), answer
                counted += answer.isdigit()
        client.close()
        with self.lock:
            self.operations += operations
            self.misses += misses
            self.counted += counted
