"""Real programs with hakmem preloaded do what they do without."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def needs(program: str) -> str:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not installed")
    return path


def test_ls(preloaded, root: Path) -> None:
    expected = subprocess.run(["ls", "-lR", str(root / "allocator")], capture_output=True, check=True)
    done = preloaded("ls", "-lR", str(root / "allocator"))
    assert done.returncode == 0
    assert done.stdout == expected.stdout


def test_python_modules(preloaded) -> None:
    program = (
        "import json, re, threading, decimal, sqlite3, xml.dom.minidom\n"
        "ts = [threading.Thread(target=lambda: json.loads(json.dumps(list(range(10000))))) for _ in range(8)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "print(sum(len(re.sub('1', 'xx', str(i))) for i in range(100000)))"
    )
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    done = preloaded(python, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"538890\n" or int(done.stdout) > 488890


def test_gcc_makes_the_same_object(preloaded, root: Path, tmp_path: Path) -> None:
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-I", str(root / "allocator"), "-I", str(root / "allocator/include")]
    source = str(root / "allocator/heap/heap.c")
    plain, under = tmp_path / "plain.o", tmp_path / "under.o"
    subprocess.run([needs("gcc"), *flags, "-c", source, "-o", str(plain)], check=True)
    done = preloaded("gcc", *flags, "-c", source, "-o", str(under))
    assert done.returncode == 0, done.stderr
    assert plain.read_bytes() == under.read_bytes()


def test_git_log(preloaded, tmp_path: Path) -> None:
    git = needs("git")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([git, "init", "-q", str(tmp_path)], check=True)
    for i in range(20):
        subprocess.run(
            [git, "-C", str(tmp_path), *identity, "commit", "-q", "--allow-empty", "-m", f"commit {i}"], check=True
        )
    done = preloaded(git, "-C", str(tmp_path), "log", "--oneline", "--stat")
    assert done.returncode == 0
    assert done.stdout.count(b"commit ") == 20


def test_perl(preloaded) -> None:
    done = preloaded(needs("perl"), "-e", "my %h; $h{$_} = $_ x 10 for 1..100000; print scalar(keys %h);")
    assert done.returncode == 0
    assert done.stdout == b"100000"


def test_sort_with_two_threads(preloaded, tmp_path: Path) -> None:
    """200 MB, and no temporary files: everything lies in the allocator's memory."""
    generator = random.Random(1)
    lines = [f"{generator.getrandbits(64):020d} some text that makes the line longer" for _ in range(40000)]
    block = ("\n".join(lines) + "\n").encode()
    data = tmp_path / "data"
    with data.open("wb") as file:
        for i in range(200_000_000 // len(block)):
            file.write(block.replace(b"some", b"%4d" % i))
    expected = subprocess.run(
        ["sort", "--parallel=2", "-S", "1G", str(data)], env=dict(os.environ, LC_ALL="C"), capture_output=True
    )
    assert expected.returncode == 0
    done = preloaded("sort", "--parallel=2", "-S", "1G", str(data), env={"LC_ALL": "C"})
    assert done.returncode == 0
    assert done.stdout == expected.stdout


def test_cxx_operators(preloaded, tmp_path: Path, root: Path) -> None:
    """Every form of new and delete comes to hakmem; failures throw, or not, as the standard says."""
    source = root / "tests/allocator/operators.cpp"
    program = tmp_path / "operators"
    subprocess.run(
        [needs("g++"), "-std=c++17", "-O1", "-fno-builtin", str(source), "-o", str(program), "-ldl"], check=True
    )
    done = preloaded(str(program))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == b"ok"
