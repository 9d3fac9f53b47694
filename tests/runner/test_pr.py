"""The steps of pr.py, in a tree whose other scripts are fakes that do as they are told."""
from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_results import make_run

from runner.verdict.comparison import Answer, Comparison, Question, Side
from runner.errors import UsageError
from runner.pull_request.fallback import MARKER
from runner.pull_request.options import parse_options, read_settings
from runner.results_file import read_run

FAKE = '''#!/usr/bin/env python3
"""Logs how it was started, and does what fakes.json says."""
import json, os, pathlib, sys
name, words = os.path.basename(__file__), sys.argv[1:]
folder = pathlib.Path(__file__).resolve().parent
with open(folder / "calls.jsonl", "a") as log:
    log.write(json.dumps([name, *words]) + "\\n")
does = json.loads((folder / "fakes.json").read_text()).get(name, {})
def after(option):
    return words[words.index(option) + 1]
if "results" in does and "--output" in words:
    pathlib.Path(after("--output")).write_bytes(pathlib.Path(does["results"]).read_bytes())
if "waits" in does:
    import signal, subprocess, time
    signal.signal(signal.SIGINT, lambda *_: (print("stopped in good order", flush=True), sys.exit(130)))
    if does["waits"] == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "60"])
        (folder / "child").write_text(str(child.pid))
    (folder / "waiting").write_text("")
    time.sleep(60)
if "prints" in does:
    print(does["prints"])
if "says" in does:
    sys.stderr.write(does["says"] + "\\n")
if does.get("fails_with") in words:
    sys.exit(2)
if name == "report.py" and not does.get("status"):
    pathlib.Path(after("--markdown")).write_text("<!-- hakmem-report -->\\n**new is slower**: by far.\\n")
    if "--html" in words:
        pathlib.Path(after("--html")).write_text("<p>")
if name == "hotspots.py":
    pathlib.Path(after("--out")).mkdir()
    if not does.get("status"):
        (pathlib.Path(after("--out")) / "profile.json").write_text("{}")
sys.exit(does.get("status", 0))
'''


def comparison(results: Path, *found: tuple[str, str, str, float]) -> str:
    """What compare.py --json prints: answers (verdict, metric, phase, ratio) of one cell."""
    run = read_run(results)
    sides = [Side(role, role, [str(results)], None, None, False, None) for role in ("base", "new")]
    answers = [
        Answer(Question("larson threads=1", "larson", {"threads": 1, "min": 8}, 1, phase, metric), verdict,
               ratio, ratio, ratio, 1.0, ratio, 20, 0.02, 0.0)
        for verdict, metric, phase, ratio in found
    ]
    made = Comparison(sides[0], sides[1], run.header.machine, True, 0.02, 0.01, 0.95, answers)
    return json.dumps(made.to_json(), default=dataclasses.asdict)


SLOWER = [("slower", "peak_rss_bytes", "", 1.5), ("slower", "ops_per_second", "churn", 0.8),
          ("slower", "ops_per_second", "", 0.95), ("faster", "minor_faults", "", 0.5)]
SAME = [("same", "ops_per_second", "", 1.0)]
UNDECIDED = [("undecided", "ops_per_second", "", 1.0)]


