"""Tests of gate.py from outside: what it prints, its exit status, wrong usage, Ctrl-C; and of the speed
against a reference."""
from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runner.verdict.comparison import WHOLE_RUN, Answer, Comparison, Question, Side
from runner.gates.kinds import NotJudged, Workshop
from runner.gates.limit import Limit
from runner.gates.main import main
from runner.gates.measure import Measured
from runner.gates.reference import Reference, find_reference
from runner.gates.speed import SPEED, compare, judge_comparison
from runner.interrupts import Interrupts
from runner.records import ProgramFile
from runner.results_file import Run, read_run

from made_results import make_run

LIMIT = Limit(0.95, 0.05)


def criterion(phase: int, name: str, kind: str, **values: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["[[criterion]]", f"phase = {phase}", f'name = "{name}"', f'kind = "{kind}"', *lines, "", ""])


def gate(root: Path, *arguments: str, cwd: Path = Path("/"), **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(root / "runner/gate.py"), *arguments], capture_output=True, text=True,
                          cwd=cwd, timeout=60, stdin=subprocess.DEVNULL, **options)


@pytest.fixture
def criteria(bench, tmp_path: Path) -> Path:
    """One phase that passes, and one of which two criteria fail; larson_hakmem crashes in its 3rd run."""
    (tmp_path / "release").symlink_to(bench.folder)
    path = tmp_path / "my gates.toml"
    path.write_text(
        '[phases]\n1 = "it runs"\n'
        + criterion(1, "larson runs", "run", workloads="larson", matrix=["threads=1", "operations=100"])
        + criterion(2, "it is true", "command", command=["true"])
        + criterion(2, "it is false", "command", command=["sh", "-c", "echo alas; exit 3"])
        + criterion(2, "no driver", "run", workloads="larson", variant="guard")
    )
    return path


def test_a_phase_that_passes(root: Path, criteria: Path) -> None:
    done = gate(root, "--phase", "1", "--criteria", str(criteria), "--drivers", str(criteria.parent))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Phase 1 (it runs): 1 criterion"
    assert lines[1].startswith(
        "passed  larson runs: asked: larson threads=1 operations=100 in variant release: no crash, exit status 0, "
        "no damaged block; measured: 1 of 1 run passed in "
    )
    assert lines[-1] == "Phase 1 passed." and lines[-2].startswith("1 passed, 0 failed in ")


def test_a_phase_that_fails_names_what_does(root: Path, criteria: Path) -> None:
    done = gate(root, "--phase", "2", "--criteria", criteria.name, "--drivers", ".", "--json", cwd=criteria.parent)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert not found["passed"] and [c["passed"] for c in found["criteria"]] == [True, False, False]
    assert found["criteria"][1]["lines"] == ["alas"] and found["criteria"][1]["asked"].startswith("'sh -c ")
    lines = done.stderr.splitlines()
    assert "      | alas" in lines and lines[-1] == "Phase 2 FAILED."
    assert lines[-4].startswith("1 passed, 2 failed in ")
    assert lines[-3].startswith("FAILED  it is false: exit status 3 after ")
    assert lines[-2].startswith("FAILED  no driver: can't be judged: there is no program ")


def test_the_list_says_what_is_asked(root: Path, criteria: Path) -> None:
    done = gate(root, "--list")
    assert done.returncode == 0 and "Phase 1 (" in done.stdout and "Phase 3 (" in done.stdout
    assert "at least 70% of linear, up to this machine's " in done.stdout
    mine = gate(root, "--list", "--phase", "2", "--criteria", str(criteria), "--json")
    assert [c["name"] for c in json.loads(mine.stdout)["criteria"]] == ["it is true", "it is false", "no driver"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--phase N says which"), (["--phase", "one"], "'one' is no phase"),
        (["--phase", "9"], "has no criterion of that"),
        (["--phase", "1", "--criteria", "/no/such"], "cannot use '/no/such': it does not exist"),
        (["--phase", "1", "--criteria", ""], "--criteria: the name is empty"), (["--phase"], "expected one argument"),
        (["--phase", "1", "--drivers", "/no/such"], "that is no directory"),
        (["--phaze", "1"], "did you mean '--phase'?"),
        (["--phase", "1", "--reference", " "], "--reference: the name is empty"),
        (["--phase", "1", "--reference", "no-such-revision"], "--reference no-such-revision: "),
    ],
)
def test_wrong_usage_is_a_sentence(root: Path, arguments: list[str], sentence: str) -> None:
    said = io.StringIO()  # in this process, which is faster; others here start the script
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert status == 2 and said.getvalue().startswith("gate.py: ") and said.getvalue().count("\n") == 1
    assert sentence in said.getvalue()


