"""The kind `documents`: the documentation agrees with the sources.

The tables of options, in the README and in the manual page, are what the built library says of itself;
and what the pages name is there (pages.py).
"""
from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.gates.kinds import Finding, Kind, NotJudged, Workshop, fits
from runner.gates.pages import check_pages, pages_of

_LIMIT_SECONDS = 60.0
_ROW = re.compile(r"^\| `(HAKMEM_\w+)` \| (.*) \| (.*) \| (.*) \|$")
_SHOWN = 40


def _asked(_values: Mapping[str, Any]) -> str:
    return ("the tables of options are what the library says, every link leads somewhere, every file, script and "
            "option that is named exists")


def _judge(_values: Mapping[str, Any], workshop: Workshop) -> Finding:
    command = workshop.make("release", "hakmem")
    wrong = check_manual(workshop, command)
    wrong += check_table(workshop.root / "README.md", options_of(command))
    wrong += check_pages(workshop.root, workshop.tell)
    pages = len(pages_of(workshop.root))
    if not wrong:
        return Finding(True, f"{pages} pages and the manual agree with the sources")
    more = [f"... and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    return Finding(False, f"{len(wrong)} things in {pages} pages and the manual are wrong; the first: {wrong[0]}",
                   lines=[*wrong[:_SHOWN], *more])


def check_manual(workshop: Workshop, command: Path) -> list[str]:
    """Return what man/update_options.sh has to say of the manual page of options."""
    ended = workshop.follow(["man/update_options.sh", "--check", str(command)], _LIMIT_SECONDS)
    if ended.problem is None:
        return []
    return [f"man/hakmem.7: {ended.lines[-1] if ended.lines else ended.problem}"]


def options_of(command: Path) -> dict[str, tuple[str, str, str]]:
    """Return text, values and default of each option, as the built command tells them."""
    try:
        done = subprocess.run([str(command), "options", "--table"], capture_output=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=_LIMIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotJudged(f"'{command} options --table' did not run ({error})") from error
    rows = [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines()]
    if done.returncode != 0 or not rows or any(len(row) != 4 for row in rows):
        raise NotJudged(f"'{command} options --table' printed no table of options")
    return {name: (told, values, default) for name, default, values, told in rows}


def check_table(page: Path, options: Mapping[str, tuple[str, str, str]]) -> list[str]:
    """Return where a page's table of options differs from the options."""
    wrong: list[str] = []
    seen: set[str] = set()
    name = page.name
    for number, line in enumerate(page.read_text("utf-8", "replace").splitlines(), start=1):
        match = _ROW.match(line)
        if match is None:
            continue
        seen.add(match[1])
        if match[1] not in options:
            wrong.append(f"{name}:{number}: there is no option {match[1]}")
            continue
        for what, shown, real in zip(("meaning", "values", "default"), match.groups()[1:], options[match[1]]):
            if shown.strip() != real:
                wrong.append(f"{name}:{number}: {match[1]}: the {what} is '{real}', not '{shown.strip()}'")
    return wrong + [f"{name}: its table of options has no {option}" for option in options if option not in seen]


DOCUMENTS = Kind("documents", {}, fits, _asked, _judge)
