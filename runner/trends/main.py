"""What history.py does with each of its commands, and its exit status."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runner.errors import EXIT_COMPLETE, EXIT_FAILED_SAMPLES, EXIT_USAGE, UsageError, explain_os_error
from runner.trends.add import add_file
from runner.trends.export import export
from runner.trends.list import list_commits
from runner.trends.options import parse_options
from runner.trends.store import open_to_read
from runner.paths import TREE
from runner.patient_stream import run_patiently
from runner.table import print_blocks

_INTERRUPTED = 130
_PACKAGES = {"numpy": "python3-numpy"}
Need = Callable[["dict[str, str]"], None]


def main(arguments: Sequence[str], need: Need) -> int:
    """Run with these arguments and return the exit status. `need` goes on with a Python that has the
    libraries that it is given."""
    return run_patiently(
        "history.py", lambda: _guarded(arguments, need), lambda status: status or EXIT_FAILED_SAMPLES
    )


def _guarded(arguments: Sequence[str], need: Need) -> int:
    try:
        return _run(arguments, need)
    except UsageError as error:
        print(f"history.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("Interrupted; what was said to be added is in the history.", file=sys.stderr)
        return _INTERRUPTED


def _run(arguments: Sequence[str], need: Need) -> int:
    given = parse_options(arguments)
    if given.command == "add":
        return _add(given)
    if given.command == "list":
        with open_to_read(given.db) as history:
            listing = list_commits(history, given.last, given.machine, given.allocator, given.absolute)
        print_blocks(listing.blocks)
        for line in listing.remarks:
            print(line)
        return EXIT_COMPLETE
    if given.command == "trend":
        need(_PACKAGES)
        from runner.trends.show import show_trends

        return show_trends(given)
    return _export(given)


def _add(given: argparse.Namespace) -> int:
    """Add file after file; one that can't be used does not keep the others out."""
    paths = _files(given.files)
    status = EXIT_COMPLETE
    for number, path in enumerate(paths, start=1):
        count = f"[{number} of {len(paths)}] " if len(paths) > 1 else ""
        try:
            print(f"{count}{add_file(given.db, path, TREE)}", flush=True)
        except UsageError as error:
            print(f"history.py: {count}{error}", file=sys.stderr)
            status = EXIT_USAGE
    return status


def _files(given: Sequence[Path]) -> list[Path]:
    """Return the files, and those in the folders, that were named."""
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(path.glob("*.jsonl"))
        if not inside:
            raise UsageError(f"'{path}' is a folder without results files (*.jsonl).")
        found += inside
    return found


def _export(given: argparse.Namespace) -> int:
    form = given.format or ("jsonl" if given.output and given.output.suffix == ".jsonl" else "csv")
    with open_to_read(given.db) as history:
        if given.output is None:
            export(history, form, sys.stdout, given.machine)
            return EXIT_COMPLETE
        if given.output.exists() and given.output.samefile(given.db):
            raise UsageError(f"--output {given.output}: that is the history itself; name another file.")
        # It takes the name only when it is whole.
        unfinished = given.output.with_name(f".{given.output.name}.{os.getpid()}")
        try:
            try:
                with open(unfinished, "w", encoding="utf-8", newline="") as stream:
                    lines = export(history, form, stream, given.machine)
                os.replace(unfinished, given.output)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(explain_os_error(error, given.output)) from error
    print(f"{given.output}: {lines} numbers.")
    return EXIT_COMPLETE
