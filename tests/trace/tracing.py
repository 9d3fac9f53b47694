"""What the tests of traces share: starting a program under the recorder, and reading what came of it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]
HEADER_BYTES = 4096
JEMALLOC = "libjemalloc.so.2"


@dataclass(frozen=True)
class Event:
    """One line of trace_info --events."""

    time: int
    thread: int
    what: str
    call: str
    block: Optional[int]
    size: int
    alignment: int
    address: int
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Tracer:
    """The recorder, and the folder that it writes to."""

    library: Path
    viewer: Path
    programs: Path
    folder: Path

    def inside(self, folder: Path) -> Tracer:
        return replace(self, folder=folder)

    def compiled(self, name: str, *flags: str) -> Path:
        """tests/trace/NAME.c"""
        program = self.programs / name
        if not program.exists():
            source = Path(__file__).resolve().parent / f"{name}.c"
            subprocess.run(["gcc", "-O1", "-g", "-D_GNU_SOURCE", "-fno-builtin", "-pthread", str(source), "-o", str(program), *flags],
                           check=True)
        return program

    def environment(self, behind: str = "", **options: str) -> dict[str, str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "LD_"))}
        options = {"HAKMEM_TRACE": "%p.trace", **options}
        return {**plain, "LC_ALL": "C", "LD_PRELOAD": f"{self.library} {behind}".strip(), **options}

    def run(self, *words: object, behind: str = "", before: str = "", **options: str) -> subprocess.CompletedProcess:
        """A program under the recorder; `before`: shell commands before it, such as ulimit."""
        command = [str(word) for word in words]
        if before:
            command = ["/bin/bash", "-c", f'{before}; exec env LD_PRELOAD="$P" "$@"', "bash", *command]
        environment = self.environment(behind, **options)
        if before:
            environment["P"] = environment.pop("LD_PRELOAD")
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, timeout=60)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.trace*"))

    def only(self) -> Path:
        files = self.files()
        assert len(files) == 1, files
        return files[0]

    def show(self, *words: object) -> subprocess.CompletedProcess:
        return subprocess.run([str(self.viewer), *map(str, words)], capture_output=True, text=True, timeout=60)

    def events(self, path: Path) -> list[Event]:
        done = self.show("--events", path)
        assert done.returncode == 0, done.stderr
        return [parse(line) for line in done.stdout.splitlines()]


def parse(line: str) -> Event:
    words = line.replace("thread end", "end").replace("new aligned", "new-aligned").split()
    time, thread, what, call, block, size, alignment, address = words[:8]
    return Event(int(time), int(thread), what, call, None if block == "-" else int(block), int(size),
                 int(alignment), int(address, 16), tuple(words[8:]))


def build(folder: Path) -> Tracer:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem-trace.so", "trace_info"], check=True, env=clean)
    library = folder / "libhakmem-trace.so"  # a space in the checkout's path would end a name in LD_PRELOAD
    library.symlink_to(ROOT / "out/release/libhakmem-trace.so")
    return Tracer(library, ROOT / "out/release/trace_info", folder, folder)


def calls(events: list[Event], thread: Optional[int] = None) -> Counter[str]:
    """How often each function was called."""
    return Counter(e.call for e in events
                   if e.what not in ("begin", "end") and (thread is None or e.thread == thread))


def check_lives(events: list[Event]) -> int:
    """Every block is allocated once, before all else that is done to it, and freed at most once; no address
    has two blocks at once. Returns how many blocks there are."""
    live: dict[int, tuple[int, int]] = {}
    gone: set[int] = set()
    last = 0
    for event in events:
        assert event.time >= last, event
        last = event.time
        if event.block is None:
            continue
        assert event.block not in gone, event
        if event.what == "allocate":
            assert event.block not in live and "replaced" not in event.marks, event
            live[event.block] = (event.address, event.size)
        elif "foreign" not in event.marks:
            assert event.block in live, event
            if event.what == "free":
                assert live[event.block] == (event.address, event.size), event
                del live[event.block]
                gone.add(event.block)
            elif event.what == "resize":
                live[event.block] = (event.address, event.size)
        addresses = live[event.block][0] if event.block in live else None
        assert addresses is None or addresses == event.address, event
    assert len({address for address, _ in live.values()}) == len(live)
    return len(live) + len(gone)


def number_at(path: Path, at: int, form: str = "<Q") -> int:
    """A field of the file."""
    value: int = struct.unpack_from(form, path.read_bytes(), at)[0]
    return value


def field(path: Path, name: str) -> int:
    """A field of trace_header, by where it stands."""
    places = {"id": (32, "<Q"), "pid": (40, "<i"), "start_ticks": (64, "<Q"), "parent_id": (96, "<Q"),
              "fork_before": (104, "<Q"), "fork_after": (112, "<Q"), "parent_pid": (120, "<i"),
              "parent_thread": (124, "<I"), "next_chunk": (128, "<Q"), "threads": (136, "<I"), "stop": (140, "<I"),
              "stopped": (144, "<Q"), "ended": (160, "<Q")}
    at, form = places[name]
    return number_at(path, at, form)
