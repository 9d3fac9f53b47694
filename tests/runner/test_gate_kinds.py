"""Tests of the kinds of criteria, each both ways: run, scaling, command."""
from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.gates.command import COMMAND
from runner.gates.kinds import Finding, Kind, NotJudged, Workshop
from runner.gates.limit import Limit, judge_ratio
from runner.gates.load import LoadWatch
from runner.gates.measure import Measured, failed_sample
from runner.gates.reference import Reference
from runner.gates.run import RUN
from runner.gates.scaling import SCALING, cores_of, judge_points, points_of
from runner.gates.values import REQUIRED
from runner.interrupts import Interrupted, Interrupts
from runner.results_file import read_run

from made_results import make_run

LARSON = {"workloads": ["larson"], "matrix": ["threads=1,2", "operations=1000"]}


@pytest.fixture
def workshop(bench, tmp_path: Path) -> Workshop:
    """The bench's fake drivers as those of a release."""
    out, scratch = tmp_path / "o u t", tmp_path / "scratch folder"
    out.mkdir()
    scratch.mkdir()
    (out / "release").symlink_to(bench.folder)
    return Workshop(bench.root, out, False, Reference("", "none", ""), scratch, dict(os.environ), Interrupts(),
                    lambda _now: None)


def judge(kind: Kind, workshop: Workshop, **given) -> Finding:
    values = {}
    for name, parameter in kind.parameters.items():
        values[name] = parameter.read(given.pop(name)) if name in given else parameter.default
    assert not given and REQUIRED not in values.values()
    kind.check(values)
    assert kind.asked(values)
    return kind.judge(values, workshop)


def test_a_run_that_ends_well_passes(workshop: Workshop) -> None:
    told: list[str] = []
    workshop.tell = told.append
    finding = judge(RUN, workshop, repeat=2, **LARSON)
    assert finding.passed and finding.measured.startswith("4 of 4 runs passed in ")
    assert told[0].startswith("0 of 4 runs, at larson threads=1") and " left, at " in told[3]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crash", "ended by SIGSEGV"), ("exit=3", "exit status 3: the last words"),
        ("damage", "--check found 3 damaged of 1000 blocks"), ("provider=system", "served by system"),
        ("garbage", "the driver's output is no JSON"),
    ],
)
def test_a_run_that_ends_badly_fails(workshop: Workshop, bench, behaviour: str, reason: str) -> None:
    bench.behave(larson_hakmem=[f"@2 {behaviour}"])
    finding = judge(RUN, workshop, **LARSON)
    assert not finding.passed
    assert "1 of 2 runs passed" in finding.measured and "larson threads=2" in finding.measured
    assert reason in finding.measured and finding.lines[0].startswith("larson threads=2 operations=1000: ")


def test_a_run_that_hangs_fails(workshop: Workshop, bench) -> None:
    bench.behave(larson_hakmem=["hang"])
    finding = judge(RUN, workshop, workloads="larson", matrix="operations=10", time_limit=0.3)
    assert not finding.passed and "killed after 0.3 s" in finding.measured


def test_a_driver_that_is_not_there_is_a_reason(workshop: Workshop) -> None:
    with pytest.raises(NotJudged, match=r"no program .*larson_hakmem; build it with ./build.sh tsan larson_hakmem"):
        judge(RUN, workshop, variant="tsan", **LARSON)


def test_a_driver_that_can_t_be_built_is_a_reason(workshop: Workshop, tmp_path: Path) -> None:
    tree = tmp_path / "a tree"
    tree.mkdir()
    (tree / "Makefile").write_text("larson_hakmem:\n\t@echo cc: no such sanitizer >&2; exit 1\n")
    broken = replace(workshop, root=tree, out=tree / "out", build=True)
    with pytest.raises(NotJudged, match="larson_hakmem could not be built for tsan: make: exit status 2") as caught:
        judge(RUN, broken, variant="tsan", **LARSON)
    assert "cc: no such sanitizer" in caught.value.lines


