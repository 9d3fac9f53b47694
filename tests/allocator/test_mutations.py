"""The six mistakes that once corrupted slabs, each put into a scratch copy of the allocator: draining
before owning, in every place where that was done. The ownership build must stop at each, and name it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWNERSHIP = {"CFLAGS": "-DHAKMEM_DEBUG_OWNERSHIP=1 -DHAKMEM_DEBUG=1"}
BREACH = re.compile(r"\[OWNERSHIP ERROR\] Thread \S+ draining slab \S+ owned by \S+!")
LARSON = ["larson_hakmem", "--threads", "8", "--operations", "100000", "--min", "8", "--max", "128",
          "--chunks", "200", "--rounds", "10", "--check"]


@dataclass(frozen=True)
class Mistake:
    """A line of the sources, and the line with the mistake that takes its place."""

    path: str
    right: str
    wrong: str
    run: tuple[str, ...]  # what reaches it


def before_claim(kind: str, case: str) -> Mistake:
    """A remembered slab is drained as soon as it is found, and only then claimed."""
    return Mistake(
        "allocator/heap/reuse.c",
        "    *slot = NULL;\n",
        f"    *slot = NULL;\n    if (counter == HAK_COUNT_REUSED_{kind.upper()})\n"
        "        ss_remote_drain_to_freelist(slab, false);\n",
        ("tests/test_reuse", case),
    )


MISTAKES = {
    "drain_in_refill_scan": Mistake(
        "allocator/heap/slabs.c",
        "    TinySlabMeta *slab = hak_reuse_remembered(heap, class_index);\n",
        "    for (unsigned i = 0; heap->hint && i < HAK_SUPERSLAB_SLABS - 1; i++)\n"
        "        if (slab_remote_count_relaxed(&heap->hint->slabs[i]))\n"
        "            ss_remote_drain_to_freelist(&heap->hint->slabs[i], false);\n"
        "    TinySlabMeta *slab = hak_reuse_remembered(heap, class_index);\n",
        tuple(LARSON),
    ),
    "drain_at_allocation_entry": Mistake(
        "allocator/heap/magazines.c",
        "    class->misses++;\n    class->strangers = 0;\n",
        "    class->misses++;\n    class->strangers = 0;\n"
        "    if (class->hot && slab_remote_count_relaxed(class->hot))\n"
        "        ss_remote_drain_to_freelist(class->hot, false);\n",
        tuple(LARSON),
    ),
    "drain_before_claim_sticky": Mistake(
        "allocator/heap/reuse.c",
        "        heap->sticky[i] = 0;\n",
        "        heap->sticky[i] = 0;\n        ss_remote_drain_to_freelist(slab, false);\n",
        ("tests/test_reuse", "the_sticky_ring_brings_back_the_others"),
    ),
    "drain_before_claim_hot": before_claim("hot", "the_next_thread_of_a_heap_takes_the_hot_slab"),
    "drain_before_claim_bench": before_claim("bench", "what_nobody_took_comes_back_from_the_bench"),
    "drain_before_claim_mmap_gate": Mistake(
        "allocator/heap/reuse.c",
        "        TinySlabMeta *slab = hak_pool_look_for_offer(class_index, list);\n",
        "        TinySlabMeta *slab = hak_pool_look_for_offer(class_index, list);\n"
        "        if (slab)\n            ss_remote_drain_to_freelist(slab, false);\n",
        ("tests/test_reuse", "before_memory_is_mapped_the_gate_adopts"),
    ),
}


class Scratch:
    """A copy of what is needed to build the ownership variant of larson and of the reuse tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("allocator", "workloads", "tests/c"):
            shutil.copytree(ROOT / name, path / name)
        shutil.copy(ROOT / "Makefile", path / "Makefile")
        self.make()

    def make(self) -> None:
        done = subprocess.run(
            ["make", "-s", "-C", str(self.path), "OUT=out", "larson_hakmem", "test_reuse"],
            capture_output=True, text=True, env=dict(os.environ, **OWNERSHIP),
        )
        assert done.returncode == 0, done.stderr[-2000:]

    def run(self, command: tuple[str, ...]) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.path / "out" / command[0]), *command[1:]], capture_output=True, text=True, timeout=120
        )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("mutations") / "copy")


@pytest.mark.parametrize("name", MISTAKES)
def test_the_ownership_build_stops_at_the_mistake(name: str, scratch: Scratch) -> None:
    mistake = MISTAKES[name]
    path = scratch.path / mistake.path
    right = path.read_text()
    assert right.count(mistake.right) == 1, "the sources changed: the mistake must be put in elsewhere"
    sound = scratch.run(mistake.run)
    assert sound.returncode == 0, sound.stdout + sound.stderr  # without it all is well
    try:
        path.write_text(right.replace(mistake.right, mistake.wrong))
        scratch.make()
        done = scratch.run(mistake.run)
    finally:
        path.write_text(right)
        scratch.make()
    output = done.stdout + done.stderr
    assert done.returncode != 0, f"{name} went unnoticed: {output[-1000:]}"
    assert BREACH.search(output), output[-2000:]
    if mistake.run[0] == "larson_hakmem":
        assert done.returncode == -signal.SIGABRT
