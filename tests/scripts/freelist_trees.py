"""Small trees of C for the freelist tools: a header with accessors, and code with marked mistakes.

A comment /*@direct*/, /*@pop*/, /*@twice*/, /*@push*/ or /*@drain*/ marks a line in which that
mistake must be found. The tools skip comments, so the marks don't help them."""
from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from freelist_sites import tree as _tree  # noqa: E402
from freelist_sites.tree import read_tree  # noqa: E402
from freelist_sites.verify import verify  # noqa: E402

# Every tree has the same headers; reading them once is enough.
_tree.read_items = lru_cache(maxsize=64)(_tree.read_items)

MARKS = {
    "accessor header": "header", "direct accesses": "direct", "results of pop": "pop", "double pops": "twice",
    "double pushes": "push", "calls of the drain": "drain", "compiles": "compile",
}

META = """\
/* A slab's metadata, and what else the fixtures use. */
#ifndef META_H
#define META_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
typedef struct TinySlabMeta {
    _Atomic(void *) freelist; /* blocks */
    char *base;
    struct TinySlabMeta *next;
    unsigned used;
    _Atomic uint64_t remote;
} TinySlabMeta;
struct super { unsigned id; TinySlabMeta slabs[31]; };
struct other { void *freelist; unsigned remote; struct other *next; TinySlabMeta *slab; };
struct node { struct node *next; };
bool ss_owner_cas(TinySlabMeta *slab);
unsigned ss_remote_drain_to_freelist(TinySlabMeta *slab, bool notice_arrived);
bool slab_claim_then_drain(TinySlabMeta *slab);
TinySlabMeta *meta_of(const void *block);
void *fallback(void);
void take(void *block);
void take_two(void *one, void *two);
_Noreturn void fatal(const char *text, ...);
#endif
"""

HEADER = """\
/* The accessors. */
#ifndef SLAB_FREELIST_ATOMIC_H
#define SLAB_FREELIST_ATOMIC_H
#include "meta.h"
#define SLAB_FREELIST_DEBUG_PTR(slab) \\
    ((void *)atomic_load_explicit(&(slab)->freelist, memory_order_relaxed))
static inline void *slab_block_next(const void *block) { return *(void *const *)block; }
static inline void slab_block_set_next(void *block, void *next) { *(void **)block = next; }
static inline void *slab_freelist_load_relaxed(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->freelist, memory_order_relaxed);
}
static inline void slab_freelist_store_relaxed(TinySlabMeta *slab, void *head) {
    atomic_store_explicit(&slab->freelist, head, memory_order_relaxed);
}
static inline void slab_freelist_init(TinySlabMeta *slab) { slab_freelist_store_relaxed(slab, NULL); }
static inline bool slab_freelist_is_empty(const TinySlabMeta *s) { return !slab_freelist_load_relaxed(s); }
static inline bool slab_freelist_is_nonempty(const TinySlabMeta *s) { return slab_freelist_load_relaxed(s); }
static inline void *slab_freelist_pop_lockfree(TinySlabMeta *slab) {
    void *block = slab_freelist_load_relaxed(slab);
    if (block)
        slab_freelist_store_relaxed(slab, slab_block_next(block));
    return block;
}
static inline void slab_freelist_push_lockfree(TinySlabMeta *slab, void *block) {
    slab_block_set_next(block, slab_freelist_load_relaxed(slab));
    slab_freelist_store_relaxed(slab, block);
}
static inline unsigned slab_remote_count_of(uint64_t word) { return (unsigned)(word >> 13); }
static inline uint64_t slab_remote_load(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->remote, memory_order_acquire);
}
static inline unsigned slab_remote_count_relaxed(const TinySlabMeta *slab) {
    return slab_remote_count_of(slab_remote_load(slab));
}
static inline unsigned slab_remote_take_all(TinySlabMeta *slab, void **chain) {
    *chain = NULL;
    return (unsigned)atomic_exchange_explicit(&slab->remote, 0, memory_order_acq_rel);
}
#endif
"""

# A tree that is in order: what every fixture's file is added to.
CLAIM = """\
/* Claims, then drains. */
#include "slab/slab_freelist_atomic.h"
unsigned ss_remote_drain_to_freelist(TinySlabMeta *slab, bool notice_arrived) {
    void *chain;
    (void)notice_arrived;
    unsigned count = slab_remote_take_all(slab, &chain);
    if (count)
        slab_freelist_store_relaxed(slab, chain);
    return count;
}
bool slab_claim_then_drain(TinySlabMeta *slab) {
    if (!ss_owner_cas(slab))
        return false;
    ss_remote_drain_to_freelist(slab, false);
    return true;
}
"""

INCLUDE = '#include "slab/slab_freelist_atomic.h"\n'


def make_tree(folder: Path, code: str = "", **files: str) -> Path:
    """Write a tree with `code` in heap/code.c; return its folder."""
    texts = {"include/meta.h": META, "slab/slab_freelist_atomic.h": HEADER, "slab/slab.c": CLAIM}
    if code:
        texts["heap/code.c"] = INCLUDE + code
    texts.update({name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()})
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def marked(folder: Path) -> set[tuple[str, int, str]]:
    """Return the mistakes that comments mark: file, line, mark."""
    found = set()
    for path in sorted(folder.rglob("*.[ch]")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for mark in re.findall(r"@(direct|pop|twice|push|drain)\b", line):
                found.add((path.relative_to(folder).as_posix(), number, mark))
    return found


def found_in(folder: Path) -> set[tuple[str, int, str]]:
    """Return what the checks find, in the same form; nothing is compiled."""
    checks, _ = verify(read_tree(folder), compiles=False)
    return {(f.file, f.line, MARKS[check.name]) for check in checks for f in check.findings}


def compiles(file: Path) -> bool:
    """Return whether a file of a tree is C that a compiler takes: fixtures have to be."""
    folder = file.parents[1]
    command = ["cc", "-fsyntax-only", "-w", f"-I{folder}", f"-I{folder}/include", str(file)]
    return subprocess.run(command, check=False).returncode == 0


def sections(name: str) -> dict[str, str]:
    """Return the pieces of a fixture file by their titles, as "group: what"."""
    text = (Path(__file__).parent / name).read_text("utf-8")
    pieces = re.split(r"^==== (.*)\n", text, flags=re.M)[1:]
    found = dict(zip(pieces[::2], (piece.rstrip("\n") + "\n" for piece in pieces[1::2])))
    assert len(found) == len(pieces) // 2, "two sections have the same title"
    return found