RACE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static int shared;
static void *add(void *n) { shared += (int)(long)n; return 0; }
int main(void) {
    pthread_t t;
#ifdef RACE
    pthread_create(&t, 0, add, (void *)1L); shared++; pthread_join(t, 0);
#else
    pthread_create(&t, 0, add, (void *)1L); pthread_join(t, 0); shared++;
#endif
#ifdef OVERRUN
    volatile char *p = malloc(8); p[8 + !shared] = 1;
#endif
    FILE *f = fopen(REPORT, "r"); int c;
    while ((c = getc(f)) != EOF) putchar(c);
    return 0;
}
"""


@pytest.mark.parametrize(
    ("variant", "define", "summary"),
    [("tsan", "RACE", "ThreadSanitizer: data race"), ("asan", "OVERRUN", "AddressSanitizer: heap-buffer-overflow"),
     ("tsan", "NOTHING", None)],
)
def test_what_a_sanitizer_says_fails(
    workshop: Workshop, bench, tmp_path: Path, variant: str, define: str, summary,
) -> None:
    report = tmp_path / "report.json"
    driver = bench.folder / "larson_hakmem"
    report.write_bytes(subprocess.check_output([str(driver), "--json", "--check", "--operations", "9"]))
    folder = workshop.out / variant
    folder.mkdir()
    (tmp_path / "race.c").write_text(RACE)
    name = {"tsan": "thread", "asan": "address"}[variant]
    built = subprocess.run(
        ["gcc", "-g", "-O0", f"-fsanitize={name}", f"-D{define}", f'-DREPORT="{report}"', str(tmp_path / "race.c"),
         "-o", str(folder / "larson_hakmem"), "-pthread"], capture_output=True,
    )
    if built.returncode != 0:
        pytest.skip(f"gcc has no {variant}")
    workshop.environment = {**os.environ, "TSAN_OPTIONS": "exitcode=0"}  # the user's own does not hide it
    finding = judge(RUN, workshop, workloads="larson", matrix=["operations=9"], variant=variant)
    assert finding.passed == (summary is None), finding
    if summary is not None:
        assert summary in finding.measured and "race.c" in finding.measured
        assert any("WARNING: ThreadSanitizer" in line or "ERROR: AddressSanitizer" in line for line in finding.lines)
    assert not list(workshop.scratch.iterdir())


def test_a_command_that_ends_with_0_passes(workshop: Workshop) -> None:
    finding = judge(COMMAND, workshop, command=["sh", "-c", "echo one; echo two; pwd >&2"])
    assert finding.passed and finding.measured.startswith("exit status 0 after")
    assert finding.measured.endswith(str(workshop.root))  # it is started in the tree


def test_a_command_that_fails_shows_its_last_lines(workshop: Workshop) -> None:
    finding = judge(COMMAND, workshop, command=["sh", "-c", "seq 1 1000; printf last; exit 7"])
    assert not finding.passed and finding.measured.startswith("exit status 7 after")
    assert finding.lines[-2:] == ["1000", "last"] and len(finding.lines) == 12
    killed = judge(COMMAND, workshop, command=["sh", "-c", "kill -SEGV $$"])
    assert not killed.passed and "SIGSEGV" in killed.measured
    missing = judge(COMMAND, workshop, command=["./no such program"])
    assert not missing.passed and "could not be started: no such file" in missing.measured


def test_a_command_ends_at_its_time_limit_with_all_it_started(workshop: Workshop, tmp_path: Path) -> None:
    told: list[str] = []
    workshop.tell = told.append
    begin = time.monotonic()
    finding = judge(COMMAND, workshop, time_limit=0.3,
                    command=["sh", "-c", f"sleep 600 & echo $! > '{tmp_path}/pid'; echo begun; sleep 600"])
    assert not finding.passed and "time limit of 0.3 s" in finding.measured and time.monotonic() - begin < 10
    assert any(text.endswith("; begun") for text in told)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5  # it was killed, but to die may take a moment
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_interrupt_lets_a_command_end_in_good_order(workshop: Workshop, tmp_path: Path) -> None:
    done = tmp_path / "done"

    def interrupt() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        workshop.interrupts.requested = signal.SIGINT

    threading.Thread(target=interrupt, daemon=True).start()
    script = f"trap 'echo x > \"{done}\"; exit 1' INT; touch '{tmp_path}/begun'; while :; do sleep 0.05; done"
    with pytest.raises(Interrupted):
        judge(COMMAND, workshop, command=["bash", "-c", script])
    assert done.exists()


def test_scaling_is_measured_by_the_runner(workshop: Workshop) -> None:
    """The fake drivers are as fast with two threads as with one: half of linear on two cores."""
    finding = judge(SCALING, workshop, workloads="larson", threads="1,2", seconds=0.01, time_budget=60,
                    rounds=7, at_least="30%")
    assert finding.passed and "of linear with 2 threads of larson (95% interval" in finding.measured
    assert "7 rounds; " in finding.measured


def test_a_machine_that_others_use_can_t_be_judged(workshop: Workshop, tmp_path: Path, monkeypatch) -> None:
    run = read_run(make_run(tmp_path / "x.jsonl", builds=False, threads=(1, 2), rounds=10))
    wanted = {"workloads": "larson", "threads": "1,2"}
    reasons: dict[float, str] = {}
    for others in (0.0, 0.4):
        monkeypatch.setattr("runner.gates.scaling.measure", lambda *_given, share=others: Measured(run, share))
        assert judge(SCALING, workshop, at_least="1%", **wanted).passed
        finding = judge(SCALING, workshop, at_least="100%", **wanted)
        assert not finding.passed
        reasons[others] = finding.measured
    assert reasons[0.0].startswith("at worst ")
    assert reasons[0.4].startswith("can't be judged: others took 40% of the processors' time")


def test_a_crash_while_it_is_measured_can_t_be_judged(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "x.jsonl", builds=False, threads=(1, 2), fail=[(3, "hakmem")]))
    failed_sample(run, ["mimalloc"])
    with pytest.raises(NotJudged, match="2 samples of hakmem failed, first in round 3 of larson threads="):
        failed_sample(run, ["hakmem"])


def test_too_few_rounds_can_t_be_judged(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "x.jsonl", builds=False, threads=(1, 2), rounds=3))
    with pytest.raises(NotJudged, match="only 3 rounds fitted into the time, too few"):
        points_of(run, Limit(0.7, 0.1))


def scaling_of(path: Path, cores: int, least: float) -> Finding:
    run = read_run(make_run(path, builds=False, threads=(1, 2, 16), machine={"cores_available": cores}, rounds=30))
    limit = Limit(least, 0.1)
    return judge_points(points_of(run, limit), run)


def test_scaling_is_against_the_cores_that_there_are(tmp_path: Path) -> None:
    few = scaling_of(tmp_path / "few.jsonl", 2, 0.7)
    assert any(r.startswith("This machine has 2 cores: with more threads linear is 2 times") for r in few.remarks)
    assert "2 is linear" in few.lines[0] and "2 is linear" in few.lines[1]
    many = scaling_of(tmp_path / "many.jsonl", 64, 0.7)
    assert "16 is linear" in many.lines[1] and not any("This machine has" in r for r in many.remarks)


def test_cores_may_be_a_share_of_one(tmp_path: Path) -> None:
    machine = read_run(make_run(tmp_path / "x.jsonl")).header.machine
    assert cores_of(replace(machine, cores_available=8, cpu_quota_cores=1.5)) == 1.5
    assert cores_of(replace(machine, cores_available=2, cpu_quota_cores=16.0)) == 2
    assert cores_of(replace(machine, cores_available=2, cpu_quota_cores=0.5)) == 1


@pytest.mark.parametrize(
    ("ratio", "low", "high", "passed", "sure"),
    [
        (0.90, 0.88, 0.94, False, True), (0.94, 0.92, 0.96, False, False), (0.94, 0.85, 1.02, False, False),
        (0.97, 0.90, 1.04, True, False), (1.00, 0.96, 1.04, True, True), (0.95, 0.95, 0.95, True, True),
    ],
)
def test_the_estimate_decides_and_the_interval_says_how_surely(ratio, low, high, passed, sure) -> None:
    judged = judge_ratio(ratio, low, high, Limit(0.95, 0.05))
    assert (judged.passed, judged.sure) == (passed, sure) and bool(judged.reason) == (not (passed and sure))
    noisy = ratio < 0.95 <= high and high - low >= 0.05
    assert ("too noisy" in judged.reason) == noisy
    assert judge_ratio(ratio, low, high, Limit(0.95, 0.05, "pass")).passed == (passed or noisy)


def test_the_load_of_others_is_told() -> None:
    number = next(iter(os.sched_getaffinity(0)))
    stats = [f"cpu{number} 100 0 100 800 0 0 0 0 0 0\ncpu99999 9 9 9 9\n",
             f"cpu{number} 150 0 120 850 0 0 0 80 99 0\n"]
    watch = LoadWatch(lambda: stats.pop(0))
    assert watch.others() == pytest.approx(150 / 200, abs=0.02)
    assert LoadWatch(lambda: "").others() is None
    real = LoadWatch()
    subprocess.run(["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"], check=True)
    assert real.others() is None or 0 <= real.others() <= 1


def test_bad_values_of_workloads_are_refused() -> None:
    for kind, values in ((RUN, {"workloads": ("gcc",), "matrix": ()}),):
        with pytest.raises(UsageError, match="real program"):
            kind.check(values)
