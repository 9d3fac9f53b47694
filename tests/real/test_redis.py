"""redis: its own benchmark's default tests, data of every type read back, snapshots and logs reloaded.

Debian's redis is linked against libjemalloc; the preloaded malloc takes its place.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from real_run import Run, Started, find, size
from resp import Redis, Word

# The name of each of redis-benchmark's default tests, as its summary has it.
BENCHMARKS = (
    "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN LRANGE_100 "
    "LRANGE_300 LRANGE_500 LRANGE_600 MSET"
).split()


def server(run: Run, *options: str) -> Started:
    """A server on a socket in the run's folder. In the long form a second thread reads and writes sockets:
    it spins, which takes a core from the others."""
    started = run.start(
        find("redis-server", "redis-server"), "--port", "0", "--unixsocket", str(run.folder / "socket"),
        "--save", "", "--dir", str(run.folder), "--enable-debug-command", "local", "--daemonize", "no",
        "--io-threads", str(size(1, 2)), "--io-threads-do-reads", "yes", *options,
    )

    def answers() -> None:
        with Redis(run.folder / "socket") as redis:
            assert redis("PING") == b"PONG"  # an error while it still loads

    started.ready(answers)
    return started


def stop(run: Run, started: Started, *how: str) -> None:
    done = run.program(find("redis-cli", "redis-tools"), "-s", str(run.folder / "socket"), "shutdown", *how)
    assert done.stdout.strip() == b""
    assert started.wait(30).status == 0


def test_benchmark(real) -> None:
    """Every default test, from 50 clients at once."""

    def scenario(run: Run) -> None:
        started = server(run)
        done = run.program(
            find("redis-benchmark", "redis-tools"), "-s", str(run.folder / "socket"),
            "-n", str(size(3000, 100000)), "--csv", "-r", "10000", "-d", "100", timeout=size(60, 600),
        )
        lines = done.stdout.decode().splitlines()
        assert lines[0].startswith('"test","rps"')
        rates = {line.split(",")[0].strip('"').split(" (")[0]: float(line.split('"')[3]) for line in lines[1:]}
        for name in BENCHMARKS:
            assert rates.get(name, 0) > 0, f"{name} is missing in {lines}"
        stop(run, started, "nosave")
        run.served("redis-server", "redis-benchmark", "redis-cli")

    real(scenario)


def make_data(count: int) -> Tuple[List[List[Word]], Dict[Tuple[Word, ...], Any]]:
    """Commands that write data of every type, and what each reading command must answer then."""
    pick = random.Random(7)

    def text() -> bytes:
        return pick.randbytes(pick.choice((3, 20, 70, 200, 1000, 5000)))

    writes: List[List[Word]] = []
    reads: Dict[Tuple[Word, ...], Any] = {}
    for i in range(count):
        value = text()
        writes.append(["SET", f"string:{i}", value])
        reads["GET", f"string:{i}"] = value
    for i in range(count // 50):
        items = [text() for _ in range(pick.randrange(1, 150))]
        writes.append(["RPUSH", f"list:{i}", *items])
        reads["LRANGE", f"list:{i}", 0, -1] = items
        fields = {b"field:%d" % k: text() for k in range(pick.randrange(1, 150))}
        writes.append(["HSET", f"hash:{i}", *[word for pair in fields.items() for word in pair]])
        reads[("HMGET", f"hash:{i}", *fields)] = list(fields.values())
        members = sorted({b"%d:" % pick.randrange(10**9) + text()[:40] for _ in range(pick.randrange(1, 300))})
        writes.append(["SADD", f"set:{i}", *members])
        reads[("SMISMEMBER", f"set:{i}", *members)] = [1] * len(members)
        reads["SCARD", f"set:{i}"] = len(members)
        writes.append(["ZADD", f"zset:{i}", *[word for score, m in enumerate(members) for word in (score, m)]])
        reads["ZRANGE", f"zset:{i}", 0, -1] = members
        writes.append(["XADD", f"stream:{i}", "1-1", "field", items[0]])
        reads["XRANGE", f"stream:{i}", "-", "+"] = [[b"1-1", [b"field", items[0]]]]
    return writes, reads


def in_pieces(redis: Redis, commands: List[Any]) -> List[Any]:
    return [reply for i in range(0, len(commands), 200) for reply in redis.pipeline(commands[i : i + 200])]


def check_data(redis: Redis, reads: Dict[Tuple[Word, ...], Any]) -> None:
    for command, reply in zip(reads, in_pieces(redis, list(reads))):
        assert reply == reads[command], f"{command[:2]} answered something else than was written"


def wait_for(redis: Redis, running: str) -> None:
    """Until a save or rewrite in the background is done, and done well."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = redis("INFO", "persistence").decode()
        if f"{running}_in_progress:0" in state and "aof_rewrite_scheduled:0" in state:
            assert "rdb_last_bgsave_status:ok" in state and "aof_last_bgrewrite_status:ok" in state
            return
        time.sleep(0.02)
    raise AssertionError(f"{running} is still in progress after 60 s")


