"""git: a repository of some thousand commits is cloned, packed anew and checked; nothing of it changes."""

from __future__ import annotations

import random
from pathlib import Path

from real_run import Run, find, same, size


def history(commits: int) -> bytes:
    """A stream for fast-import: files that grow and change, branches, merges and tags."""
    pick = random.Random(3)
    words = [bytes(pick.choices(b"abcdefghijklmnopqrstuvwxyz", k=pick.randrange(3, 12))) for _ in range(500)]
    texts = [b"\n".join(pick.choices(words, k=100)) for _ in range(200)]
    stream = []

    def data(text: bytes) -> bytes:
        return b"data %d\n%s\n" % (len(text), text)

    def committer(seconds: int) -> bytes:
        return b"committer A B <a@example.org> %d +0000\n" % (1_500_000_000 + seconds)

    for i in range(commits):
        branch = b"refs/heads/main" if i % 10 else b"refs/heads/side-%d" % (i // 100)
        stream.append(b"commit %s\nmark :%d\n%s" % (branch, i + 1, committer(i)))
        stream.append(data(b"Change %d\n\n%s" % (i, b" ".join(pick.choices(words, k=20)))))
        if i and i % 10 == 0:
            stream.append(b"from :%d\n" % i)
        elif i > 50 and i % 10 == 1:
            stream.append(b"from :%d\nmerge :%d\n" % (i - 1, i))
        for _ in range(3):
            number = pick.randrange(len(texts))
            lines = texts[number].split(b"\n")
            lines[pick.randrange(len(lines))] = pick.choice(words)
            texts[number] = b"\n".join(lines)
            stream.append(b"M 100644 inline dir-%d/file-%d\n" % (number % 20, number) + data(texts[number]))
        if i % 100 == 50:
            stream.append(b"reset refs/tags/v%d\nfrom :%d\n\n" % (i, i + 1))
    # Some large files that don't compress, so that packing takes threads and memory.
    stream.append(b"commit refs/heads/main\nmark :%d\n%s" % (commits + 1, committer(commits)))
    stream.append(data(b"Large files"))
    for i in range(8):
        stream.append(b"M 100644 inline large-%d\n" % i + data(pick.randbytes(300_000) * 2))
    return b"".join(stream)


def test_clone_and_gc(real) -> None:
    def scenario(run: Run) -> None:
        path = find("git", "git")
        identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        origin, clone = run.folder / "origin", run.folder / "a clone"

        def git(where: Path, *words: str) -> bytes:
            options = ["-c", "pack.threads=2", "-c", "safe.directory=*", "-c", "gc.auto=0"]
            return run.program(path, "-C", str(where), *options, *words, env=identity).stdout

        def plain(where: Path, *words: str) -> bytes:
            return run.plain(path, "-C", str(where), *words, env=identity).stdout

        run.plain(path, "init", "-q", "-b", "main", str(origin), env=identity)
        stream = history(size(1200, 6000))
        run.plain(path, "-C", str(origin), "fast-import", "--quiet", stdin=stream, env=identity)
        reading = [
            ["rev-list", "--all", "--objects"],
            ["log", "--all", "--stat", "-p", "-n", str(size(300, 3000))],
            ["for-each-ref", "--format=%(refname:lstrip=-1) %(objectname)", "refs/heads/main", "refs/tags"],
        ]
        before = [plain(origin, *words) for words in reading]

        git(run.folder, "clone", "-q", "--no-local", str(origin), str(clone))
        assert git(clone, "status", "--porcelain") == b""
        git(clone, "gc", "-q", *size([], ["--aggressive"]), "--prune=now")
        git(clone, "repack", "-a", "-d", "-q", "-f", "--depth=50", "--window=" + size("10", "50"))
        git(clone, "fsck", "--full", "--strict")
        for words, expected in zip(reading, before):
            if words[0] == "rev-list":  # in another order, and without the names of the side branches
                same(b" ".join(sorted(git(clone, *words).split())), b" ".join(sorted(expected.split())))
            else:
                same(git(clone, *words), expected)
        plain(clone, "fsck", "--full", "--strict")
        run.served("git")

    real(scenario)
