"""The workflows keep the rules that make them safe and repeatable; each rule is tried on a mistake."""
from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs Debian's package python3-yaml")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = ("benchmark.yml", "benchmark-comment.yml", "tests.yml")
PINNED = re.compile(r"actions/(checkout|upload-artifact|download-artifact)@v[1-9][0-9]*")
TOP_KEYS = {"name", "on", "permissions", "concurrency", "env", "jobs"}
JOB_KEYS = {"name", "if", "runs-on", "timeout-minutes", "permissions", "steps", "env"}
STEP_KEYS = {"name", "id", "if", "uses", "with", "run", "env", "timeout-minutes", "continue-on-error"}
TRIGGERS = {"push", "pull_request", "workflow_dispatch", "workflow_run"}
CONTEXTS = ("github.", "inputs.", "runner.temp", "steps.fetch.outcome")

Workflow = dict[str, Any]


def load(name: str) -> Workflow:
    """Read a workflow; YAML takes the key `on` for the word yes."""
    found = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    assert isinstance(found, dict)
    return {("on" if key is True else key): value for key, value in found.items()}


def steps_of(workflow: Workflow) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a part of a workflow."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from texts_of(part)
    else:
        yield str(value)


def wrong_shape(workflow: Workflow) -> Iterator[str]:
    yield from (f"unknown key {key}" for key in set(workflow) - TOP_KEYS)
    needed = ("name", "on", "permissions", "concurrency", "jobs")
    yield from (f"no {key}" for key in needed if key not in workflow)
    yield from (f"trigger {name} is not allowed" for name in set(workflow.get("on", {})) - TRIGGERS)
    for name, job in workflow["jobs"].items():
        yield from (f"{name}: unknown key {key}" for key in set(job) - JOB_KEYS)
        if not isinstance(job.get("timeout-minutes"), int):
            yield f"{name}: no time limit"
        if not re.fullmatch(r"ubuntu-[0-9]{2}\.04", str(job.get("runs-on"))):
            yield f"{name}: the machine's system is not pinned"
        for step in job["steps"]:
            yield from (f"{name}: unknown key {key} of a step" for key in set(step) - STEP_KEYS)
            if ("uses" in step) == ("run" in step) or "name" not in step:
                yield f"{name}: a step needs a name and one of uses and run"


def wrong_actions(workflow: Workflow) -> Iterator[str]:
    for step in steps_of(workflow):
        if "uses" in step and not PINNED.fullmatch(step["uses"]):
            yield f"{step['uses']} is not one of the known actions, pinned to a version"
        if "checkout" in step.get("uses", "") and step["with"].get("persist-credentials") is not False:
            yield "a checkout leaves the token where what runs later can read it"


def wrong_rights(workflow: Workflow) -> Iterator[str]:
    rights = [workflow.get("permissions"), *(job.get("permissions", {}) for job in workflow["jobs"].values())]
    writes = set()
    for right in rights:
        if not isinstance(right, dict):
            yield f"rights are not listed one by one: {right}"
            continue
        writes |= {name for name, value in right.items() if value == "write"}
    runs_foreign_code = "pull_request" in workflow["on"]
    allowed = set() if runs_foreign_code else {"pull-requests"}
    yield from (f"writes {name}" for name in writes - allowed)
    if runs_foreign_code and "secrets." in " ".join(texts_of(workflow)):
        yield "a secret where foreign code runs"


def wrong_trust(workflow: Workflow) -> Iterator[str]:
    """What runs with rights to write may check out nothing of the pull request's, and no text that its
    author chose may come into a script but as an environment variable."""
    for step in steps_of(workflow):
        if "${{" in step.get("run", ""):
            yield f"an expression in the script of '{step['name']}'"
        if "workflow_run" in workflow["on"] and "checkout" in step.get("uses", ""):
            if step["with"].get("ref") != "${{ github.event.repository.default_branch }}":
                yield "checks out something else than the default branch"
    for text in texts_of(workflow):
        if text.count("${{") != text.count("}}"):
            yield f"a broken expression: {text}"
        for inside in re.findall(r"\$\{\{(.*?)\}\}", text):
            for word in re.findall(r"[a-z_]+\.[\w.]+", re.sub(r"'[^']*'", "", inside)):
                if not word.startswith(CONTEXTS):
                    yield f"unknown word {word} in an expression"


def wrong_scripts(workflow: Workflow) -> Iterator[str]:
    for step in steps_of(workflow):
        for word in re.findall(r"[\w./-]+", step.get("run", "")):
            path = ROOT / word
            if "/" in word and not (path.is_file() and path.stat().st_mode & 0o111):
                yield f"{word} is no program of the tree"
        if step.get("run", "").strip().count("\n") > 1:
            yield f"the script of '{step['name']}' belongs into a file"


RULES: list[Callable[[Workflow], Iterator[str]]] = [
    wrong_shape, wrong_actions, wrong_rights, wrong_trust, wrong_scripts]


def problems(workflow: Workflow) -> list[str]:
    return [problem for rule in RULES for problem in rule(workflow)]


