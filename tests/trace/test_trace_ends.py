"""What is in the file when the process is killed, the space ends, or the file can't be written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tracing import HEADER_BYTES, Tracer, calls, check_lives, field

LONG = (4, 1_000_000_000)  # threads, rounds


@pytest.mark.parametrize("turn", range(2))
def test_killed_at_any_moment(tracer: Tracer, turn: int) -> None:
    """All that was recorded is there, of all threads up to about the same time."""
    process = subprocess.Popen([str(tracer.compiled("handover")), *map(str, LONG)], env=tracer.environment(),
                               cwd=tracer.folder)
    deadline = time.monotonic() + 20
    want = random.Random(turn).randrange(80_000, 160_000)
    while time.monotonic() < deadline and not any(
            p.stat().st_size > want and field(p, "threads") == LONG[0] + 1 for p in tracer.files()):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    path = tracer.only()
    events = tracer.events(path)
    check_lives([e for e in events if "replaced" not in e.marks])
    assert len(events) > 5_000 and field(path, "ended") == 0
    assert sum(e.what == "begin" for e in events) == LONG[0] + 1
    # A realloc that was going on has taken its block along: at most one for each thread.
    assert sum("replaced" in e.marks for e in events) <= LONG[0]
    assert "killed" in tracer.show(path).stdout


def test_a_torn_record_is_left_away(tracer: Tracer) -> None:
    """A file that was cut anywhere has of each thread its first calls."""
    tracer.run(tracer.compiled("known"), 2, 200)
    path = tracer.only()
    whole = tracer.events(path)
    data = path.read_bytes()
    lengths = set()
    # Behind the head of each thread's first segment, wherever these came to lie.
    for length in [at + 100 + i for at in range(4096, len(data), 4096) for i in range(24)]:
        path.write_bytes(data[:length])
        some = tracer.events(path)
        for thread in range(3):
            mine = [e for e in some if e.thread == thread and e.what != "end"]
            assert [(e.what, e.call, e.size, e.address) for e in mine] == \
                [(e.what, e.call, e.size, e.address) for e in whole if e.thread == thread][: len(mine)]
        lengths.add(len(some))
    assert len(lengths) >= 10 and min(lengths) < len(whole) // 2


def test_the_bound(tracer: Tracer) -> None:
    done = tracer.run(tracer.compiled("handover"), 4, 30_000, HAKMEM_TRACE_MAX="256K")
    assert done.returncode == 0
    path = tracer.only()
    assert done.stderr.count("\n") == 1 and "HAKMEM_TRACE_MAX is reached" in done.stderr and str(path) in done.stderr
    assert path.stat().st_size <= 256 << 10 and field(path, "stop") == 1
    events = tracer.events(path)
    check_lives(events)
    assert len(events) > 10_000 and not [e for e in events if e.marks]
    assert "stopped    before the process ended: HAKMEM_TRACE_MAX" in tracer.show(path).stdout


def test_a_limit_of_file_sizes(tracer: Tracer) -> None:
    """The kernel would end the program with SIGXFSZ."""
    done = tracer.run(tracer.compiled("known"), 2, 20_000, before="ulimit -f 200")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.count("\n") == 1 and "no more space for it: File too large" in done.stderr
    path = tracer.only()
    assert path.stat().st_size <= 200 << 10 and field(path, "stop") == 2
    events = tracer.events(path)
    check_lives(events)
    assert sum(calls(events).values()) > 5000
    done = tracer.run("ls", before="ulimit -f 1")
    assert done.returncode == 0 and "can't be given space: File too large" in done.stderr


def test_a_full_disk(tracer: Tracer, tmp_path: Path) -> None:
    mount = ["unshare", "--mount", "/bin/bash", "-c",
             'mount -t tmpfs -o size=300k tmpfs "$1" && shift && "$@"; s=$?; cp "$D"/x.trace "$C"; exit $s', "bash"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run([*mount, str(disk), "true"], capture_output=True, env=dict(os.environ, D=str(disk), C="/dev/null")
                      ).returncode not in (0, 1) or os.getuid() != 0:
        pytest.skip("needs the right to mount")
    environment = dict(tracer.environment(HAKMEM_TRACE=str(disk / "x.trace")), D=str(disk),
                       C=str(tracer.folder / "copy.trace"))
    library = environment.pop("LD_PRELOAD")
    done = subprocess.run([*mount, str(disk), "env", f"LD_PRELOAD={library}", str(tracer.compiled("known")), "2", "20000"],
                          env=environment, capture_output=True, text=True, timeout=60)
    if "mount" in done.stderr:
        pytest.skip("needs the right to mount")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "no more space for it: No space left on device" in done.stderr
    assert sum(calls(tracer.events(tracer.folder / "copy.trace")).values()) > 5000


def test_a_file_that_can_not_be_written(tracer: Tracer, tmp_path: Path) -> None:
    """One sentence, and the program runs as without."""
    mine = tmp_path / "mine"
    mine.write_text("of value\n" * 1000)
    for name, why in (("/proc/x", "can't be written"), (str(tmp_path / "none" / "x"), "No such file"),
                      (str(mine), "holds something else than a trace and is left as it is"),
                      ("/dev/null", "is no regular file"), (str(tmp_path), "Is a directory"), ("", "is empty"),
                      ("%q", "a % is followed by"), ("x" * 5000, "longer than a path")):
        done = tracer.run("/bin/bash", "-c", "echo a; (echo b); exit 3", HAKMEM_TRACE=name)
        assert (done.returncode, done.stdout) == (3, "a\nb\n"), name
        assert done.stderr.count("\n") == 1 and why in done.stderr, (name, done.stderr)
    assert mine.read_text() == "of value\n" * 1000 and tracer.files() == []


@pytest.mark.parametrize("options", [{"HAKMEM_TRACE_MAX": "1"}, {"HAKMEM_TRACE_MAX": "12x"}, {"HAKMEM_TRACE_MAX": ""},
                                     {"HAKMEM_TRACE_MAX": "9999999G"}, {"HAKMEM_TRACE_TIMES": "2"}])
def test_unsuitable_options(tracer: Tracer, options: dict[str, str]) -> None:
    done = tracer.run("ls", "/", **options)
    assert done.returncode == 0 and next(iter(options)) in done.stderr and done.stderr.count("\n") == 1
    assert tracer.files() == []


def test_without_the_right_to_write(tracer: Tracer, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    powerless = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.getuid() == 0 else []
    done = tracer.run(*powerless, "env", f"LD_PRELOAD={tracer.library}", "ls", "/", HAKMEM_TRACE=f"{folder}/%n.trace",
                      before="unset P; P=")
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "Permission denied; the program runs unrecorded" in done.stderr


def test_a_program_that_closes_all_descriptors(tracer: Tracer) -> None:
    """As daemons do: another file under the same number must not be written to."""
    script = ("import os\nos.closerange(3, 2000)\nf = [open('other', 'w') for _ in range(1100)][-1]\n"
              "x = [bytes(600 + i % 9) for i in range(40000)]\nprint(len(x))")
    done = tracer.run("/usr/bin/python3", "-c", script, before="ulimit -n 2048")
    assert (done.returncode, done.stdout, done.stderr) == (0, "40000\n", "")
    assert (tracer.folder / "other").stat().st_size == 0
    path = tracer.only()
    assert path.stat().st_size - HEADER_BYTES > 200_000
    assert sum(e.call in ("malloc", "calloc") and 600 < e.size < 700 for e in tracer.events(path)) >= 40_000
