"""What the recorder writes of programs that end as they should: every call, in order, in few bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tracing import HEADER_BYTES, JEMALLOC, Tracer, calls, check_lives, field

BEHIND = ["", "hakmem", JEMALLOC]


def behind_path(behind: str, libhakmem: Path) -> str:
    if behind == JEMALLOC and not list(Path("/usr/lib").glob(f"*/{JEMALLOC}")):
        pytest.skip("jemalloc is not installed")
    return str(libhakmem) if behind == "hakmem" else behind


@pytest.mark.parametrize("behind", BEHIND)
def test_calls_are_known_to_the_digit(tracer: Tracer, libhakmem: Path, behind: str) -> None:
    threads, rounds = 3, 500
    done = tracer.run(tracer.compiled("known"), threads, rounds, behind=behind_path(behind, libhakmem))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    events = tracer.events(tracer.only())
    check_lives(events)
    expected = Counter({"malloc": rounds, "calloc": rounds, "aligned": rounds, "realloc": 2 * rounds,
                        "free": 3 * rounds})
    workers = {e.thread for e in events} - {0}
    assert len(workers) == threads
    for thread in workers:
        mine = [e for e in events if e.thread == thread]
        assert mine[0].what == "begin" and mine[-1].what == "end"
        assert calls([e for e in mine if e.what != "nothing"]) == expected  # the C library frees NULL at the end
        own = [e for e in mine if e.call == "malloc" and 1000 <= e.size < 1000 + threads]
        assert len(own) == rounds and len({e.size for e in own}) == 1
        first = mine.index(own[0])
        steps = [(e.what, e.call, e.size, e.alignment) for e in mine[first : first + 8]]
        assert steps == [
            ("allocate", "malloc", own[0].size, 0), ("allocate", "calloc", 21, 0), ("allocate", "aligned", 128, 64),
            ("resize", "realloc", 70000, 0), ("resize", "realloc", 69999, 0), ("free", "free", 69999, 0),
            ("free", "free", 21, 0), ("free", "free", 128, 0),
        ]
        assert len({e.block for e in (mine[first], mine[first + 3], mine[first + 4], mine[first + 5])}) == 1
    main = [e for e in events if e.thread == 0]
    assert [e.size for e in main if e.what == "fail"] == [(2**64 - 1) // 4]
    assert "nothing" in {e.what for e in main}
    assert [e.what for e in main if e.call == "realloc"] in (["allocate", "free"], ["allocate", "resize"])
    names = tracer.show(tracer.only()).stdout
    assert all(f" worker-{i} " in names for i in range(threads))


@pytest.mark.parametrize("behind", BEHIND)
def test_order_holds_where_threads_exchange_blocks(tracer: Tracer, libhakmem: Path, behind: str) -> None:
    """An address is freed by one thread and got by another a moment later, also within a realloc."""
    done = tracer.run(tracer.compiled("handover"), 8, 1000, behind=behind_path(behind, libhakmem))
    assert done.returncode == 0, done.stderr
    events = tracer.events(tracer.only())
    assert check_lives(events) >= 8000
    assert not [e for e in events if e.marks]


def test_order_without_times(tracer: Tracer) -> None:
    done = tracer.run(tracer.compiled("handover"), 4, 1000, HAKMEM_TRACE_TIMES="0")
    assert done.returncode == 0, done.stderr
    events = tracer.events(tracer.only())
    check_lives(events)
    stamps = [e.time for e in events if e.what not in ("begin", "end")]
    assert len(set(stamps)) == len(stamps) and not [e for e in events if e.marks]
    shown = tracer.show(tracer.only()).stdout
    assert f" calls by 5 threads in {stamps[-1]} stamps, which tell the order and no time, " in shown
    assert "from stamps" in shown and "until stamps" in shown and not re.search(r"\d\.\d{6}", shown), shown


def test_real_programs(tracer: Tracer, tmp_path: Path) -> None:
    """ls, python and a run of gcc do what they do without, and their calls take few bytes."""
    source = tmp_path / "x.c"
    source.write_text("#include <stdio.h>\nint main(void) { printf(\"%d\", 1); return 0; }\n")
    for words in (["ls", "-l", "/usr/lib"], ["/usr/bin/python3", "-c", "import json; print(json.dumps(list(range(9))))"],
                  ["gcc", "-O1", "-c", str(source), "-o", str(tmp_path / "x.o")]):
        if not shutil.which(words[0]):
            continue
        plain = subprocess.run(words, capture_output=True, text=True)
        done = tracer.run(*words, HAKMEM_TRACE=f"{Path(words[0]).name}-%n-%p.trace")
        assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    names = {p.name.rsplit("-", 1)[0] for p in tracer.files()}
    assert {"ls-ls", "python3-python3"} <= names and (not shutil.which("gcc") or "gcc-cc1" in names)
    for path in tracer.files():
        events = tracer.events(path)
        check_lives(events)
        assert not [e for e in events if "replaced" in e.marks]
        total = sum(calls(events).values())
        assert total > 10
        if field(path, "ended") and total > 1000:
            assert path.stat().st_size - HEADER_BYTES <= 10 * total, path


CXX = r"""
#include <cstdio>
#include <new>
struct alignas(128) Wide { char c[256]; };
int main() {
    for (int i = 0; i < 10; i++) {
        delete new int;
        delete[] new char[100];
        delete new Wide;
        ::operator delete(::operator new(33, std::nothrow), std::nothrow);
        try { ::operator delete(::operator new((size_t)-1 / 4)); } catch (const std::bad_alloc &) { std::putchar('!'); }
    }
}
"""


@pytest.mark.parametrize("behind", BEHIND)
def test_operators(tracer: Tracer, libhakmem: Path, tmp_path: Path, behind: str) -> None:
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    (tmp_path / "x.cpp").write_text(CXX)
    subprocess.run(["g++", "-O0", "-w", "-std=c++17", str(tmp_path / "x.cpp"), "-o", str(tmp_path / "x")], check=True)
    done = tracer.run(tmp_path / "x", behind=behind_path(behind, libhakmem))
    assert (done.returncode, done.stdout, done.stderr) == (0, "!" * 10, "")
    events = tracer.events(tracer.only())
    check_lives(events)
    assert sum(e.call == "new" and e.what == "allocate" and e.size in (4, 100, 33) for e in events) == 30
    assert sum(e.call == "new-aligned" and e.size == 256 and e.alignment == 128 for e in events) == 10
    assert sum(e.call == "delete" and e.what == "free" for e in events) >= 40
    assert not [e for e in events if e.marks]


@pytest.mark.parametrize("way", ["fork", "raw", "vfork"])
def test_fork(tracer: Tracer, way: str) -> None:
    done = tracer.run(tracer.compiled("forking"), way)
    assert done.returncode == 0, done.stderr
    parent, child, status = map(int, done.stderr.split())
    assert status == 0
    events = tracer.events(tracer.folder / f"{parent}.trace")
    check_lives(events)
    assert [e.what for e in events if e.size in (4321, 4322, 4444)] == \
        ["allocate", "allocate"] + (["free"] if way == "vfork" else []) + ["resize", "free"]
    file = tracer.folder / f"{child}.trace"
    assert file.exists() == (way != "vfork")
    if way == "vfork":
        return
    inherited = next(e.address for e in events if e.size == 4321)
    theirs = tracer.events(file)
    check_lives(theirs)
    assert [(e.call, e.size, e.marks) for e in theirs if e.what in ("allocate", "free")][:3] == \
        [("free", 0, ("foreign",)), ("malloc", 777, ()), ("free", 777, ())]
    assert next(e.address for e in theirs if e.what == "free") == inherited
    mother = tracer.folder / f"{parent}.trace"
    assert field(file, "parent_id") == field(mother, "id") and field(file, "parent_pid") == parent
    assert str(mother) in tracer.show(file).stdout
    assert field(mother, "start_ticks") < field(file, "fork_after") <= field(mother, "ended")
    if way == "fork":
        assert field(file, "parent_thread") == 0
        assert field(mother, "start_ticks") < field(file, "fork_before") <= field(file, "fork_after")


def test_each_process_has_its_file(tracer: Tracer) -> None:
    """Without %p, too, and where a process replaces its program."""
    script = "ls >/dev/null; (ls >/dev/null; ls >/dev/null); exec ls / >/dev/null"
    for turn in range(2):  # the second run replaces the first one's
        done = tracer.run("/bin/bash", "-c", script, HAKMEM_TRACE="x.trace")
        assert done.returncode == 0 and done.stderr == ""
        assert field(tracer.folder / "x.trace", "pid") > 0
        pids = [field(path, "pid") for path in tracer.files()]
        programs = [tracer.show(path).stdout.split("\n")[0].split("/")[-1] for path in tracer.files()]
        assert max(Counter(pids).values()) >= 2 and {"bash", "ls"} <= set(programs)
        assert programs.count("ls") == 4 or turn == 1


def test_a_call_costs_few_instructions(tracer: Tracer, tmp_path: Path) -> None:
    """Instructions, since time on a shared machine says little: 43 ns when there were 100. The others of a
    round are the program's and the C library's own, some 1,500, most of them realloc's copying."""
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")
    counts = []
    for behind in (False, True):
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={tmp_path}/cg.out",
                 tracer.compiled("known"), "1", 1000]
        done = tracer.run(*words, before="" if behind else "unset P; P=")
        counted = [line for line in done.stderr.splitlines() if "Collected" in line]
        counts.append(int(counted[-1].split(":")[1]))
    start = 400_000  # of finding the allocator and making the file
    assert 40 < (counts[1] - counts[0] - start) / 8000 < 160
