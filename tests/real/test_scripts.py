"""node with worker threads, perl with hashes and threads: scripts that check what they compute."""

from __future__ import annotations

from pathlib import Path

from real_run import Run, find, size

HERE = Path(__file__).resolve().parent


def test_node(real) -> None:
    def scenario(run: Run) -> None:
        node = find("node", "nodejs")
        rounds = size(20, 200)
        done = run.program(node, str(HERE / "worker_threads.js"), str(rounds))
        assert done.stdout == b"ok %d\n" % (4 * rounds)
        run.served(node)

    real(scenario)


def test_perl(real) -> None:
    def scenario(run: Run) -> None:
        count = size(50_000, 500_000)
        done = run.program(find("perl", "perl"), str(HERE / "hashes.pl"), str(count))
        assert done.stdout == b"ok %d\n" % count
        run.served("perl")

    real(scenario)