def test_a_mistake_in_the_file_ends_with_2(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(criterion(1, "n", "comand"))
    done = gate(root, "--phase", "1", "--criteria", str(path))
    assert done.returncode == 2 and "x.toml:4: kind: 'comand' is no kind" in done.stderr and done.stdout == ""


def test_ctrl_c_shows_what_was_found(root: Path, tmp_path: Path) -> None:
    path, begun = tmp_path / "x.toml", tmp_path / "begun"
    path.write_text(
        criterion(1, "fails", "command", command=["false"])
        + criterion(1, "takes long", "command", command=["sh", "-c", f"touch '{begun}'; sleep 60"])
        + criterion(1, "never begins", "command", command=["true"])
    )
    gate_process = subprocess.Popen(
        [sys.executable, str(root / "runner/gate.py"), "--phase", "1", "--criteria", str(path)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    for _ in range(400):
        if begun.exists():
            break
        time.sleep(0.05)
    gate_process.send_signal(signal.SIGINT)
    out, err = gate_process.communicate(timeout=30)
    assert gate_process.returncode == 130 and "Traceback" not in err
    assert "Interrupted: phase 1 is not decided; not judged: takes long, never begins." in out
    assert "0 passed, 1 failed in " in out and "FAILED  fails: exit status 1" in out
    assert not list(tmp_path.glob("hakmem-gate-*"))


# ---- speed -------------------------------------------------------------------------------------------------


def comparison(path: Path, **answers: tuple[float, float, float]) -> Comparison:
    run = read_run(make_run(path))
    side = Side("base", "base", [], None, None, False, None)
    found = [
        Answer(Question(cell, "larson", {}, 1, WHOLE_RUN, "ops_per_second"), "same", ratio, low, high, 1e6, 1e6, 20,
               0.02, 0.5)
        for cell, (ratio, low, high) in answers.items()
    ]
    return Comparison(side, replace(side, role="new", allocator="new"), run.header.machine, True, 0.02, 0.01, 0.95,
                      found, ["A remark."])


def test_every_cell_must_be_fast_enough(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = judge_comparison(comparison(path, a=(1.0, 0.99, 1.01), b=(0.97, 0.96, 0.98)), ["a", "b"], LIMIT)
    assert good.passed and good.remarks == ["A remark."]
    assert good.measured == "at worst b 3% slower (95% interval -4% to -2%, 20 pairs)"
    bad = judge_comparison(comparison(path, a=(1.1, 1.09, 1.2), b=(0.9, 0.88, 0.92)), ["a", "b"], LIMIT)
    assert not bad.passed and bad.measured.startswith("at worst b 10% slower") and len(bad.lines) == 2
    doubt = judge_comparison(comparison(path, a=(0.96, 0.90, 1.01)), ["a"], LIMIT)
    assert doubt.passed and "not sure" in doubt.remarks[0]
    with pytest.raises(NotJudged, match="b: nothing to compare"):
        judge_comparison(comparison(path, a=(1.0, 1.0, 1.0)), ["a", "b"], LIMIT)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of three commits in a folder with a space in its name."""
    tree = tmp_path / "a checkout"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    for n in range(3):
        (tree / "Makefile").write_text(f"# {n}\n")
        git(tree, "add", "Makefile")
        git(tree, "commit", "-q", "-m", f"commit {n}")
    return tree


def git(tree: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tree), *identity, *arguments], check=True, capture_output=True)


def test_the_reference_is_the_newest_tag_or_the_commit_before(checkout: Path) -> None:
    before = find_reference("", checkout)
    assert before.rev == "HEAD~1" and "commit 1" in before.title and "no tag" in before.why and before.problem is None
    git(checkout, "tag", "v1", "HEAD~2")
    tagged = find_reference("", checkout)
    assert tagged.rev == "refs/tags/v1" and "commit 0" in tagged.title and tagged.why == "the newest tag"
    git(checkout, "tag", "v2")
    assert find_reference("", checkout).rev == "refs/tags/v1"  # the build itself is nothing to compare with
    (checkout / "Makefile").write_text("# changed\n")
    assert find_reference("", checkout).rev == "refs/tags/v2"
    named = find_reference("v1", checkout)
    assert named.rev == "v1" and named.problem is None
    folder = find_reference(str(checkout), checkout)
    assert folder.rev == str(checkout) and folder.problem is None


def test_no_reference_is_a_reason(checkout: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{checkout}", str(shallow)], check=True)
    assert "shallow clone has no such revision" in (find_reference("", shallow).problem or "")
    assert "shallow" in (find_reference("v1", shallow).problem or "")
    assert "the reference nonsense: it is no file" in (find_reference("nonsense", checkout).problem or "")
    bare = tmp_path / "no checkout"
    bare.mkdir()
    assert "is no git checkout" in (find_reference("", bare).problem or "")


def test_without_a_reference_speed_can_t_be_judged(root: Path, tmp_path: Path) -> None:
    workshop = Workshop(root, root / "out", False, Reference("x", "x", "", "it is not there"), tmp_path, {},
                        Interrupts(), print)
    with pytest.raises(NotJudged, match="it is not there"):
        SPEED.judge({}, workshop)


def test_too_few_pairs_can_t_be_judged(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "x.jsonl", rounds=1))
    with pytest.raises(NotJudged, match="larson threads=1: only 1 pairs of samples were measured, 6 are needed"):
        judge_comparison(compare(run, 0.02), ["larson threads=1"], LIMIT)


def with_libraries(run: Run, *digits: str) -> Run:
    """Return the run of builds whose libraries have these sums."""
    entries = [
        replace(entry, library=ProgramFile(f"{entry.name}.so", digit * 64))
        for digit, entry in zip(digits, run.header.allocators)
    ]
    return replace(run, header=replace(run.header, allocators=entries))


def test_a_build_is_as_fast_as_itself(root: Path, tmp_path: Path, monkeypatch) -> None:
    """Whatever noise says: here 50% slower."""
    run = with_libraries(read_run(make_run(tmp_path / "x.jsonl", effect=0.5)), "a", "a")
    monkeypatch.setattr("runner.gates.speed.measure", lambda *_given: Measured(run, None))
    workshop = Workshop(root, root / "out", True, Reference("v1", "v1", ""), tmp_path, {}, Interrupts(), print)
    values = {"workloads": ("larson",), "matrix": (), "at_most_below": 0.05, "time_budget": 60.0, "undecided": "fail"}
    finding = SPEED.judge(values, workshop)
    assert finding.passed and "the same library to the byte" in finding.measured


@pytest.mark.parametrize(
    ("effect", "noise", "passes", "said"),
    [(0.0, 0.01, True, "larson threads=1 0."), (0.10, 0.01, False, "10"), (0.03, 0.005, True, "2.96% slower"),
     (0.065, 0.005, False, "6."), (0.15, 0.4, False, "too noisy to judge: at worst larson")],
)
def test_samples_are_judged_by_the_comparison(
    root: Path, tmp_path: Path, monkeypatch, effect: float, noise: float, passes: bool, said: str,
) -> None:
    made = make_run(tmp_path / "x.jsonl", effect=effect, noise=noise, rounds=30)
    run = with_libraries(read_run(made), "a", "b")
    asked: list[list[str]] = []

    def measured(_workshop: Workshop, _name: str, options: list[str], _budget: float) -> Measured:
        asked.append(options)
        return Measured(run, 0.3)

    monkeypatch.setattr("runner.gates.speed.measure", measured)
    workshop = Workshop(root, root / "out", True, Reference("v1", "v1 (abc)", "the newest tag"), tmp_path, {},
                        Interrupts(), print)
    values = {"workloads": ("larson",), "matrix": ("threads=1",), "at_most_below": 0.05, "time_budget": 60.0,
              "undecided": "fail"}
    finding = SPEED.judge(values, workshop)
    assert finding.passed is passes, finding
    assert said in finding.measured + " ".join(finding.remarks) and finding.measured.endswith("against v1 (abc)")
    assert finding.remarks[:2] == [
        "The reference is v1 (abc): the newest tag.",
        "The machine was busy: others took 30% of the processors' time while it was measured."]
    assert asked == [["--rev", "v1", "--rev", str(root), "--workloads", "larson", "--effect", "2.5%", "--matrix",
                      "threads=1"]]
    if said.startswith("too noisy"):
        assert SPEED.judge({**values, "undecided": "pass"}, workshop).passed


def test_without_numpy_speed_can_t_be_judged(tmp_path: Path, monkeypatch) -> None:
    run = read_run(make_run(tmp_path / "x.jsonl"))
    monkeypatch.setitem(sys.modules, "runner.verdict.runs", None)
    with pytest.raises(NotJudged, match="comparing needs"):
        compare(run, 0.02)
