"""Checks that what the pages of documentation name is there: links, headings, files, scripts, and the
options that they give to scripts."""
from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Optional

from runner.gates.markdown import Page, Piece, read_page
from runner.worktrees import git_says

_HELP_SECONDS = 30
_FOLDERS = "allocator|docs|man|packaging|plots|runner|scripts|tests|tool|workloads|results/reference"
_NAMED_PATH = re.compile(rf"(?:\./)?((?:{_FOLDERS})/[\w./*+-]*)|\./([\w.-]+\.\w+)|([\w-]+\.(?:py|sh))")
# A part of a path that stands for whatever the reader has: DIR, NAME-plots, X.jsonl.
_PLACEHOLDER = re.compile(r"([A-Z]{2,}|X)([-.][\w.-]*)?|.*\.\.\..*")
_REAL_CAPITALS = ("README", "LICENSE", "CHANGELOG", "CONTRIBUTING")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")
_PROGRAM = re.compile(r"(?:\./)?out/(\w+)/([\w.]+)")
_SCRIPT = re.compile(r"(?:\./)?((?:[\w.-]+/)*[\w-]+\.(?:py|sh))")
_SEPARATORS = ("|", "||", "&&", ";", "&", "-m", "--")


def pages_of(root: Path) -> list[Path]:
    """Return the pages of the tree, but for recorded results: those that git knows or would add."""
    listed = git_says(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.md")
    if listed is not None:
        found = [root / name for name in listed.split("\0") if name]
    else:
        found = [p for p in root.rglob("*.md") if not {"out", ".git"} & set(p.relative_to(root).parts)]
    results = root / "results"
    return sorted({p for p in found if p.is_file() and results not in p.parents})


class Tree:
    """What is there to be named."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = git_says(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        names = listed.split("\0") if listed is not None else (
            str(path.relative_to(root)) for path in root.rglob("*") if ".git" not in path.parts
        )
        self._names = {os.path.basename(name) for name in names if name and os.path.exists(root / name)}
        self.page = lru_cache(maxsize=None)(self._read)
        self.help = lru_cache(maxsize=None)(self._ask)

    def has_name(self, name: str) -> bool:
        """True if a file of that name lies anywhere in the tree."""
        return name in self._names

    def script(self, name: str) -> Optional[Path]:
        """Return the script that a path names, None if there is none."""
        path = self.root / name
        return path if path.is_file() else None

    @staticmethod
    def _read(path: Path) -> Page:
        return read_page(path.read_text("utf-8", "replace"))

    def _ask(self, path: Path) -> str:
        """Return a text that has all options of a program: what --help prints of our Python programs and
        of what is built, the source of any other, which is never started."""
        python = path.suffix == ".py" and path.parent.name in ("runner", "plots")
        built = self.root / "out" in path.parents
        if not python and not built:
            return path.read_text("utf-8", "replace")
        command = [sys.executable, str(path)] if python else [str(path)]
        try:
            done = subprocess.run([*command, "--help"], capture_output=True, stdin=subprocess.DEVNULL,
                                  timeout=_HELP_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def check_pages(root: Path, tell: Callable[[str], None], pages: Optional[Iterable[Path]] = None) -> list[str]:
    """Return what is wrong, a line each that begins with page and line; empty if nothing is."""
    tree, wrong = Tree(root), []
    for path in pages_of(root) if pages is None else pages:
        shown = path.relative_to(root)
        tell(f"reading {shown}")
        page = tree.page(path)
        for link in page.links:
            problem = _link_problem(link.text, path, tree)
            if problem is not None:
                wrong.append(f"{shown}:{link.line}: {problem}")
        for piece in page.code:
            problems = [*_missing_files(piece, path, tree), *_unknown_options(piece, tree)]
            wrong += [f"{shown}:{piece.line}: {problem}" for problem in problems]
    return list(dict.fromkeys(wrong))


def _link_problem(target: str, page: Path, tree: Tree) -> Optional[str]:
    if re.match(r"[a-z][a-z0-9+.-]*:", target, re.I):
        return None
    name, _, anchor = target.partition("#")
    path = (tree.root / name.lstrip("/") if name.startswith("/") else page.parent / name) if name else page
    if not path.exists():
        return f"the link to '{target}' leads nowhere: there is no {_shown(path, tree.root)}"
    if anchor and path.suffix == ".md" and anchor not in tree.page(path).anchors:
        return f"the link to '{target}' leads nowhere: {_shown(path, tree.root)} has no heading for '#{anchor}'"
    return None


def _shown(path: Path, root: Path) -> str:
    return os.path.relpath(os.path.normpath(path), root)


def _words(piece: Piece) -> list[str]:
    code = re.split(r"(?:^|\s)#\s", piece.text, maxsplit=1)[0].replace("\\|", "|")
    try:
        return shlex.split(code)
    except ValueError:
        return code.split()


def _missing_files(piece: Piece, page: Path, tree: Tree) -> Iterator[str]:
    for word in _words(piece):
        word = re.sub(r"(:\d+)?[.,;:)]*$", "", word).lstrip("(")
        match = _NAMED_PATH.fullmatch(word)
        if match is None:
            continue
        if match[3] is not None:
            there = tree.has_name(word)
        else:
            name = match[1] or match[2]
            there = any(any(True for _ in base.glob(name.rstrip("/"))) for base in (tree.root, page.parent))
        if not there and not _stands_for_another(word):
            yield f"there is no '{word}'"


def _stands_for_another(word: str) -> bool:
    return any(
        _PLACEHOLDER.fullmatch(part) and not part.startswith(_REAL_CAPITALS) for part in word.split("/")
    )


def _unknown_options(piece: Piece, tree: Tree) -> Iterator[str]:
    """Options belong to the last program named before them on their line."""
    program: Optional[Path] = None
    for word in _words(piece):
        if word in _SEPARATORS:
            program = None
            continue
        found = _program(word, tree)
        if found is not None:
            program = found
        elif word == "bench" and program == tree.root / "build.sh":
            program = tree.root / "runner" / "run.py"  # which takes what follows
        match = _OPTION.match(word)
        if program is None or match is None or match[0] == "--help":
            continue
        known = tree.help(program)
        name = _shown(program, tree.root)
        if not known:
            yield f"'{name} --help' does not answer, so '{match[0]}' can't be looked up"
        elif not re.search(rf"(?<![\w-]){re.escape(match[0])}(?![\w-])", known):
            yield f"{name} has no option '{match[0]}'"


def _program(word: str, tree: Tree) -> Optional[Path]:
    match = _PROGRAM.fullmatch(word)
    if match is not None:
        built = tree.root / "out" / match[1] / match[2]
        return built if os.access(built, os.X_OK) and built.is_file() else None
    match = _SCRIPT.fullmatch(word)
    return tree.script(match[1]) if match is not None else None
