"""What the analysis says of kinds, layers, locks and paths."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from freelist_trees import INCLUDE, make_tree
from freelist_sites.analyze import Analysis, Row, analyse, as_json, as_text
from freelist_sites.tree import read_tree


def analysed(folder: Path, code: str, **files: str) -> Analysis:
    return analyse(read_tree(make_tree(folder, code, **files)), "tree")


def rows_of(analysis: Analysis, function: str) -> list[Row]:
    return [r for r in analysis.rows if r.site.function and r.site.function.name == function]


def sites_of(analysis: Analysis, function: str) -> list[tuple[str, str, str]]:
    """Return kind, lock and path of a function's sites."""
    return [(r.site.kind, r.lock, r.path) for r in rows_of(analysis, function)]


@pytest.mark.parametrize("code, kind", [
    ("slab_freelist_push_lockfree(s, b);", "push"),
    ("b = slab_freelist_load_relaxed(s);", "load"),
    ("slab_freelist_store_relaxed(s, b);", "store"),
    ("if (slab_freelist_is_empty(s)) return;", "emptiness check"),
    ("if (slab_freelist_is_nonempty(s)) return;", "emptiness check"),
    ("slab_freelist_init(s);", "initialisation"),
    ("slab_freelist_store_relaxed(s, NULL);", "initialisation"),
    ("slab_freelist_store_relaxed(s, (void *)0);", "initialisation"),
    ("fatal(\"%p\", SLAB_FREELIST_DEBUG_PTR(s));", "debug print"),
    ("if (slab_remote_count_relaxed(s)) return;", "remote queue"),
    ("if (slab_remote_load(s)) return;", "remote queue"),
    ("b = s->freelist;", "direct"),
    ("if ((b = slab_freelist_pop_lockfree(s))) take(b);", "pop"),
])
def test_kinds(code: str, kind: str, tmp_path: Path) -> None:
    analysis = analysed(tmp_path, f"void f(TinySlabMeta *s, void *b) {{\n    {code}\n}}\n")
    assert [k for k, _, _ in sites_of(analysis, "f")] == [kind]


def test_null_stored_after_a_read_is_a_store(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "void *f(TinySlabMeta *s) {\n    void *b = slab_freelist_load_relaxed(s);\n"
                                  "    slab_freelist_store_relaxed(s, NULL);\n    return b;\n}\n")
    assert [k for k, _, _ in sites_of(analysis, "f")] == ["load", "store"]


def test_words_of_the_queue_are_no_sites(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "unsigned f(uint64_t w) { return slab_remote_count_of(w); }\n")
    assert sites_of(analysis, "f") == []


def test_each_use_of_a_macro_counts(tmp_path: Path) -> None:
    analysis = analysed(
        tmp_path, "#define POP(s) slab_freelist_pop_lockfree(s)\n#define UNUSED(s) slab_freelist_init(s)\n"
        "#define TWICE(e) ((e) ? (e) : NULL)\n#define NOTHING(e)\n"
        "void *f(TinySlabMeta *s) { void *b = POP(s); if (!b) b = POP(s); return b; }\n"
        "void *g(TinySlabMeta *s) { return TWICE(slab_freelist_load_relaxed(s)); }\n"
        "void h(TinySlabMeta *s) { NOTHING(slab_freelist_is_empty(s)); }\n")
    found = [(r.site.line, r.site.kind, r.site.macro) for r in analysis.rows if r.site.file == "heap/code.c"]
    assert found == [(3, "initialisation", "UNUSED"), (6, "pop", "POP"), (6, "pop", "POP"), (7, "load", ""),
                     (8, "emptiness check", "")]


