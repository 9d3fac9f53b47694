"""The command lines of both programs: arguments, messages, exit statuses."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

from . import analyze, verify
from .tree import TreeError, read_tree

_USAGE = {
    "analyze": """usage: analyze_freelist_sites.sh [--json] [DIR]

Prints every access to slabs' freelists and remote queues in the C sources under DIR (the
allocator's own by default): how many, of what kind, in which file and layer, under which lock,
on which path. Exit status 0; 2 for bad arguments.""",
    "verify": """usage: verify_atomic_freelist_conversion.sh [DIR]

Checks that every access to slabs' freelists and remote queues in the C sources under DIR (the
allocator's own by default) goes through slab_freelist_atomic.h, that no pop is unchecked or done
twice, that only slab_claim_then_drain drains, and that the tree compiles. Exit status 0 if so,
1 with findings, 2 for bad arguments.""",
}
_PROGRAM = {"analyze": "analyze_freelist_sites.sh", "verify": "verify_atomic_freelist_conversion.sh"}


def main(arguments: list[str]) -> int:
    """Run "analyze" or "verify", the first argument, with the others."""
    command, rest = arguments[0], arguments[1:]
    sys.setrecursionlimit(10_000)  # deeply nested code
    try:
        return _run(command, rest)
    except TreeError as error:
        print(f"{_PROGRAM[command]}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _run(command: str, arguments: list[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        print(_USAGE[command])
        return 0
    json, folder = False, None
    only_folders = False
    for argument in arguments:
        if argument == "--" and not only_folders:
            only_folders = True
        elif argument == "--json" and command == "analyze" and not only_folders:
            json = True
        elif argument.startswith("-") and not only_folders:
            raise TreeError(f"unknown option '{argument}'; --help shows the usage")
        elif folder is not None:
            raise TreeError(f"one folder at a time, but there is a second, '{argument}'")
        else:
            folder = argument
    root, shown = _folder(folder)
    tree = read_tree(root)
    if command == "analyze":
        analysis = analyze.analyse(tree, shown)
        print(analyze.as_json(analysis) if json else analyze.as_text(analysis))
        return 0
    checks, sites = verify.verify(tree)
    print(verify.as_text(checks, sites, shown))
    return 1 if any(check.findings for check in checks) else 0


def _folder(argument: Optional[str]) -> tuple[Path, str]:
    """The folder to read, and how to show it."""
    if argument is None:
        root = Path(__file__).resolve().parents[2] / "allocator"
        if not root.is_dir():
            raise TreeError("the checkout has no folder 'allocator'; name the folder to look at")
        return root, "allocator"
    if not argument:
        raise TreeError("the folder's name is empty; leave it out to look at the allocator")
    root = Path(argument)
    if not root.exists():
        raise TreeError(f"there is no folder '{argument}'; name one that holds C sources")
    if not root.is_dir():
        raise TreeError(f"'{argument}' is not a folder; name the folder that it lies in")
    return root, argument.rstrip("/") or "/"