def churn(redis: Redis, count: int) -> None:
    """Values grow and shrink, and keys go in the background thread: blocks freed by another."""
    pick = random.Random(8)
    commands: List[List[Word]] = []
    for i in range(count):
        key = f"churn:{pick.randrange(200)}"
        commands.append(
            pick.choice((
                ["SETRANGE", key, pick.randrange(20000), b"x" * 100],
                ["UNLINK", key],
                ["EVAL", "local t = {} for i = 1, 100 do t[i] = KEYS[1] .. i end return #t", 1, key],
                ["RPUSH", f"{key}:list", *[b"y" * pick.randrange(300)] * 50],
                ["UNLINK", f"{key}:list"],
            ))
        )
    in_pieces(redis, commands)
    in_pieces(redis, [["UNLINK", f"churn:{i}", f"churn:{i}:list"] for i in range(200)])


def test_data_survives(real) -> None:
    """Read back at once, after a save in the background under load, after a restart from the snapshot, and
    after a restart from the log."""

    def scenario(run: Run) -> None:
        writes, reads = make_data(size(4000, 40000))
        started = server(run, "--appendonly", "no")
        with Redis(run.folder / "socket") as redis:
            in_pieces(redis, writes)
            check_data(redis, reads)
            assert redis("BGSAVE") == b"Background saving started"
            churn(redis, size(2000, 20000))  # while the child holds the old pages
            wait_for(redis, "rdb_bgsave")
            check_data(redis, reads)
            assert redis("SAVE") == b"OK"
            digest = redis("DEBUG", "DIGEST")
            assert redis("DEBUG", "RELOAD") == b"OK"
            assert redis("DEBUG", "DIGEST") == digest
        stop(run, started, "save")

        started = server(run, "--appendonly", "no")
        with Redis(run.folder / "socket") as redis:
            assert redis("DEBUG", "DIGEST") == digest
            check_data(redis, reads)
            assert redis("CONFIG", "SET", "appendonly", "yes") == b"OK"
            churn(redis, size(1000, 10000))
            wait_for(redis, "aof_rewrite")
            assert redis("BGREWRITEAOF").startswith(b"Background append only file rewriting")
            churn(redis, size(1000, 10000))
            wait_for(redis, "aof_rewrite")
            digest = redis("DEBUG", "DIGEST")
        stop(run, started, "nosave")
        assert any(Path(run.folder / "appendonlydir").iterdir())

        started = server(run, "--appendonly", "yes")
        with Redis(run.folder / "socket") as redis:
            assert redis("DEBUG", "DIGEST") == digest
            check_data(redis, reads)
            assert redis("FLUSHALL", "ASYNC") == b"OK"
            assert redis("DBSIZE") == 0
        stop(run, started, "nosave")
        run.served("redis-server", "redis-cli")

    real(scenario)