LOCKS = """
#include <pthread.h>
static pthread_mutex_t lock, other;
static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }
void between(TinySlabMeta *s) {
    pthread_mutex_lock(&lock); slab_freelist_init(s); pthread_mutex_unlock(&lock);
}
void after(TinySlabMeta *s) { pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); slab_freelist_init(s); }
void before(TinySlabMeta *s) {
    slab_freelist_init(s); pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock);
}
void left_early(TinySlabMeta *s, int x) {
    pthread_mutex_lock(&lock);
    if (x) { pthread_mutex_unlock(&lock); return; }
    slab_freelist_init(s);
    pthread_mutex_unlock(&lock);
}
void perhaps(TinySlabMeta *s, int x) {
    if (x) pthread_mutex_lock(&lock);
    slab_freelist_init(s);
    if (x) pthread_mutex_unlock(&lock);
}
void tried(TinySlabMeta *s) {
    if (pthread_mutex_trylock(&lock) != 0) return;
    slab_freelist_init(s);
    pthread_mutex_unlock(&lock);
}
void not_got(TinySlabMeta *s) {
    if (pthread_mutex_trylock(&lock) == 0) { pthread_mutex_unlock(&lock); return; }
    slab_freelist_init(s);
}
void wrapped(TinySlabMeta *s) { enter(); slab_freelist_init(s); leave(); }
void unwrapped(TinySlabMeta *s) { enter(); leave(); slab_freelist_init(s); }
void two(TinySlabMeta *s) {
    pthread_mutex_lock(&lock); pthread_mutex_lock(&other);
    slab_freelist_init(s);
    pthread_mutex_unlock(&other); pthread_mutex_unlock(&lock);
}
void in_loop(TinySlabMeta *s) {
    for (;;) {
        slab_freelist_init(s); pthread_mutex_lock(&lock);
        if (s->used) break;
        pthread_mutex_unlock(&lock);
    }
    slab_freelist_is_empty(s);
    pthread_mutex_unlock(&lock);
}
void by_goto(TinySlabMeta *s, int x) {
    pthread_mutex_lock(&lock);
    if (x) goto out;
    slab_freelist_init(s);
out:
    slab_freelist_is_empty(s);
    pthread_mutex_unlock(&lock);
}
static void helper(TinySlabMeta *s) { slab_freelist_init(s); }
static void deeper(TinySlabMeta *s) { helper(s); }
void calls_locked(TinySlabMeta *s) { pthread_mutex_lock(&lock); deeper(s); pthread_mutex_unlock(&lock); }
static void shared(TinySlabMeta *s) { slab_freelist_init(s); }
void calls_shared(TinySlabMeta *s) {
    pthread_mutex_lock(&lock); shared(s); pthread_mutex_unlock(&lock);
    shared(s);
}
static void pointed(TinySlabMeta *s) { slab_freelist_init(s); }
void calls_pointed(TinySlabMeta *s) {
    void (*p)(TinySlabMeta *) = pointed;
    pthread_mutex_lock(&lock); pointed(s); pthread_mutex_unlock(&lock); p(s);
}
static void ring_b(TinySlabMeta *s);
static void ring_a(TinySlabMeta *s) { ring_b(s); }
static void ring_b(TinySlabMeta *s) { slab_freelist_init(s); ring_a(s); }
"""


@pytest.mark.parametrize("function, locks", [
    ("between", ["lock"]), ("after", [""]), ("before", [""]), ("left_early", ["lock"]), ("perhaps", [""]),
    ("tried", ["lock"]), ("not_got", [""]), ("wrapped", ["lock"]), ("unwrapped", [""]),
    ("two", ["lock, other"]),
    ("in_loop", ["", "lock"]), ("by_goto", ["lock", "lock"]), ("helper", ["lock"]), ("shared", [""]),
    ("pointed", [""]), ("ring_b", [""]),
])
def test_locks(function: str, locks: list[str], tmp_path: Path) -> None:
    analysis = analysed(tmp_path, LOCKS)
    assert [lock for _, lock, _ in sites_of(analysis, function)] == locks
    how = "callers" if function == "helper" else "lexical"
    assert [r.how for r in rows_of(analysis, function)] == [how if lock else "" for lock in locks]


PATHS = """
void *hak_malloc_slow(size_t size);
void hak_heap_tick(void);
static inline void quick(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); }
static __attribute__((noinline)) void aside(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); }
static inline void *hak_malloc_fast(size_t size) {
    TinySlabMeta *s = meta_of(0);
    if (size) { quick(s); return hak_malloc_slow(size); }
    aside(s);
    return NULL;
}
static void both(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); }
static void refilled(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); both(s); }
void *hak_heap_refill(unsigned c) { refilled(meta_of(0)); hak_heap_tick(); return (void *)(uintptr_t)c; }
static void slow_part(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); }
void *hak_malloc_slow(size_t size) { slow_part(meta_of(0)); return hak_heap_refill((unsigned)size); }
static void now_and_then(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); both(s); }
void hak_heap_tick(void) { now_and_then(meta_of(0)); }
void hak_malloc(size_t size) { (void)hak_malloc_fast(size); quick(meta_of(0)); }
static void sticky(TinySlabMeta *s) { (void)slab_freelist_is_empty(s); }
void hak_nobody(void) { sticky(meta_of(0)); }
static void called_back(void) { (void)slab_freelist_is_empty(meta_of(0)); }
void set_up_init(void (*how)(void (*)(void))) { how(called_back); }
"""


@pytest.mark.parametrize("function, path", [
    ("quick", "fast"), ("aside", "other"), ("slow_part", "other"), ("refilled", "warm"), ("both", "warm"),
    ("now_and_then", "cold"),
    ("sticky", "other"), ("called_back", "cold"),
])
def test_paths(function: str, path: str, tmp_path: Path) -> None:
    assert [p for _, _, p in sites_of(analysed(tmp_path, PATHS), function)] == [path]


def test_layers_files_and_totals(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, "void f(TinySlabMeta *s) { slab_freelist_init(s); s->remote = 0; }\n",
                        top_dot_c=INCLUDE + "void g(TinySlabMeta *s) { slab_freelist_init(s); }\n")
    document = json.loads(as_json(analysis))
    assert document["total"] == len(document["sites"]) == 5
    assert document["through_header"] == 4 and document["direct"] == 1
    assert document["by_layer"] == {".": {"initialisation": 1}, "heap": {"initialisation": 1, "direct": 1},
                                    "slab": {"remote queue": 1, "store": 1}}
    assert sum(document["by_kind"].values()) == 5
    assert sum(sum(counts.values()) for counts in document["by_file"].values()) == 5
    text = as_text(analysis)
    assert "Total: 5 access sites (4 through slab_freelist_atomic.h, 1 direct)" in text
    assert "not defined in this folder: hak_malloc_fast, hak_free_fast" in text
