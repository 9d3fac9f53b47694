"""What CPython is measured with: documents, objects with cycles, text, tables.

The argument is a file with two numbers: rounds and seed.

Run with PYTHONMALLOC=malloc, so that every object's memory comes from malloc; by default CPython
takes blocks up to 512 bytes from an allocator of its own.
"""
from __future__ import annotations

import collections
import gc
import json
import random
import re
import sys
import zlib

ROUNDS_AT_FULL = 4
_LINE = re.compile(r"(?P<level>[A-Z]+) \[(?P<part>[\w.]+)\] (?P<text>.*?) took (?P<ms>\d+) ms")


class Node:
    """A node of a tree that knows its parent: garbage that only the collector finds."""

    def __init__(self, parent: Node | None, name: str) -> None:
        self.parent, self.name, self.children = parent, name, []
        self.attributes = {"depth": 0 if parent is None else parent.attributes["depth"] + 1}
        if parent is not None:
            parent.children.append(self)


def documents(generator: random.Random) -> int:
    """JSON to objects and back."""
    rows = [
        {"id": n, "name": f"item {n}", "tags": [f"tag{int(generator.random() * 50)}" for _ in range(5)],
         "price": int(generator.random() * 1e6) / 100, "nested": {"a": [n, n + 1], "b": None}}
        for n in range(2500)
    ]
    text = json.dumps(rows, indent=1, sort_keys=True)
    again = json.loads(text)
    return zlib.crc32(json.dumps(again).encode()) ^ len(text)


def trees(generator: random.Random) -> int:
    """Objects that are found to be garbage only by the collector."""
    total = 0
    for _ in range(2):
        nodes = [Node(None, "root")]
        for n in range(4000):
            nodes.append(Node(nodes[int(generator.random() * len(nodes))], f"node {n}"))
        total += sum(node.attributes["depth"] for node in nodes)
        del nodes
        gc.collect()
    return total


def lines(generator: random.Random) -> int:
    """Log lines: built, matched, counted."""
    levels = ("INFO", "WARNING", "ERROR")
    text = "\n".join(
        f"{levels[int(generator.random() * 3)]} [server.part{int(generator.random() * 40)}] request "
        f"{n:06d} of user{int(generator.random() * 900)} took {int(generator.random() * 5000)} ms"
        for n in range(8000)
    )
    counts: collections.Counter[str] = collections.Counter()
    slow: dict[str, list[str]] = collections.defaultdict(list)
    for match in _LINE.finditer(text):
        counts[match["part"]] += 1
        if int(match["ms"]) > 4000:
            slow[match["level"]].append(match["text"].upper().replace("REQUEST", "call"))
    summary = sorted((name, len(items), items[0]) for name, items in slow.items())
    return zlib.crc32(repr((sorted(counts.items()), summary)).encode())


def tables(generator: random.Random) -> int:
    """Dictionaries, tuples, sorting, and numbers too large for a word."""
    rows = [(f"k{int(generator.random() * 9000):05d}", generator.random(), n) for n in range(20000)]
    grouped: dict[str, list[tuple[str, float, int]]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    best = {key: max(group, key=lambda row: row[1])[2] for key, group in sorted(grouped.items())}
    big = 1
    for key in list(best)[:400]:
        big = big * (best[key] + 3) + 1
    return zlib.crc32(str(sorted(best.items(), key=lambda item: -item[1])[:500]).encode()) ^ (big % 65521)


def main(rounds: int, seed: int) -> None:
    """Do all of it `rounds` times and print a checksum of each."""
    kept: collections.deque[object] = collections.deque(maxlen=3)
    for number in range(rounds):
        generator = random.Random(f"{seed}:python:{number}")
        results = [work(generator) for work in (documents, trees, lines, tables)]
        kept.append([f"round {number} {value} {n}" for value in results for n in range(20000)])
        print(number, *results)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="ascii") as file:
        main(*map(int, file.read().split()))
