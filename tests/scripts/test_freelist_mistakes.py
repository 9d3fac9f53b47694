"""Each mistake that verification must find, in several spellings, with the right file and line."""
from __future__ import annotations

from pathlib import Path

import pytest

from freelist_trees import HEADER, compiles, found_in, make_tree, marked, sections
from freelist_sites.tree import read_tree
from freelist_sites.verify import verify

MISTAKES = sections("freelist_mistakes.txt")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(name: str, tmp_path: Path) -> None:
    make_tree(tmp_path, MISTAKES[name])
    assert compiles(tmp_path / "heap/code.c")
    assert marked(tmp_path) and found_in(tmp_path) == marked(tmp_path)


def test_a_macro_in_a_header_is_found_there(tmp_path: Path) -> None:
    make_tree(tmp_path, '#include "head.h"\nvoid *f(TinySlabMeta *s) { return HEAD(s); }\n',
              heap__head_dot_h="#define HEAD(s) ((s)->freelist) /*@direct*/\n")
    assert found_in(tmp_path) == marked(tmp_path) == {("heap/head.h", 1, "direct")}


def test_two_functions_of_the_only_name_that_may_drain(tmp_path: Path) -> None:
    make_tree(tmp_path, more__claim_dot_c='#include "slab/slab_freelist_atomic.h"\n'
              "static bool slab_claim_then_drain(TinySlabMeta *slab) {\n"
              "    return ss_remote_drain_to_freelist(slab, false); /*@drain*/\n}\n")
    found = found_in(tmp_path)
    assert len(found) == 1 and {mark for _, _, mark in found} == {"drain"}


def test_the_same_name_in_two_files(tmp_path: Path) -> None:
    """A function or struct of one .c file means nothing in another."""
    make_tree(
        tmp_path,
        "static void *get(TinySlabMeta *s) { return slab_freelist_pop_lockfree(s); }\n"
        "void f(TinySlabMeta *s) { take(get(s)); } /*@pop*/\n"
        "struct list { void *freelist; };\nvoid *g(struct list *l) { return l->freelist; }\n",
        heap__more_dot_c='#include "slab/slab_freelist_atomic.h"\n'
        "static void *get(TinySlabMeta *s) { return s->base; }\n"
        "void h(TinySlabMeta *s) { take(get(s)); }\n"
        "#define list TinySlabMeta\nvoid *i(list *l) { return l->freelist; } /*@direct*/\n")
    assert found_in(tmp_path) == marked(tmp_path) and len(marked(tmp_path)) == 2


@pytest.mark.parametrize("old, new, missing", [
    ("void *slab_freelist_pop_lockfree(", "void *pop(", "slab_freelist_pop_lockfree"),
    ("#define SLAB_FREELIST_DEBUG_PTR(", "#define PTR(", "SLAB_FREELIST_DEBUG_PTR"),
    ("static inline bool slab_freelist_is_empty(", "// bool slab_freelist_is_empty(",
     "slab_freelist_is_empty"),
    ("{ return !slab_freelist_load_relaxed(s); }", ";", "slab_freelist_is_empty"),
])
def test_an_accessor_is_missing(old: str, new: str, missing: str, tmp_path: Path) -> None:
    assert old in HEADER
    make_tree(tmp_path, slab__slab_freelist_atomic_dot_h=HEADER.replace(old, new))
    checks, _ = verify(read_tree(tmp_path), compiles=False)
    header = next(check for check in checks if check.name == "accessor header")
    assert [(f.file, missing in f.text) for f in header.findings] == [("slab/slab_freelist_atomic.h", True)]


def test_no_header_and_two_headers(tmp_path: Path) -> None:
    make_tree(tmp_path / "two", more__slab_freelist_atomic_dot_h=HEADER)
    second = ("slab/slab_freelist_atomic.h", 1, "header")
    assert {f for f in found_in(tmp_path / "two") if f[2] == "header"} == {second}
    make_tree(tmp_path / "none")
    (tmp_path / "none/slab/slab_freelist_atomic.h").unlink()
    assert ("slab_freelist_atomic.h", 1, "header") in found_in(tmp_path / "none")
