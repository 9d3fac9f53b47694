"""PostgreSQL, as an ordinary user: pgbench's books balance, indexes are sound, a dump restores the same."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Callable, List

import pytest

from real_run import Done, Run, Started, find, size

CLIENTS = 4


def binaries() -> Path:
    """The newest version that is installed with its server."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        pytest.skip("PostgreSQL's server is not installed (package postgresql; tests/real/setup.sh installs it)")
    return max(found, key=lambda path: int(path.parent.name))


def as_ordinary_user(folder: Path) -> List[str]:
    """PostgreSQL refuses to be run by root. What setpriv starts keeps the environment, the preload too."""
    if os.geteuid() != 0:
        return []
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    setpriv = find("setpriv", "util-linux")
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [setpriv, *ids, "--no-new-privs", "--"]


def test_pgbench(real) -> None:
    def scenario(run: Run) -> None:
        tools = binaries()
        folder = run.folder / "postgres"
        folder.mkdir()
        user = as_ordinary_user(folder)
        data = folder / "data"

        def tool(name: str, *words: str, **options) -> Done:
            return run.program(*user, str(tools / name), *words, cwd=folder, **options)

        def client(name: str, *words: str, **options) -> Done:
            return tool(name, "-h", str(folder), "-U", "tester", *words, **options)

        def query(text: str, base: str = "bench") -> str:
            words = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text, base]
            return client("psql", *words).stdout.decode().strip()

        def server() -> Started:
            started = run.start(
                *user, str(tools / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=",
                "-c", "fsync=" + size("off", "on"), "-c", "shared_buffers=64MB", "-c", "jit_above_cost=1000",
                "-c", "max_parallel_workers_per_gather=2", "-c", "autovacuum_naptime=1s",
                "-c", "logging_collector=off", cwd=folder,
            )
            started.ready(lambda: query("SELECT 1", "postgres"))
            return started

        def while_it_runs(work: Callable[[], None]) -> None:
            started = server()
            work()
            done = started.stop(timeout=60)
            for bad in (b"PANIC", b"was terminated by signal", b"ERROR:"):
                assert bad not in done.stderr, done.stderr[-2000:].decode()

        def load_and_check() -> None:
            client("createdb", "bench")
            client("pgbench", "-i", "-q", "-s", str(size(2, 10)), "bench")
            seconds = str(size(3, 20))
            done = client(
                "pgbench", "-c", str(CLIENTS), "-j", "2", "-T", seconds, "-M", "prepared", "bench", timeout=120,
            ).stdout.decode()
            assert "number of failed transactions: 0" in done
            transactions = int(done.split("number of transactions actually processed: ")[1].split()[0])
            assert transactions > 100
            books = query(
                "SELECT (SELECT sum(abalance) FROM pgbench_accounts), "
                "(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), "
                "(SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)"
            ).split("|")
            assert len(set(books[:4])) == 1 and books[4] == str(transactions), books
            query("CREATE EXTENSION amcheck")
            query("SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
                  "JOIN pg_am a ON a.oid = relam WHERE amname = 'btree' AND relpersistence = 'p'")
            # Sorting, hashing, text and JSON, in backends that work together.
            rows = size(100_000, 1_000_000)
            total = query(
                "SELECT sum(n), count(*) FROM (SELECT md5((i % 1000)::text) AS m, count(*) AS n, "
                f"array_agg(jsonb_build_object('i', i) ORDER BY i DESC) FROM generate_series(1, {rows}) i "
                "GROUP BY m) t"
            )
            assert total == f"{rows}|1000"

        tool("initdb", "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C",
             "--data-checksums", timeout=120)
        while_it_runs(load_and_check)

        def dump_and_restore() -> None:
            text = client("pg_dump", "bench").stdout
            assert b"COPY public.pgbench_accounts" in text
            (folder / "dump.sql").write_bytes(text)
            client("createdb", "again")
            client("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(folder / "dump.sql"), "again")
            sums = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY aid)) FROM pgbench_accounts t"
            assert query(sums) == query(sums, "again") != ""

        while_it_runs(dump_and_restore)
        tool("pg_checksums", "--check", "-D", str(data))
        run.served("postgres", "initdb", "pgbench", "psql", "pg_dump")
        shutil.rmtree(folder)

    real(scenario)
