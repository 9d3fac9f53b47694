"""Posting the report on a pull request, with a gh of our own that keeps what GitHub would."""
from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from runner.pull_request.comment_body import MOST_UNITS, comment_body, units
from runner.pull_request.comment_main import main
from runner.pull_request.fallback import MARKER

COMMIT, OTHER = "a1" * 20, "b2" * 20
US, SOMEBODY = "github-actions[bot]", "somebody"


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


class Hub:
    """A gh on a PATH of its own, and the script that uses it."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder / "a bin", root
        self.folder.mkdir()
        gh = self.folder / "gh"
        source = (root / "tests" / "runner" / "fake_gh.py").read_text("utf-8")
        gh.write_text(f"#!{sys.executable} -ES\n{source}", "utf-8")
        gh.chmod(0o755)
        self.report = folder / "the report.md"
        self.report.write_text(f"{MARKER}\n**HEAD is slower.** Ask @someone.\n", "utf-8")
        self.put(pulls=[self.pull(7, "fork:topic", COMMIT)])

    @staticmethod
    def pull(number: int, label: str, commit: str) -> dict[str, Any]:
        return {"number": number, "head": {"label": label, "sha": commit}}

    def put(self, **state: Any) -> None:
        (self.folder / "state.json").write_text(json.dumps({"comments": [], "pulls": [], **state}), "utf-8")

    @property
    def bodies(self) -> list[str]:
        state = json.loads((self.folder / "state.json").read_text("utf-8"))
        return [comment["body"] for comment in state["comments"]]

    @property
    def writes(self) -> list[list[str]]:
        calls = (self.folder / "calls.jsonl").read_text("utf-8").splitlines()
        return [call for call in map(json.loads, calls) if call[2] != "GET"]

    def run(self, *words: str, head: str = "fork:topic", path: Optional[str] = None) -> Said:
        """Run in this process, which saves most of the time."""
        words = words or ("--head", head, "--commit", COMMIT, "--link", "https://example.org/run/1")
        output, errors = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.update(GITHUB_REPOSITORY="o/r", PATH=path or f"{self.folder}:/usr/bin:/bin")
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                status = main([str(self.report), *words])
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Said(status, output.getvalue(), errors.getvalue())

    def run_script(self, branch: str) -> subprocess.CompletedProcess[str]:
        """Run as the workflow does."""
        values = {"REPORT": str(self.report), "HEAD_OWNER": "fork", "HEAD_BRANCH": branch,
                  "HEAD_COMMIT": COMMIT, "RUN_LINK": "https://example.org/run/1",
                  "GITHUB_REPOSITORY": "o/r", "PATH": f"{self.folder}:{os.environ['PATH']}"}
        return subprocess.run([str(self.root / "scripts" / "ci_comment.sh")], env={**os.environ, **values},
                              capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              cwd=self.folder)


@pytest.fixture
def hub(tmp_path: Path, root: Path) -> Hub:
    return Hub(tmp_path, root)


def old(number: int, login: str = US, body: str = MARKER + "\nold") -> dict[str, Any]:
    return {"id": number, "user": {"login": login}, "body": body}


def test_where_there_is_no_comment_one_is_created(hub: Hub) -> None:
    hub.put(pulls=[hub.pull(7, "fork:topic", COMMIT)],
            comments=[old(1, SOMEBODY, "hello"), old(2, US, "of another workflow")])
    done = hub.run()
    assert (done.returncode, done.stdout) == (0, "Posted the report on pull request 7.\n"), done.stderr
    body = hub.bodies[2]
    assert body.startswith(MARKER + "\n**HEAD is slower.**") and body.count(MARKER) == 1
    assert COMMIT[:9] in body and "https://example.org/run/1" in body
    assert hub.bodies[:2] == ["hello", "of another workflow"]


def test_a_second_report_updates_the_first_comment(hub: Hub) -> None:
    hub.run()
    hub.report.write_text("**Nothing got slower.**\n", "utf-8")  # without a marker of its own
    done = hub.run()
    assert (done.returncode, done.stdout) == (0, "Updated the report on pull request 7.\n"), done.stderr
    assert len(hub.bodies) == 1 and hub.bodies[0].startswith(MARKER + "\n**Nothing got slower.**")


def test_of_two_comments_the_first_is_updated_and_nobody_elses(hub: Hub) -> None:
    """Somebody who copies the marker must not get us to write into his comment."""
    hub.put(pulls=[hub.pull(7, "fork:topic", COMMIT)], comments=[
        old(1, SOMEBODY), {"id": 2, "user": None, "body": None}, old(3, US, "I quote " + MARKER), old(4),
        old(5)])
    done = hub.run()
    assert done.returncode == 0, done.stderr
    assert [call[3] for call in hub.writes] == ["repos/o/r/issues/comments/4"]
    assert hub.bodies[0] == hub.bodies[4] == MARKER + "\nold"


def test_nobody_is_called_by_name(hub: Hub) -> None:
    hub.run()
    assert "@someone" not in hub.bodies[0] and "@\N{ZERO WIDTH SPACE}someone" in hub.bodies[0]


def test_pictures_beside_the_report_are_left_out_and_others_stay() -> None:
    report = (f"**Same**: all.\n{MARKER}\n\n<details>\n<summary>Pictures: 2</summary>\n\n"
              "![a \\[x\\]](report-pictures/a.png)\n\n![b](report-pictures/b%20c.png)\n\n</details>\n\n"
              "<details>\n<summary>More</summary>\n\n![c](https://example.org/c.png)\n\n</details>\n")
    body = comment_body(report, COMMIT, "")
    assert body.startswith(MARKER + "\n**Same**: all.\n") and "report-pictures" not in body
    assert body.count("<details>") == 1 and "![c](https://example.org/c.png)" in body


@pytest.mark.parametrize("pulls, words", [
    ([], "No open pull request of fork:topic"),
    ([Hub.pull(7, "fork:topic", OTHER)], "newer commits"),
    ([Hub.pull(7, "other:topic", COMMIT)], "No open pull request"),
])
def test_a_run_that_no_open_pull_request_ends_with_gets_no_comment(
    hub: Hub, pulls: list[dict[str, Any]], words: str
) -> None:
    hub.put(pulls=pulls)
    done = hub.run()
    assert done.returncode == 0 and words in done.stdout and hub.writes == []


def test_a_repository_that_is_gone_gets_no_comment(hub: Hub) -> None:
    done = hub.run(head=":topic")
    assert done.returncode == 0 and "is gone" in done.stdout


def test_a_branch_with_an_evil_name_is_only_a_name(hub: Hub, tmp_path: Path) -> None:
    name = f"x;touch${{IFS}}{tmp_path}/made\"$(touch {tmp_path}/made)`touch {tmp_path}/made`"
    hub.put(pulls=[hub.pull(7, "fork:" + name, COMMIT)])
    done = hub.run_script(name)
    assert done.returncode == 0 and len(hub.bodies) == 1, done.stderr
    assert not (tmp_path / "made").exists()


def test_what_github_refuses_is_a_sentence(hub: Hub) -> None:
    hub.put(refuses="Resource not accessible by integration (HTTP 403)")
    done = hub.run()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "HTTP 403" in done.stderr


def test_without_gh_a_sentence_says_what_to_install(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "gh").unlink()
    done = hub.run("--pull-request", "7", path=str(hub.folder))
    assert done.returncode == 1 and "gh is not installed" in done.stderr


@pytest.mark.parametrize("words, said", [
    (("--pull-request", "7; rm"), "no number"),
    (("--repository", "nothing", "--pull-request", "7"), "write OWNER/NAME"),
    (("--commit", "abc", "--pull-request", "7"), "no full commit"),
    (("--link", "javascript:alert(1)", "--pull-request", "7"), "https://"),
    ((), ""),
    (("--head", "fork:topic"), "which pull request"),
    (("--pull-requst", "7"), "did you mean '--pull-request'"),
])
def test_wrong_usage_is_a_sentence(hub: Hub, words: tuple[str, ...], said: str) -> None:
    if not words:
        hub.report.unlink()
        words, said = ("--pull-request", "7"), "does not exist"
    done = hub.run(*words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (hub.folder / "calls.jsonl").exists()


def test_a_report_that_is_a_link_or_empty_is_not_posted(hub: Hub, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret", "utf-8")
    hub.report.unlink()
    hub.report.symlink_to(secret)
    done = hub.run()
    assert done.returncode == 2 and "is a link" in done.stderr
    hub.report.unlink()
    hub.report.write_text(" \n", "utf-8")
    assert "is empty" in hub.run().stderr
    hub.report.unlink()
    os.mkfifo(hub.report)
    assert "is no file" in hub.run().stderr


def test_a_report_over_the_limit_is_cut_with_a_sentence(hub: Hub) -> None:
    rows = "\n".join(f"| row {n} of a long table | \N{GRINNING FACE} |" for n in range(5000))
    hub.report.write_text(f"{MARKER}\n**Slower.**\n\n<details><summary>All</summary>\n\n{rows}\n</details>\n",
                          "utf-8")
    done = hub.run()
    assert done.returncode == 0, done.stderr
    body = hub.bodies[0]
    assert units(body) <= 65_536 and "was cut here" in body and "**Slower.**" in body
    assert body.count("<details>") == body.count("</details>") == 1
    assert body.rindex("</details>") < body.index("was cut here") < body.index("this run")
    assert all(line.endswith("|") for line in body.splitlines() if line.startswith("| row"))


@pytest.mark.parametrize("report", [
    "x" * 200_000,
    "```text\n" + "code\n" * 30_000 + "```\n",
    "<details>\n" * 20_000,
    "@a " * 60_000,
    "\N{GRINNING FACE}" * 40_000,
])
def test_whatever_is_cut_fits(report: str) -> None:
    body = comment_body(report, COMMIT, "https://example.org/run/1")
    assert units(body) <= MOST_UNITS and "was cut here" in body
    fences = [line for line in body.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
