"""Finds out whether the tree compiles, in a folder of its own, and says what the compiler said."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from .findings import Check, Finding
from .tree import Tree, TreeError

_LIMIT = 20  # errors that are shown
_SECONDS = 900  # for the whole build
_ERROR = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<text>.*)$", re.M)


def check_compiles(tree: Tree) -> Check:
    """Build the library with the Makefile beside the folder, or else look at every .c file."""
    folder = tree.root.resolve()
    environment = {k: v for k, v in os.environ.items()
                   if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES", "OUT", "VARIANT")}
    environment["LC_ALL"] = "C"
    check = Check("compiles", "")
    if (folder.parent / "Makefile").is_file():
        _need("make")
        with tempfile.TemporaryDirectory(prefix="freelist-sites-", dir=_plain_folder()) as scratch:
            command = ["make", "-s", "--no-print-directory", "-C", str(folder.parent),
                       f"OUT={scratch}/out", "libhakmem.so"]
            done = _run(command, folder, environment)
        check.good = "make libhakmem.so succeeds"
        if done.returncode:
            _report(check, done.stdout + done.stderr, folder, folder.parent, "../Makefile",
                    "make libhakmem.so fails")
        return check
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    _need(compiler[0])
    sources = [name for name in tree.files if name.endswith(".c")]
    for name in sources:
        done = _run([*compiler, "-fsyntax-only", "-I.", "-Iinclude", f"./{name}"], folder, environment)
        if done.returncode:
            _report(check, done.stderr + done.stdout, folder, folder, name, f"{name} doesn't compile")
    check.good = f"{len(sources)} {'file compiles' if len(sources) == 1 else 'files compile'}"
    return check


def _need(program: str) -> None:
    if not shutil.which(program):
        raise TreeError(f"'{program}' is not installed, and without it nobody knows whether the tree "
                        "compiles; ./build.sh setup installs what is missing")


def _plain_folder() -> str:
    """A folder for scratch files whose name make can digest."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if not re.search(r"[^\w./+-]", folder) and os.access(folder, os.W_OK):
            return folder
    raise TreeError("no folder for scratch files has a name without spaces; set TMPDIR to one that has")


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                              errors="replace", timeout=_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise TreeError(f"'{shlex.join(command)}' didn't end within {_SECONDS} seconds") from None


def _report(check: Check, output: str, folder: Path, where: Path, fallback: str,
            summary: str) -> None:
    """Make findings of what a compiler printed about files relative to `where`."""
    advice = "mend it; the other checks mean little for a tree that doesn't compile"
    found = list(_ERROR.finditer(output))
    for match in found[:_LIMIT]:
        path = os.path.relpath(where / match["file"], folder)
        finding = Finding(path, int(match["line"]), f"doesn't compile: {match['text']}", advice)
        if finding not in check.findings:
            check.findings.append(finding)
    if not found:
        last = [line for line in output.splitlines() if line.strip()][-3:]
        text = f"{summary}: {' | '.join(last) or 'without a word'}"
        check.findings.append(Finding(fallback, 1, text, advice))