def test_there_are_these_workflows() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_are_kept(name: str) -> None:
    assert problems(load(name)) == []


def test_the_comment_follows_the_benchmark_and_takes_its_report() -> None:
    benchmark, comment = load("benchmark.yml"), load("benchmark-comment.yml")
    assert comment["on"] == {"workflow_run": {"workflows": [benchmark["name"]], "types": ["completed"]}}
    assert benchmark["permissions"] == {"contents": "read"} and comment["permissions"] == {}
    [job] = comment["jobs"].values()
    assert job["permissions"] == {"contents": "read", "actions": "read", "pull-requests": "write"}
    assert "github.event.workflow_run.event == 'pull_request'" in job["if"]
    [kept] = [step["with"] for step in steps_of(benchmark) if "upload" in step.get("uses", "")]
    [taken] = [step["with"] for step in steps_of(comment) if "download" in step.get("uses", "")]
    assert kept["name"] == taken["name"]
    [post] = [step for step in steps_of(comment) if "run" in step]
    assert post["env"]["REPORT"] == f"{taken['path']}/report.md"
    assert taken["path"].startswith("${{ runner.temp }}/")  # never over what was checked out


def test_measuring_that_failed_is_shown_too_and_older_runs_are_cancelled() -> None:
    benchmark = load("benchmark.yml")
    [kept] = [step for step in steps_of(benchmark) if "upload" in step.get("uses", "")]
    assert kept["if"] == "${{ always() }}"  # also of a job that was stopped at its time limit
    assert benchmark["concurrency"]["cancel-in-progress"] is True
    assert "github.event.pull_request.number" in benchmark["concurrency"]["group"]
    [checkout] = [step["with"] for step in steps_of(benchmark) if "checkout" in step.get("uses", "")]
    assert checkout["fetch-depth"] == 0  # the base must be there


def first_step(workflow: Workflow, key: str) -> dict[str, Any]:
    return next(step for step in steps_of(workflow) if key in step)


def job_of(workflow: Workflow) -> dict[str, Any]:
    return next(iter(workflow["jobs"].values()))


MISTAKES: list[tuple[str, str, Callable[[Workflow], Any]]] = [
    ("benchmark.yml", "trigger pull_request_target", lambda w: w["on"].update(pull_request_target=None)),
    ("benchmark.yml", "no permissions", lambda w: w.pop("permissions")),
    ("benchmark.yml", "not listed one by one", lambda w: w.update(permissions="write-all")),
    ("benchmark.yml", "writes pull-requests", lambda w: w["permissions"].update({"pull-requests": "write"})),
    ("benchmark.yml", "writes contents", lambda w: job_of(w).update(permissions={"contents": "write"})),
    ("benchmark.yml", "no concurrency", lambda w: w.pop("concurrency")),
    ("benchmark.yml", "no time limit", lambda w: job_of(w).pop("timeout-minutes")),
    ("benchmark.yml", "not pinned", lambda w: job_of(w).update({"runs-on": "ubuntu-latest"})),
    ("benchmark.yml", "pinned to a version",
     lambda w: first_step(w, "uses").update(uses="actions/checkout@main")),
    ("benchmark.yml", "known actions", lambda w: first_step(w, "uses").update(uses="some/action@v1")),
    ("benchmark.yml", "leaves the token", lambda w: first_step(w, "with")["with"].pop("persist-credentials")),
    ("benchmark.yml", "an expression in the script",
     lambda w: first_step(w, "run").update(run="echo ${{ github.event.pull_request.title }}")),
    ("benchmark.yml", "a secret where", lambda w: w["env"].update(TOKEN="${{ secrets.TOKEN }}")),
    ("benchmark.yml", "no program of the tree",
     lambda w: first_step(w, "run").update(run="scripts/nothing.sh")),
    ("benchmark.yml", "belongs into a file", lambda w: first_step(w, "run").update(run="true\ntrue\ntrue\n")),
    ("benchmark.yml", "unknown key runs", lambda w: first_step(w, "run").update(runs="true")),
    ("benchmark.yml", "a broken expression", lambda w: w["env"].update(A="${{ github.sha }")),
    ("benchmark.yml", "unknown word git.sha", lambda w: w["env"].update(A="${{ git.sha }}")),
    ("benchmark-comment.yml", "else than the default branch", lambda w: first_step(w, "with")["with"].update(
        ref="${{ github.event.workflow_run.head_sha }}")),
    ("benchmark-comment.yml", "writes contents", lambda w: job_of(w)["permissions"].update(contents="write")),
]


@pytest.mark.parametrize("name, said, mistake", MISTAKES, ids=[said for _, said, _ in MISTAKES])
def test_a_mistake_is_found(name: str, said: str, mistake: Callable[[Workflow], Any]) -> None:
    workflow = copy.deepcopy(load(name))
    mistake(workflow)
    found = problems(workflow)
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("name", NAMES)
def test_scripts_in_workflows_pass_shellcheck(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    for step in steps_of(load(name)):
        if "run" in step:
            script = "#!/usr/bin/env bash\nset -e\n" + step["run"]
            done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
