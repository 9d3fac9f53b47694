"""A whole calibration with drivers that know how slow each library is: finds it, goes on after a kill,
loses nothing."""
from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

pytest.importorskip("numpy")

from runner import measure
from runner.calibrating import calibration
from runner.calibrating import resampling as calibration_resampling
from runner.calibrating import work as calibration_work
from runner.calibrating.commands import Asked, cell_options
from runner.calibrating.records import Check, Resampled, RoundMeasured, SlopeFound, read_records
from runner.calibrating.records import Outcome as Compared
from runner.execute import Outcome
from runner.interrupts import Interrupts
from tests.runner.conftest import Bench

PER_ROUND = 1.2e-4  # share of an operation's time that a round costs
SAMPLE_SECONDS = 0.11
OPTIONS = ["--workloads", "larson", "--time-budget", "60", "--budget-each", "4", "--budgets", "4,15",
           "--resamples", "4", "--slow-downs", "5%,20%", "--no-plots", "--order-seed", "7"]


class FakeMachine:
    """Runs drivers without running them: each takes the same time on a clock of our own, and the library's
    last line says how many rounds it burns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs = 0
        self.crashes: set[int] = set()
        self.generator = random.Random(3)

    def monotonic(self) -> float:
        return self.now

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], *_more: Any, **_named: Any
    ) -> Outcome:
        self.runs += 1
        self.now += SAMPLE_SECONDS
        if self.runs in self.crashes:
            return Outcome(None, signal.SIGSEGV, None, False, b"", False, [], SAMPLE_SECONDS)
        library = environment.get("LD_PRELOAD")
        rounds = int(Path(library).read_bytes().rsplit(b"ROUNDS=", 1)[1]) if library else 0
        speed = 6e7 * self.generator.lognormvariate(0, 0.01) / (1 + PER_ROUND * rounds)
        report = _report(command[1:], speed, library)
        return Outcome(0, None, None, False, json.dumps(report).encode(), False, [], SAMPLE_SECONDS)


def _report(options: Sequence[str], speed: float, library: Optional[str]) -> dict[str, Any]:
    """What a driver prints."""
    pairs = zip(options, options[1:])
    given = {name[2:]: float(value) for name, value in pairs if name[:2] == "--" != value[:2]}
    work = {"operations": round(0.1 * speed), "wall_seconds": 0.1, "ops_per_second": speed, "minor_faults": 10}
    return {
        "schema": "hakmem-driver", "schema_version": 1, "workload": "larson", "variant": "release",
        "compiler": "gcc", "flags": "-O2", "arguments": given, "mode": "allocator", **work,
        "provider": {
            "name": "unknown" if library else "system", "version": None, "build_id": None, "complete": True,
            "path": os.path.realpath(library) if library else "/lib/libc.so.6",
        },
        "checksum": None, "cpu_user_seconds": 0.09, "cpu_system_seconds": 0.01, "peak_rss_bytes": 5_000_000,
        "end_rss_bytes": 4_000_000, "rss_halves_bytes": [4_500_000, 4_600_000], "major_faults": 0,
        "phases": [{"name": "churn", "cpu_seconds": 0.1, "rss_bytes": 5_000_000, **work}],
    }


class FakeWorkshop:
    """Lays down a library that serves malloc and says how much it burns."""

    library = Path()
    built: list[int] = []

    def __init__(self, root: Path, interrupts: Interrupts) -> None:
        pass

    def build(self, rounds: int, library: Path) -> None:
        self.built.append(rounds)
        library.parent.mkdir(parents=True, exist_ok=True)
        library.write_bytes(self.library.read_bytes() + f"\nROUNDS={rounds}".encode())

    def close(self) -> None:
        pass


@dataclasses.dataclass
class Faked:
    """A machine that runs nothing, and the options of a calibration on it."""

    machine: FakeMachine
    options: list[str]


@pytest.fixture
def faked(
    bench: Bench, whole_allocator: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Faked:
    """Put the fakes in place, and return the machine and the options of a calibration with them."""
    fake = FakeMachine()
    monkeypatch.setattr(measure, "run_program", fake.run)
    monkeypatch.setattr(calibration_work, "time", fake)
    monkeypatch.setattr(calibration_resampling, "BATCH", 4)
    monkeypatch.setattr(FakeWorkshop, "library", whole_allocator)
    monkeypatch.setattr(FakeWorkshop, "built", [])
    monkeypatch.setattr(calibration_work, "BurnWorkshop", FakeWorkshop)
    monkeypatch.setattr(calibration_work, "compare_by_commands", _compared)
    monkeypatch.setattr(calibration, "count_exactly", lambda work: None)
    monkeypatch.setattr(Interrupts, "install", lambda self: None)
    files = ["--drivers", str(bench.folder), "--output", str(tmp_path / "the out" / "calibration")]
    return Faked(fake, [*OPTIONS, *files])


def _compared(asked: Asked, _bench: Any, results: Path, clock: Any) -> Compared:
    results.write_text("", "ascii")
    return Compared("command", asked.number, asked.cell.id, asked.slow_down, asked.budget, asked.budget, 10,
                   "slower" if asked.slow_down else "same", asked.slow_down, 0.0, 0.5, 9, [], [], 0, clock())


def test_a_calibration_finds_the_slow_downs_and_can_be_judged_again(
    faked: Faked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibration.main(faked.options) in (0, 1)
    shown = capsys.readouterr().out
    assert "Real comparisons of 4.0 s each" in shown and "Page:" in shown
    path = tmp_path / "the out" / "calibration.jsonl"
    records = read_records(path)
    assert records.complete
    slope: SlopeFound = records.of(SlopeFound)[0]
    assert slope.per_round == pytest.approx(PER_ROUND, rel=0.08)
    assert slope.rounds == pytest.approx([(1 / 0.95 - 1) / PER_ROUND, 0.25 / PER_ROUND], rel=0.08)
    assert set(FakeWorkshop.built) == {0, 6000, *slope.rounds}
    blocks = [o for o in records.of(Compared) if o.kind == "block"]
    assert {o.slow_down for o in blocks} == {0.0, 0.05, 0.2}
    assert all(o.change_to_worse == pytest.approx(o.slow_down, abs=0.02) for o in blocks)
    assert all(len(r.ops_per_second) == 4 and r.cell == "larson threads=1" for r in records.of(RoundMeasured))
    points = {(r.slow_down, r.budget): r for r in records.of(Resampled)}
    assert set(points) == {(s, b) for s in (0.0, 0.005, 0.05, 0.2) for b in (4.0, 15.0)}
    assert points[0.2, 15.0].detected == points[0.2, 15.0].comparisons
    assert records.of(Check)
    assert (tmp_path / "the out" / "calibration.md").read_text("utf-8").startswith("# How far")
    assert (tmp_path / "the out" / "calibration-parts" / ".gitignore").read_text() == "*\n"
    _judge_again(path, tmp_path / "again")


def _judge_again(path: Path, name: Path) -> None:
    before = path.read_bytes()
    for other in (path.parent / "calibration-parts").glob("command-*.jsonl"):
        other.unlink()
    assert calibration.main(["--judge-again", str(path), "--output", str(name), "--no-plots"]) in (0, 1)
    first, second = read_records(path), read_records(name.with_suffix(".jsonl"))
    assert [o for o in second.of(Compared)] == [o for o in first.of(Compared) if o.kind == "block"]
    assert len(second.of(RoundMeasured)) == len(first.of(RoundMeasured))
    assert path.read_bytes() == before
    unfinished = [line for line in name.with_suffix(".jsonl").read_text().splitlines() if '"end"' not in line]
    name.with_suffix(".jsonl").write_text("\n".join(unfinished) + "\n")
    assert calibration.main(["--resume", f"{name}.jsonl", "--no-plots"]) == 2  # has no samples of its own


def test_an_interrupted_calibration_goes_on_where_it_was(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupts: list[Interrupts] = []
    original = calibration_work.Work._block

    def stopping(self: calibration_work.Work, item: Any) -> None:
        original(self, item)
        interrupts.append(self.bench.interrupts)
        self.bench.interrupts.requested = signal.SIGINT

    monkeypatch.setattr(calibration_work.Work, "_block", stopping)
    assert calibration.main(faked.options) == 130
    assert "go on with: runner/calibrate.py --resume" in capsys.readouterr().out
    path = tmp_path / "the out" / "calibration.jsonl"
    kept = read_records(path)
    assert not kept.complete and len(kept.of(Compared)) >= 3
    with path.open("ab") as stream:
        stream.write(b'{"record":"comparison","kind":"blo')  # as a power failure leaves it
    monkeypatch.setattr(calibration_work.Work, "_block", original)
    resume = ["--resume", str(path), "--no-plots", "--drivers", faked.options[-3]]
    assert calibration.main(resume) in (0, 1)
    records = read_records(path)
    assert records.complete
    assert records.entries[:len(kept.entries)] == kept.entries
    keys = [(o.kind, o.number, o.cell, o.slow_down) for o in records.of(Compared)]
    assert len(keys) == len(set(keys)) > len(kept.of(Compared))
    assert calibration.main(resume) in (0, 1)
    assert "nothing to go on with" in capsys.readouterr().err


def test_what_can_not_be_measured_is_said_and_what_was_is_kept(
    faked: Faked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faked.machine.crashes = {20, *range(100, 105)}  # one is no reason to stop, five in a row are
    assert calibration.main(faked.options) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "can't be measured" in said and "SIGSEGV" in said and "--resume" in said
    assert read_records(tmp_path / "the out" / "calibration.jsonl").of(SlopeFound)
    assert calibration.main(faked.options) == 2
    assert "exists; choose another --output" in capsys.readouterr().err


def test_cells_become_options_of_the_runner(bench: Bench) -> None:
    from runner.matrix import make_cells

    cell = make_cells(["larson"], {"threads": [2], "max": [64]}, [1])[0]
    assert cell_options(cell) == ["--workloads", "larson", "--matrix", "threads=2", "--matrix", "max=64"]
    assert dataclasses.asdict(cell)["concurrency"] == 2


@pytest.mark.parametrize(("arguments", "said"), [
    (["--resume", "{folder}/no.jsonl"], "there is no such file"),
    (["--resume", "{folder}/text.jsonl"], "text.jsonl:1: this is no line of a calibration"),
    (["--judge-again", "{folder}/plan.jsonl", "--output", "{folder}/x"], "does not begin with the plan"),
    (["--output", "/proc/nowhere/x"], "/proc/nowhere"),
    (["--drivers", "{folder}", "--output", "{folder}/y"], "there is no program larson_system"),
])
def test_bad_input_gets_a_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Interrupts, "install", lambda self: None)
    (tmp_path / "text.jsonl").write_text("hello\n", "ascii")
    (tmp_path / "plan.jsonl").write_text("", "ascii")
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert calibration.main(["--workloads", "larson", "--time-budget", "60", "--no-build", *given]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.startswith("calibrate.py: ") and shown.count("\n") == 1
    assert not list(tmp_path.glob("[xy].jsonl"))


def test_it_starts_from_anywhere(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "runner" / "calibrate.py"), "--time-budget", "never"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("calibrate.py: --time-budget: 'never' is no time")
