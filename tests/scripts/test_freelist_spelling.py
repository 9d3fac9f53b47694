"""Blanks, comments and line continuations between tokens, and inside them, change no result."""
from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freelist_trees import INCLUDE, found_in, make_tree
from freelist_sites.preprocess import read_items
from freelist_sites.tokens import lines_of_tokens, spell

# Code with one mistake, what it is, and the token whose line is to be named.
MISTAKES = [
    ("void *f(TinySlabMeta *s) { return s->freelist; }", "direct", "freelist"),
    ("uint64_t f(struct super *s) { return (*s).slabs[0].remote; }", "direct", "remote"),
    ("TinySlabMeta m = {.base = 0, .freelist = 0};", "direct", "freelist"),
    ("void f(TinySlabMeta *s) { void *b = slab_freelist_pop_lockfree(s); take(b); }",
     "pop", "slab_freelist_pop_lockfree"),
    ("void f(TinySlabMeta *s) { (void)slab_freelist_pop_lockfree(s); }", "pop", "slab_freelist_pop_lockfree"),
    ("void *f(TinySlabMeta *s) { void *b = slab_freelist_pop_lockfree(s); if (b) "
     "slab_freelist_store_relaxed(s, *(void **)b); return b; }", "twice", "slab_freelist_store_relaxed"),
    ("void f(TinySlabMeta *s, void *b) { *(void **)b = s->base; slab_freelist_push_lockfree(s, b); }",
     "push", "slab_freelist_push_lockfree"),
    ("void f(TinySlabMeta *s) { ss_remote_drain_to_freelist(s, 0); }",
     "drain", "ss_remote_drain_to_freelist"),
]
TOKEN = re.compile(r"\w+|->|\S")
GAPS = st.sampled_from([
    " ", "\n", "\t", "\\\n", "\r\n", "/**/", "/* s->freelist */", "/* \" */", "/*\n'\n*/",
    "// it's s->remote\n",
    "//\\\nslab_freelist_pop_lockfree(s)\n", "/*\\\n*/", "\\ \n ",
])


@settings(max_examples=15, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("code, mark, token", MISTAKES)
def test_spelling_changes_nothing(code: str, mark: str, token: str, data: st.DataObject) -> None:
    words = TOKEN.findall(code)
    text, line = INCLUDE, 0
    for word in words:
        gaps = data.draw(st.lists(GAPS, max_size=2))
        if text[-1].isalnum() or text[-1] == "_":
            # A continuation alone would join two words.
            gaps.append(" ")
        text += "".join(gaps)
        if word == token:
            line = text.count("\n") + 1
        cut = data.draw(st.integers(0, len(word)))
        text += word[:cut] + ("\\\n" if 0 < cut < len(word) else "") + word[cut:]
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder))
        (tree / "heap").mkdir()
        (tree / "heap/code.c").write_bytes((text + "\n").encode())
        assert found_in(tree) == {("heap/code.c", line, mark)}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([
    "a", "->", "freelist", "/*", "*/", "//", '"', "'", "\\", "\n", "#", "if", "0", "endif", "define",
    "(", ")", "{", "}", ";", "=", " ", "else", "\\\n", ".", "\u00e9",
]), max_size=40))
def test_any_text_can_be_read(parts: list[str]) -> None:
    text = "".join(parts)
    read_items(text, "x.c")
    lines = [t.place.line for line in lines_of_tokens(text, "x.c") for t in line]
    assert lines == sorted(lines) and all(1 <= n <= text.count("\n") + 1 for n in lines)


@example(["offsetof", "("])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(
    "if ( ) { } else while do for ; = == ! * & s b -> freelist . remote slab_freelist_pop_lockfree , "
    "return 0 NULL void TinySlabMeta struct [ ] ? : switch case break goto sizeof offsetof "
    "slab_block_set_next #define\n \n".split(" ")), max_size=60))
def test_any_tokens_can_be_analysed(parts: list[str]) -> None:
    """Text that no compiler takes gives some answer, too."""
    with tempfile.TemporaryDirectory() as folder:
        body = " ".join(parts)
        tree = make_tree(Path(folder), f"void f(TinySlabMeta *s) {{ {body} }}\n")
        found_in(tree)


def test_tokens_spell_the_text() -> None:
    tokens = [t for line in lines_of_tokens("a->b+++c<<=1.5e-3 'x' \"y\" 0x1p+3 ...", "x.c") for t in line]
    expected = ["a", "->", "b", "++", "+", "c", "<<=", "1.5e-3", "'x'", '"y"', "0x1p+3", "..."]
    assert [t.text for t in tokens] == expected
    assert spell(tokens[:3]) == "a->b"
