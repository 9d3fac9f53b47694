"""Runs the steps of the workflows that need no GitHub, one after the other as GitHub does, in a scratch
clone whose last commit is the pull request; measuring is real, but short."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs Debian's package python3-yaml")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
# The tests themselves: they would run for ever.
NOT_RUN = {".ci/run"}
# Enough to have every step do its work: one cell, and builds that take little time.
SMALL = {"WORKLOADS": "larson", "MATRIX": "threads=1", "CFLAGS": "-O0 -g0 -w"}


def git(folder: Path, *words: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder), *words],
        env=environment, capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


def evaluate(text: str, known: dict[str, str]) -> str:
    """Return a text of a workflow with its expressions replaced: names, texts, and || between them."""

    def value(match: re.Match[str]) -> str:
        for word in match[1].split("||"):
            found = word.strip()[1:-1] if word.strip().startswith("'") else known.get(word.strip(), "")
            if found:
                return found
        return ""

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


@dataclass
class Machine:
    """What GitHub would bring: a checkout, a temporary folder, and what it knows of the event."""

    clone: Path
    temporary: Path
    known: dict[str, str]
    environment: dict[str, str]

    def run(self, name: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run the shell steps of a workflow, and return how each ended; like GitHub, stop at one that
        fails."""
        workflow = yaml.safe_load((FOLDER / name).read_text("utf-8"))
        [job] = workflow["jobs"].values()
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in job["steps"]:
            if "run" not in step or step["run"].strip() in NOT_RUN:
                continue
            values: dict[str, Any] = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            variables = {key: evaluate(str(value), self.known) for key, value in values.items()}
            done[step["run"].strip()] = found = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]], cwd=self.clone,
                env={**os.environ, **self.environment, **variables}, capture_output=True, text=True,
                stdin=subprocess.DEVNULL, timeout=300)
            if found.returncode != 0:
                break
        return done


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A clone of this tree as it is, with a commit on top that touches the allocator."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    folder = tmp_path_factory.mktemp("ci")
    clone, temporary = folder / "the clone", folder / "temporary files"
    temporary.mkdir()
    git(ROOT, "clone", "-q", "--shared", "--no-checkout", str(ROOT), str(clone))
    git(clone, "checkout", "-q", "-B", "main")
    overlay(clone)
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "--allow-empty", "-m", "what is here")
    base = git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "-q", "--allow-empty", "-m", "the base goes on")
    ahead = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "-q", "--detach", base)
    source = sorted((clone / "allocator").glob("*/*.c"))[0]
    source.write_text(source.read_text("utf-8") + "\n/* Another commit. */\n", "utf-8")
    git(clone, "commit", "-q", "--all", "-m", "Change the allocator")
    head = git(clone, "rev-parse", "HEAD")
    return Machine(clone, temporary, {
        "github.event.pull_request.base.sha": ahead, "inputs.time_budget": "2s",
        "runner.temp": str(temporary), "github.token": "none", "github.event.pull_request.head.sha": head,
        "github.event.workflow_run.head_repository.owner.login": "fork",
        "github.event.workflow_run.head_branch": "topic", "github.event.workflow_run.head_sha": head,
        "github.event.workflow_run.html_url": "https://example.org/run/1",
    }, {**SMALL, "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"), "GITHUB_REPOSITORY": "o/r",
        "GITHUB_ACTIONS": ""})


def overlay(clone: Path) -> None:
    """Bring what was changed and not yet committed into the clone."""
    names = git(ROOT, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames").split("\0")
    for name in (entry[3:] for entry in names if entry):
        source, target = ROOT / name, clone / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        elif target.is_file():
            target.unlink()


def fake_gh(folder: Path, head: str) -> Path:
    folder.mkdir(exist_ok=True)
    gh = folder / "gh"
    gh.write_text(f"#!{sys.executable} -ES\n{(ROOT / 'tests/runner/fake_gh.py').read_text('utf-8')}", "utf-8")
    gh.chmod(0o755)
    pulls = [{"number": 7, "head": {"label": "fork:topic", "sha": head}}]
    (folder / "state.json").write_text(json.dumps({"pulls": pulls, "comments": []}), "utf-8")
    return folder


def test_a_pull_request_is_measured_and_its_report_posted(machine: Machine) -> None:
    done = machine.run("benchmark.yml")
    measured = done["scripts/ci_measure.sh"]
    said = measured.stdout + measured.stderr
    assert measured.returncode in (0, 1), said[-4000:]
    assert "Traceback" not in said
    report = machine.temporary / "benchmark-report"
    for name in ("results.jsonl", "comparison.json", "report.md", "report.html"):
        assert (report / name).stat().st_size > 0, name
    found = json.loads((report / "comparison.json").read_text("utf-8"))
    assert (measured.returncode == 1) == (found["verdict"] == "slower"), said[-4000:]
    base = found["base"]["commit"]  # where the pull request left its base, which went on since then
    assert git(machine.clone, "log", "-1", "--format=%s", base) == "what is here"
    assert found["new"]["commit"] == git(machine.clone, "rev-parse", "HEAD")
    summary = (machine.temporary / "summary.md").read_text("utf-8")
    whole = (report / "report.md").read_text("utf-8").splitlines(keepends=True)
    assert summary == "".join(line for line in whole if not line.startswith("![")), "all but the pictures"

    hub = fake_gh(machine.temporary / "bin", git(machine.clone, "rev-parse", "HEAD"))
    machine.environment["PATH"] = f"{hub}:{os.environ['PATH']}"
    posted = machine.run("benchmark-comment.yml")["scripts/ci_comment.sh"]
    assert (posted.returncode, posted.stdout) == (0, "Posted the report on pull request 7.\n"), posted.stderr
    [comment] = json.loads((hub / "state.json").read_text("utf-8"))["comments"]
    assert summary.splitlines()[0] in comment["body"].replace("\N{ZERO WIDTH SPACE}", "")


def test_every_shell_step_is_run_here() -> None:
    """But for those that are left out above, with the reason."""
    known = {"scripts/ci_prepare.sh", "scripts/ci_measure.sh", "scripts/ci_comment.sh", *NOT_RUN}
    for path in FOLDER.iterdir():
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
            for step in job["steps"]:
                assert "run" not in step or step["run"].strip() in known, step


def test_expressions_get_their_values() -> None:
    assert evaluate("a ${{ x.y || 'b' }} ${{ z }}c", {"z": "1"}) == "a b 1c"
    assert evaluate("${{ x.y || z }}", {"x.y": "2", "z": "1"}) == "2"
