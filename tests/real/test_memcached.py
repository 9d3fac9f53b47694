"""memcached: what four clients at once write, delete and count is what they read."""

from __future__ import annotations

import os

import pytest

from memcached_load import Client, Load
from real_run import Run, Started, find, size


def server(run: Run, megabytes: int) -> Started:
    as_root = ["-u", "root"] if os.geteuid() == 0 else []
    started = run.start(
        find("memcached", "memcached"), *as_root, "-s", str(run.folder / "socket"), "-t", "4",
        "-m", str(megabytes), "-c", "200", "-o", "modern",
    )

    def answers() -> None:
        client = Client(run.folder / "socket")
        assert client.line(b"version").startswith(b"VERSION")
        client.close()

    started.ready(answers)
    return started


@pytest.mark.parametrize("megabytes", [512, 8])
def test_load(real, megabytes: int) -> None:
    """With room for everything nothing is lost; in 8 MB it forgets, but never answers with something else."""

    def scenario(run: Run) -> None:
        started = server(run, megabytes)
        load = Load(run.folder / "socket", size(2.0, 20.0), may_miss=megabytes < 100)
        load.run()
        assert load.operations > 500
        assert (load.misses > 0) == load.may_miss
        client = Client(run.folder / "socket")
        stats = client.stats()
        assert int(stats["total_items"]) > 100 and (int(stats["evictions"]) > 0) == load.may_miss
        assert client.line(b"flush_all") == b"OK"
        client.close()
        started.stop()
        run.served("memcached")

    real(scenario)
