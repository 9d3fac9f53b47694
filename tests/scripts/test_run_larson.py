"""scripts/run_larson.sh: the table, the verdict and the exit status, for good and for bad drivers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "run_larson.sh"
sys.path.insert(0, str(ROOT / "tests" / "drivers"))

import driver_run  # noqa: E402

Make = Callable[[str], Path]

COLUMNS = ["elapsed", "operations", "rate", "claims", "failed", "drains", "drained", "adopted"]
ROW = re.compile(r" +(\d+\.\d{3})((?: +(?:\d+|-)){7})")


@dataclass(frozen=True)
class Run:
    """What the script printed and how it ended."""

    status: int
    out: List[str]
    err: str

    @property
    def verdict(self) -> str:
        return self.out[-1]

    @property
    def rows(self) -> List[Dict[str, float]]:
        found = [ROW.fullmatch(line) for line in self.out]
        return [
            {name: float(word) for name, word in zip(COLUMNS, match.group(0).split()) if word != "-"}
            for match in found
            if match
        ]


def run(*arguments: str, script: Path = SCRIPT, cwd: Optional[Path] = None, **environment: str) -> Run:
    env = {**driver_run.clean_environment(), **environment}
    done = subprocess.run(
        [str(script), *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    return Run(done.returncode, done.stdout.splitlines(), done.stderr)


# ---- real runs ----------------------------------------------------------------------------------


def check_table(done: Run, adopt: int) -> None:
    assert done.out[1].split()[:3] == ["elapsed", "s", "operations"]
    rows = done.rows
    assert len(rows) >= 2 and rows[0]["elapsed"] < 1.5
    for before, after in zip(rows, rows[1:]):
        assert 0.2 < after["elapsed"] - before["elapsed"] < 1.8
        assert all(after[name] >= before[name] for name in COLUMNS if name != "rate")
        span = after["elapsed"] - before["elapsed"]
        assert after["rate"] == pytest.approx((after["operations"] - before["operations"]) / span, rel=0.01)
    last = rows[-1]
    assert last["operations"] > rows[0]["operations"] > 0
    assert last["claims"] > rows[0]["claims"] > 0
    assert last["drained"] >= last["drains"] > 0
    assert last["adopted"] <= last["claims"] and (last["adopted"] > 0) == bool(adopt)
    found = re.fullmatch(r"(\d+) hand-overs to new threads, contents of (\d+) blocks checked", done.out[-2])
    assert found is not None and int(found.group(1)) > 100
    assert 2 * int(found.group(2)) == last["operations"]


@pytest.mark.parametrize(
    "mode,adopt", [("repro", None), ("repro", "0"), ("guard", "1")], ids=["repro", "adoption-off", "guard"]
)
def test_passes(tmp_path: Path, mode: str, adopt: Optional[str]) -> None:
    done = run(mode, "2", "4", cwd=tmp_path, **({} if adopt is None else {"HAKMEM_TINY_SS_ADOPT": adopt}))
    assert (done.status, done.verdict) == (0, "PASS"), (done.out, done.err)
    variant = "release" if mode == "repro" else "guard"
    assert done.out[0].startswith(
        f"run_larson.sh {mode}: 2 s, 4 threads, HAKMEM_TINY_SS_ADOPT={adopt or 1}, {variant} build, hakmem "
    )
    assert done.out[0].endswith(f"/out/{variant}/libhakmem.so")
    check_table(done, int(adopt or 1))
    assert done.err == ""


def test_one_thread_and_a_space_in_the_path(tmp_path: Path) -> None:
    checkout = tmp_path / "a check out"
    checkout.symlink_to(ROOT)
    done = run("repro", "1", "1", script=checkout / "scripts" / "run_larson.sh", cwd=tmp_path)
    assert (done.status, done.verdict, done.err) == (0, "PASS", ""), (done.out, done.err)


# ---- the allocator's and the driver's failures -----------------------------------------------------

RESULT = """{ "schema": "hakmem-driver", "provider": {
  "name": "%(provider)s", "version": "1"}, "operations": %(operations)s, "phases": [
  {"name": "churn", "operations": 5}, {"name": "handover", "operations": %(handover)s}],
  "check": {"blocks": 500, "errors": 0} }"""


def row(elapsed: str, operations: int, claims: int = 9, drains: int = 9, adopted: int = 9) -> str:
    counters = f"claims={claims} claims_failed=0 drains={drains} drained_blocks={drains} adopted={adopted}"
    return f"echo 'larson: progress elapsed={elapsed} operations={operations} {counters}' >&2\n"


def result(provider: str = "hakmem", operations: int = 1000, handovers: int = 5000) -> str:
    text = RESULT % {"provider": provider, "operations": operations, "handover": handovers * 400}
    return f"cat <<'END'\n{text}\nEND\n"


@pytest.fixture
def fake(tmp_path: Path) -> Make:
    """fake("echo hello"): a driver, under a name with a space, that runs these lines of shell."""

    def make(body: str) -> Path:
        path = tmp_path / "my larson"
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
        return path

    return make


ONE_ROW = row("1.000", 1000)
FAILURES = {
    "breach": (
        ONE_ROW + "echo '[OWNERSHIP ERROR] Thread 1 draining slab 2 owned by 3!' >&2; kill -ABRT $$",
        r"ownership breach: \[OWNERSHIP ERROR\] Thread 1 draining slab 2 owned by 3!",
    ),
    "breach that does not end the run": (
        "echo '[OWNERSHIP ERROR] Thread 1 draining slab 2 owned by 3!' >&2\n" + ONE_ROW + result(),
        r"ownership breach: \[OWNERSHIP ERROR\] .*",
    ),
    "corruption": (
        ONE_ROW + "echo 'hakmem: block 0x10 was freed twice' >&2; echo more >&2; kill -ABRT $$",
        r"corruption found by the allocator: hakmem: block 0x10 was freed twice",
    ),
    "race": (
        ONE_ROW + "echo 'WARNING: ThreadSanitizer: data race (pid=1)' >&2; exit 66",
        r"sanitizer: WARNING: ThreadSanitizer: data race \(pid=1\)",
    ),
    "abort": (ONE_ROW + "kill -ABRT $$", r"crash: signal 6 \(SIGABRT\)"),
    "status": (ONE_ROW + "echo 'larson: no more' >&2; exit 3", r"the driver ended with status 3: larson: no more"),
    "silent status": ("exit 1", r"the driver ended with status 1: it said nothing"),
    "no result": (ONE_ROW, r"the driver ended with status 0 and without provider in its result"),
    "another's malloc": (ONE_ROW + result("mimalloc"), r"malloc was mimalloc's, not hakmem's: .*"),
    "no counters": (
        "echo 'larson: progress elapsed=1.000 operations=1000' >&2\n" + result(),
        r"the driver showed not all of the allocator's counters",
    ),
    "other totals": (ONE_ROW + result(operations=999), r"the last line told 1000 operations and the result 999"),
    "no hand-over": (ONE_ROW + result(handovers=0), r"no thread handed over: nothing is proven; .*"),
    "no claim": (row("1.000", 1000, claims=0) + result(), r"no slab was claimed in 5000 hand-overs: .*"),
    "no adoption": (row("1.000", 1000, adopted=0) + result(), r"no slab was adopted in 5000 hand-overs: .*"),
    "no drain": (row("1.000", 1000, drains=0) + result(), r"no remote queue was drained in 5000 hand-overs: .*"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(fake: Make, name: str) -> None:
    body, reason = FAILURES[name]
    done = run("--driver", str(fake(body)), "repro", "2", "4")
    assert done.status == 1
    assert re.fullmatch(f"FAIL: {reason}", done.verdict), done.out
    assert len(done.rows) == body.count("progress elapsed")  # what was measured is there


def test_adoption_that_is_off_and_happens(fake: Make) -> None:
    driver = str(fake(ONE_ROW + result()))
    done = run("--driver", driver, "repro", "2", "4", HAKMEM_TINY_SS_ADOPT="0")
    assert (done.status, done.verdict) == (1, "FAIL: adoption is off, and 9 slabs were adopted")
    assert run("--driver", driver, "repro", "2", "4").verdict == "PASS"


def test_what_is_no_failure(fake: Make) -> None:
    """Few hand-overs may pass without a claim; so may any number of them where adoption is off. The
    allocator may say something."""
    idle = row("1.000", 1000, claims=0, drains=0, adopted=0)
    assert run("--driver", str(fake(idle + result(handovers=90))), "repro", "1", "1").verdict == "PASS"
    off = row("1.000", 1000, claims=0, adopted=0)
    assert run("--driver", str(fake(off + result())), "repro", "1", "1", HAKMEM_TINY_SS_ADOPT="0").verdict == "PASS"
    done = run("--driver", str(fake("echo 'hakmem: counters at exit' >&2\n" + ONE_ROW + result())), "guard", "1", "1")
    assert (done.status, done.verdict, done.err) == (0, "PASS", "hakmem: counters at exit\n")


def test_a_driver_of_another_allocator(fake: Make) -> None:
    driver = driver_run.build("larson_system")
    done = run("--driver", str(driver), "repro", "1", "2")
    assert done.status == 1 and done.verdict.startswith("FAIL: malloc was system's, not hakmem's")


@pytest.mark.parametrize(
    "library,reason",
    [
        ("crash", r"crash: signal 11 \(SIGSEGV\) at address 0x6261 in thread \d+"),
        ("overlap", r"the driver ended with status 1: larson: --check found an error in the block at 0x[0-9a-f]+ .*"),
        ("exhausted", r"the driver ended with status 1: larson: out of memory: .*"),
    ],
)
def test_a_broken_allocator(fake: Make, tmp_path: Path, library: str, reason: str) -> None:
    preload = driver_run.compile_preload(library, tmp_path)
    driver = driver_run.build("larson_system")
    done = run("--driver", str(fake(f"CRASH_KIND=address LD_PRELOAD={preload} exec '{driver}' \"$@\"")), "repro", "2", "4")
    assert done.status == 1 and re.fullmatch(f"FAIL: {reason}", done.verdict), done.out
    assert "larson: " in done.err


@pytest.mark.parametrize(
    "body",
    [
        "exec sleep 100",
        ONE_ROW + "exec sleep 100",
        "for i in {1..100}; do " + ONE_ROW.strip() + "; sleep 0.5; done",
        "sleep 10 & echo still here >&2; wait",  # a child keeps the pipe open
        "trap '' ABRT; while :; do sleep 0.2; done",
    ],
    ids=["silent", "after a line", "standing still", "with a child", "stubborn"],
)
def test_hangs(fake: Make, body: str) -> None:
    begin = time.monotonic()
    done = run("--driver", str(fake(body)), "--hang-after=2", "repro", "1", "2")
    assert done.status == 1
    assert re.fullmatch(r"FAIL: it hung: no progress for 2 seconds after [01]\.000 s, and was killed", done.verdict)
    assert 1.5 < time.monotonic() - begin < 8


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [str(SCRIPT), *arguments], env=driver_run.clean_environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )


def read_until_a_row(process: subprocess.Popen) -> List[str]:
    lines: List[str] = []
    while not lines or not ROW.fullmatch(lines[-1]):
        line = process.stdout.readline()
        assert line, lines
        lines.append(line.rstrip("\n"))
    return lines


def gone(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def noted(fake: Make, tmp_path: Path) -> Path:
    """The real driver, which leaves its process number in the file `number`."""
    driver = driver_run.build("larson_hakmem")
    return fake(f"echo $$ > '{tmp_path}/number'; exec '{driver}' \"$@\"")


def test_ctrl_c(noted: Path, tmp_path: Path) -> None:
    process = start("--driver", str(noted), "repro", "60", "2")
    read_until_a_row(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert re.fullmatch(
        r"INTERRUPTED after \d+\.\d{3} s and \d+ operations: neither PASS nor FAIL; \d+ claims, \d+ failed, "
        r"\d+ drains of \d+ blocks, \d+ adoptions",
        out.splitlines()[-1],
    )
    assert gone(int((tmp_path / "number").read_text()))


def test_a_killed_driver_leaves_its_lines(noted: Path, tmp_path: Path) -> None:
    process = start("--driver", str(noted), "repro", "60", "2")
    read_until_a_row(process)
    os.kill(int((tmp_path / "number").read_text()), signal.SIGKILL)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out.splitlines()[-1] == "FAIL: crash: signal 9 (SIGKILL)"


def test_a_reader_that_leaves(noted: Path, tmp_path: Path) -> None:
    process = start("--driver", str(noted), "repro", "60", "2")
    read_until_a_row(process)
    process.stdout.close()
    assert process.wait(20) != 0
    assert gone(int((tmp_path / "number").read_text()))
    process.stderr.close()


# ---- bad input -----------------------------------------------------------------------------------

BAD = [
    ([], "takes three arguments, MODE SECONDS THREADS, not 0; see --help"),
    (["repro", "1"], "takes three arguments, MODE SECONDS THREADS, not 2; see --help"),
    (["repro", "1", "2", "3"], "takes three arguments, MODE SECONDS THREADS, not 4; see --help"),
    (["fast", "1", "2"], "MODE is repro or guard, not 'fast'"),
    (["", "1", "2"], "MODE is repro or guard, not ''"),
    *((["repro", text, "2"], f"SECONDS takes a whole number from 1 to 86400, not '{text}'")
      for text in ("0", "-1", "1.5", "x", "", "86401", "99999999999999999999", "1e3", "0x10", "1 2")),
    *((["guard", "1", text], f"THREADS takes a whole number from 1 to 4096, not '{text}'")
      for text in ("0", "-4", "x", "", "4097", "18446744073709551617", "a[$(id)]")),
    (["repro", "1", "2", "--fast"], "there is no option '--fast'; see --help"),
    (["repro", "1", "2", "--driver"], "--driver lacks its value; see --help"),
    (["repro", "1", "2", "--driver", ""], "--driver takes a value, not an empty text"),
    (["repro", "1", "2", "--driver", "/no such"], "--driver /no such is no program that can be run"),
    (["repro", "1", "2", "--driver", "/tmp"], "--driver /tmp is no program that can be run"),
    (["repro", "1", "2", "--hang-after", "0"], "--hang-after takes a whole number from 1 to 3600, not '0'"),
]


@pytest.mark.parametrize("arguments,sentence", BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input(arguments: List[str], sentence: str) -> None:
    done = run(*arguments)
    assert (done.status, done.out, done.err) == (2, [], f"run_larson.sh: {sentence}\n")


@pytest.mark.parametrize("value", ["2", "yes", ""])
def test_bad_adoption(value: str) -> None:
    done = run("repro", "1", "2", HAKMEM_TINY_SS_ADOPT=value)
    assert (done.status, done.out) == (2, [])
    assert done.err == f"run_larson.sh: HAKMEM_TINY_SS_ADOPT is 0 or 1, not '{value}'; or leave it unset\n"


def test_help() -> None:
    done = run("--help")
    assert done.status == 0 and done.out[0].startswith("usage: scripts/run_larson.sh") and done.err == ""


def test_a_missing_build(tmp_path: Path) -> None:
    copy = tmp_path / "half a checkout" / "scripts" / "run_larson.sh"
    copy.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, copy)
    done = run("guard", "1", "2", "--no-build", script=copy)
    wanted = copy.parent.parent / "out" / "guard" / "larson_hakmem"
    assert (done.status, done.out) == (2, [])
    assert done.err == f"run_larson.sh: there is no {wanted}; build it, or leave out --no-build\n"


def test_an_impossible_build(tmp_path: Path) -> None:
    copy = tmp_path / "half a checkout" / "scripts" / "run_larson.sh"
    copy.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, copy)
    (copy.parent.parent / "Makefile").write_text("larson_hakmem:\n\t@echo 'slab.c:1: error' >&2; exit 1\n")
    done = run("repro", "1", "2", script=copy)
    assert (done.status, done.out) == (2, [])
    assert "slab.c:1: error" in done.err
    last = done.err.splitlines()[-1]
    assert last == "run_larson.sh: the release build of larson_hakmem failed; its errors are above"


def test_a_driver_that_cannot_start(fake: Make) -> None:
    path = fake("")
    path.write_text("#!/no/such/interpreter\n")
    done = run("--driver", str(path), "repro", "1", "2")
    assert done.status == 2 and "can't be started" in done.err.splitlines()[-1]
