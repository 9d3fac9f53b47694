"""Tests of the check of documents: what is wrong is found with its line, what is right is left alone."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.gates.documents import check_manual, check_table, options_of
from runner.gates.kinds import NotJudged, Workshop
from runner.gates.markdown import read_page
from runner.gates.pages import check_pages, pages_of
from runner.gates.reference import Reference
from runner.interrupts import Interrupts

PROGRAM = """import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--matrix")
parser.add_argument("--json", action="store_true")
parser.parse_args()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "a tree"
    for name, text in {
        "runner/run.py": PROGRAM, "runner/broken.py": "raise SystemExit(3)\n",
        "build.sh": "bench) exec runner/run.py\n",
        "scripts/tool.sh": "case $1 in --mode) ;; esac\ntouch started\n",
        "docs/other.md": "# A `b`, c & d\n\n## Twice\n\n## Twice\n",
        "allocator/base/guard.c": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def wrong_with(tree: Path, text: str, name: str = "docs/page.md") -> list[str]:
    (tree / name).write_text(text, "utf-8")
    return check_pages(tree, lambda _now: None, [tree / name])


GOOD = [
    "[x](other.md) ![y](../build.sh) [z](other.md#a-b-c--d) [t](other.md#twice-1) [s](#here)\n\n## Here\n",
    "[x](https://example.org/nowhere) [m](mailto:a@example.org) [r](/docs/other.md)\n",
    "`[not a link](nowhere.md)`\n\n```\n[nor](this.md)\n```\n<!-- [nor](that.md) -->\n",
    "[x][1]\n\n[1]: other.md \"title\"\n",
    "`runner/run.py --matrix threads=1..16 --json | jq --raw` and `./build.sh bench --matrix x=1`\n",
    "```\nHAKMEM_X=1 runner/run.py --json     # --nosuch is in a comment\n```\n",
    "```\nscripts/tool.sh --mode \\\n    --mode\n```\n",
    "`allocator/base`, `allocator/*/guard.c`, `guard.c`, `run.py`, `allocator/base/guard.c:12`, `runner/NAME.py`\n",
    "`results/FILE.jsonl` `out/release/larson_hakmem --whatever` `git log --oneline` `runner/run.py --help`\n",
    "an unclosed ' quotation in `runner/run.py --json isn't`\n",
]
BAD = [
    ("a\n\n[x](nowhere.md)\n", 3, "the link to 'nowhere.md' leads nowhere: there is no docs/nowhere.md"),
    ("[x](other.md#gone)\n", 1, "docs/other.md has no heading for '#gone'"),
    ("text\n[x](#gone)\n", 2, "docs/page.md has no heading for '#gone'"),
    ("[x][1]\n\n[1]: nowhere.md\n", 3, "there is no docs/nowhere.md"),
    ("![x](../images/no.png)\n", 1, "there is no images/no.png"),
    ("a\nb `runner/run.py --matrx x`\n", 2, "runner/run.py has no option '--matrx'"),
    ("```\nls\nrunner/run.py --json=1 --jso\n```\n", 3, "runner/run.py has no option '--jso'"),
    ("`./build.sh bench --quick`\n", 1, "runner/run.py has no option '--quick'"),
    ("```\nscripts/tool.sh --mode \\\n   --mood\n```\n", 2, "scripts/tool.sh has no option '--mood'"),
    ("`scripts/python.sh x`\n", 1, "there is no 'scripts/python.sh'"),
    ("text `compare.py` text\n", 1, "there is no 'compare.py'"),
    ("`./run_all.sh`\n", 1, "there is no './run_all.sh'"),
    ("`allocator/*/gone.c`\n", 1, "there is no 'allocator/*/gone.c'"),
    ("`runner/broken.py --json`\n", 1, "'runner/broken.py --help' does not answer"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_left_alone(tree: Path, text: str) -> None:
    assert wrong_with(tree, text) == []
    assert not (tree / "started").exists() and not Path("started").exists()  # scripts are read, not started


@pytest.mark.parametrize(("text", "line", "sentence"), BAD)
def test_what_is_wrong_is_found_with_its_line(tree: Path, text: str, line: int, sentence: str) -> None:
    found = wrong_with(tree, text)
    assert len(found) == 1 and found[0].startswith(f"docs/page.md:{line}: ") and sentence in found[0], found


def test_the_readme_lies_elsewhere(tree: Path) -> None:
    assert wrong_with(tree, "[x](docs/other.md) [y](other.md)\n", "README.md") == [
        "README.md:1: the link to 'other.md' leads nowhere: there is no other.md"
    ]


def test_pages_are_those_of_git_without_recorded_results(tree: Path, root: Path) -> None:
    (tree / "results/reference").mkdir(parents=True)
    (tree / "results/reference/run.md").write_text("x")
    (tree / "out").mkdir()
    (tree / "out/x.md").write_text("x")
    assert pages_of(tree) == [tree / "docs/other.md"]
    ours = {str(path.relative_to(root)) for path in pages_of(root)}
    assert {"README.md", "docs/design.md", "workloads/README.md"} <= ours
    assert not any(name.startswith("results/") for name in ours)


def test_code_blocks_keep_the_lines_numbers() -> None:
    page = read_page("# T\n\n```\none \\\n  two\nthree\n```\n~~~\n```\n~~~\n`a\nb` [l](m)\n")
    assert [(p.line, p.text.split()) for p in page.code] == [
        (4, ["one", "two"]), (6, ["three"]), (9, ["```"]), (11, ["a", "b"])]
    assert [(p.line, p.text) for p in page.links] == [(12, "m")] and page.anchors == {"t"}


@pytest.fixture
def command(root: Path, tmp_path: Path) -> Path:
    """A command that knows two options."""
    path = tmp_path / "hakmem"
    path.write_text("#!/bin/sh\nprintf 'HAKMEM_A\\t1\\t0 or 1\\tdoes a\\nHAKMEM_B\\t\\ta path\\tdoes b\\n'\n")
    path.chmod(0o755)
    return path


def test_the_table_of_options_is_what_the_program_says(command: Path, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    rows = ("| option | | values | default |\n| `HAKMEM_A` | does a | 0 or 1 | 1 |\n"
            "| `HAKMEM_B` | does b | a path |  |\n")
    page.write_text(rows)
    options = options_of(command)
    assert check_table(page, options) == []
    page.write_text(rows.replace("| 1 |", "| 0 |"))
    assert check_table(page, options) == ["README.md:2: HAKMEM_A: the default is '1', not '0'"]
    page.write_text(rows.replace("HAKMEM_B", "HAKMEM_C"))
    assert check_table(page, options) == [
        "README.md:3: there is no option HAKMEM_C", "README.md: its table of options has no HAKMEM_B"]
    command.write_text("#!/bin/sh\necho nonsense\n")
    with pytest.raises(NotJudged, match="printed no table of options"):
        options_of(command)


def test_the_manual_is_checked_by_its_own_script(command: Path, root: Path, tmp_path: Path) -> None:
    """With the options of another program our manual page is out of date."""
    workshop = Workshop(root, root / "out", False, Reference("", "", ""), tmp_path, dict(os.environ), Interrupts(),
                        print)
    found = check_manual(workshop, command)
    assert len(found) == 1 and "man/hakmem.7" in found[0] and "run man/update_options.sh" in found[0]
    built = root / "out/release/hakmem"
    if built.exists():
        status = subprocess.run([str(root / "man/update_options.sh"), "--check", str(built)], capture_output=True)
        assert bool(check_manual(workshop, built)) == (status.returncode != 0)