class Tree:
    """A copy of the runner with fakes in it."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.out = folder / "a tree", folder / "the out put"
        shutil.copytree(root / "runner", self.folder / "runner",
                        ignore=shutil.ignore_patterns("__pycache__", "templates"))
        (self.folder / "workloads").symlink_to(root / "workloads")
        for name in ("run.py", "compare.py", "hotspots.py", "report.py", "history.py"):
            (self.folder / "runner" / name).write_text(FAKE, "utf-8")
        self.made = make_run(folder / "made.jsonl", rounds=2)
        self.fakes: dict[str, dict[str, Any]] = {"run.py": {"results": str(self.made)}}
        self.found(SAME)

    def found(self, answers: list[tuple[str, str, str, float]], status: int = 0) -> None:
        self.put("compare.py", prints=comparison(self.made, *answers), status=status)

    def put(self, script: str, **does: Any) -> None:
        self.fakes.setdefault(script, {}).update(does)
        (self.folder / "runner" / "fakes.json").write_text(json.dumps(self.fakes), "utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        words = words if "--resume" in words else (*words, "--out", str(self.out))
        return subprocess.Popen(
            [sys.executable, str(self.folder / "runner" / "pr.py"), *words], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder.parent)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        output, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return subprocess.CompletedProcess([], process.returncode, output, errors)

    def wait_for(self, name: str) -> None:
        end = time.monotonic() + 20
        while not (self.folder / "runner" / name).exists():
            assert time.monotonic() < end
            time.sleep(0.02)

    @property
    def calls(self) -> dict[str, list[str]]:
        lines = (self.folder / "runner" / "calls.jsonl").read_text("utf-8").splitlines()
        return {call[0]: call[1:] for call in map(json.loads, lines)}


@pytest.fixture
def tree(tmp_path: Path, root: Path) -> Iterator[Tree]:
    yield Tree(tmp_path, root)


def after(words: list[str], option: str) -> list[str]:
    return [words[n + 1] for n, word in enumerate(words) if word == option]


def test_nothing_slower(tree: Tree) -> None:
    done = tree.run("v1", "v2", "--time-budget", "90s", "--effect", "3%", "--workloads", "larson")
    assert done.returncode == 0, done.stderr
    run = tree.calls["run.py"]
    assert after(run, "--rev") == ["v1", "v2"] and after(run, "--time-budget") == ["90s"]
    assert after(run, "--effect") == after(tree.calls["compare.py"], "--effect") == ["3%"]
    assert after(run, "--workloads") == ["larson"] and after(run, "--matrix")[0].startswith("threads=1")
    assert set(tree.calls) == {"run.py", "compare.py", "report.py"}
    for name in ("results.jsonl", "comparison.json", "report.md", "report.html"):
        assert (tree.out / name).is_file(), name
    assert done.stdout.splitlines()[-3:] == [
        f"Report:  {tree.out}/report.md", f"Page:    {tree.out}/report.html",
        f"Results: {tree.out}/results.jsonl"]
    assert "new is slower: by far.\n" in done.stdout  # what the report begins with


def test_something_slower_is_profiled_in_both_builds(tree: Tree) -> None:
    tree.found(SLOWER, status=1)
    done = tree.run("v1", "v2", "--history", "the history.db")
    assert done.returncode == 1, done.stderr
    words = tree.calls["hotspots.py"]
    assert words[:4] == ["larson", "rev:v2", "--against", "rev:v1"] and "--matrix" in words
    assert "threads=1" in after(words, "--matrix")
    report = tree.calls["report.py"]
    assert after(report, "--profiles") == [f"{tree.out}/profiles"]
    assert after(report, "--history") == [str(tree.folder.parent / "the history.db")]  # wherever it is resumed
    assert tree.calls["history.py"][:2] == ["add", f"{tree.out}/results.jsonl"]


def test_memory_alone_is_not_profiled_nor_anything_with_never(tree: Tree) -> None:
    tree.found(SLOWER[:1], status=1)
    assert tree.run("v1", "v2").returncode == 1
    shutil.rmtree(tree.out)
    tree.found(SLOWER, status=1)
    assert tree.run("v1", "v2", "--profile", "never").returncode == 1
    assert "hotspots.py" not in tree.calls


def test_undecided_counts_only_with_strict(tree: Tree) -> None:
    tree.found(UNDECIDED, status=3)
    done = tree.run("v1", "v2", "--strict", "--profile", "always")
    assert done.returncode == 3 and "--strict" in tree.calls["compare.py"]
    assert "hotspots.py" in tree.calls


def test_failed_samples_are_named_and_what_they_mean_is_for_the_comparison(tree: Tree) -> None:
    for allocator, status, role in (("new", 0, "HEAD"), ("base", 0, "BASE")):
        tree.made.unlink()
        make_run(tree.made, rounds=3, fail=[(1, allocator)])
        done = tree.run("v1", "v2")
        assert done.returncode == status and f"Failed samples of {role}:" in done.stderr
        shutil.rmtree(tree.out)


@pytest.mark.parametrize("script", ["compare.py", "report.py", "hotspots.py", "history.py"])
def test_a_step_that_fails_loses_nothing(tree: Tree, script: str) -> None:
    tree.found(SLOWER, status=1)
    tree.put(script, status=70, says=f"{script}: no luck ```today```")
    done = tree.run("v1", "v2", "--history", "h.db")
    assert done.returncode == (2 if script == "compare.py" else 1)
    assert "no luck" in done.stderr and "What came before is kept." in done.stderr
    assert (tree.out / "results.jsonl").is_file() and (tree.out / "report.md").is_file()
    told = tree.calls["report.py"]
    assert ("--profiles" in told) == (script == "history.py")
    assert ("--history" in told) == (script in ("compare.py", "hotspots.py"))
    if script == "report.py":
        report = (tree.out / "report.md").read_text("utf-8")
        assert report.startswith(MARKER + "\n**HEAD is slower than BASE: throughput of larson threads=1 is 5")
        assert "````text\n" in report and "no luck ```today```" in report


def test_a_page_that_fails_costs_only_the_page(tree: Tree) -> None:
    tree.put("report.py", fails_with="--html")
    done = tree.run("v1", "v2")
    assert done.returncode == 0 and not (tree.out / "report.html").exists()
    assert "new is slower" in (tree.out / "report.md").read_text("utf-8")


def test_a_revision_that_does_not_build_ends_with_its_compilers_words(tree: Tree) -> None:
    tree.fakes["run.py"] = {"status": 2, "says": "a.c:1: error: expected ';'\nrun.py: v2 could not be built."}
    tree.found(SAME)
    done = tree.run("v1", "v2")
    assert done.returncode == 2 and set(tree.calls) == {"run.py"}
    report = (tree.out / "report.md").read_text("utf-8")
    assert "**Nothing could be measured: v2 could not be built." in report
    assert "error: expected ';'" in report and "error: expected ';'" in done.stderr


def test_ctrl_c_keeps_what_was_measured_and_resume_goes_on(tree: Tree) -> None:
    tree.put("run.py", waits="yes")
    process = tree.start("v1", "v2", "--strict")
    tree.wait_for("waiting")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "stopped in good order" in output and "Traceback" not in errors
    assert f"--resume '{tree.out}'" in errors and (tree.out / "results.jsonl").is_file()
    del tree.fakes["run.py"]["waits"]
    tree.found(UNDECIDED, status=3)
    done = tree.run("--resume", str(tree.out))
    assert done.returncode == 3, done.stderr
    assert after(tree.calls["run.py"], "--resume") == [f"{tree.out}/results.jsonl"]
    assert (tree.out / "report.md").is_file()


def test_a_later_step_that_is_interrupted_can_be_done_again(tree: Tree) -> None:
    tree.put("report.py", waits="yes")
    process = tree.start("v1", "v2")
    tree.wait_for("waiting")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    process.communicate()
    del tree.fakes["report.py"]["waits"]
    tree.found(SAME)
    assert tree.run("--resume", str(tree.out)).returncode == 0


def test_a_step_that_does_not_stop_is_killed_with_all_it_started(tree: Tree) -> None:
    tree.put("run.py", waits="stubborn")
    process = tree.start("v1", "v2")
    tree.wait_for("waiting")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(20) == 130
    process.communicate()
    child = int((tree.folder / "runner" / "child").read_text())
    end = time.monotonic() + 5
    while (state := state_of(child)) not in ("gone", "Z") and time.monotonic() < end:
        time.sleep(0.02)
    assert state in ("gone", "Z")  # a zombie waits for the system's first process alone


def state_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def test_an_earlier_comparison_is_not_written_over(tree: Tree) -> None:
    assert tree.run("v1", "v2").returncode == 0
    done = tree.run("v1", "v2")
    assert done.returncode == 2 and "--resume" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words, said", [
    (("a", "b", "c"), "one word too many"),
    (("a", ""), "is empty"),
    (("a", "b", "--time-budget", "soon"), "--time-budget: 'soon' is no time"),
    (("a", "b", "--profile", "maybe"), "invalid choice: 'maybe'"),
    (("a", "b", "--time-budgets", "3m"), "did you mean '--time-budget'"),
    (("--resume", "nowhere", "--strict"), "leave all else away"),
])
def test_wrong_options_are_named(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_options(words)


@pytest.mark.parametrize("words, said", [
    ((), "no git checkout"), (("--resume", "nowhere"), "no folder of an earlier run")])
def test_wrong_usage_is_a_sentence(tree: Tree, words: tuple[str, ...], said: str) -> None:
    done = tree.run(*words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tree.folder / "runner" / "calls.jsonl").exists() and not tree.out.exists()


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "pull-request.json").write_text('{"ends": 3}', "utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        read_settings(tmp_path)


def test_quick_asks_for_less_and_leaves_the_rest_as_it_is_given() -> None:
    quick = parse_options(["--quick", "--effect", "1%"]).settings
    assert quick is not None
    assert (quick.time_budget, quick.effect, quick.profile) == ("2m", "1%", "never")
