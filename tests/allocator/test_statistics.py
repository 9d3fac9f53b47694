"""Statistics: at exit and on a signal, as a table and as JSON, against what programs did."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = ["release", "asan", "tsan"]

PRELUDE = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *volatile p;
"""


def program(path: Path, body: str, *flags: str, outside: str = "") -> Path:
    path.with_suffix(".c").write_text(
        PRELUDE + outside + "\nint main(int argc, char **argv) {\n(void)argc, (void)argv;\n" + body + "\nreturn 0;\n}\n"
    )
    subprocess.run(
        ["gcc", "-w", "-O0", "-fno-builtin", "-pthread", str(path.with_suffix(".c")), "-o", str(path), *flags], check=True
    )
    return path


def run(command: list[str], libhakmem: Path | None, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    if libhakmem:
        clean["LD_PRELOAD"] = str(libhakmem)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**clean, **environment})


def reports(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"hakmem"')]


def one_report(text: str) -> dict:
    found = reports(text)
    assert len(found) == 1 and text.count("\n") == 1, text[:2000]
    return found[0]


def class_of(report: dict, size: int) -> dict:
    return next(row for row in report["classes"] if row["size"] == size)


# ---- the C test, counting ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_c_test_while_every_block_is_counted(variant: str) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT), f"VARIANT={variant}", "test_report"], check=True)
    done = run([str(ROOT / "out" / variant / "tests/test_report")], None,
               HAKMEM_STATS="1", HAKMEM_STATS_FILE="/dev/null")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


# ---- at exit -----------------------------------------------------------------------------------------


COUNTED = """
    for (int i = 0; i < 1000; i++) { p = malloc(600); if (i % 4) free(p); }
    for (int i = 0; i < 100; i++) p = malloc(1900);
    p = malloc(100000); p = malloc(3000000); free(p);
"""


@pytest.mark.parametrize("way", ["preloaded", "static"])
def test_json_tells_what_the_program_did(way: str, libhakmem: Path, tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.a"], check=True)
    static = [str(ROOT / "out/release/libhakmem.a"), "-static"] if way == "static" else []
    done = run([str(program(tmp_path / "counted", COUNTED, *static))], None if static else libhakmem, HAKMEM_STATS="json")
    report = one_report(done.stderr)
    assert report["program"] == "counted" and report["when"] == "at exit" and report["counting"] is True
    small = class_of(report, 640)
    assert (small["requests"], small["frees"], small["live"]) == (1000, 750, 250)
    assert (small["requested"], small["usable"], small["live_bytes"]) == (600000, 640000, 250 * 640)
    assert small["slabs"] >= 250 * 640 and small["unused"] <= small["slabs"] - small["live_bytes"]
    larger = class_of(report, 1920)
    assert (larger["requests"], larger["frees"], larger["live"]) == (100, 0, 100)
    spans, huge = [row for row in report["classes"] if row["size"] == 0]
    assert (spans["requests"], spans["live"], spans["live_bytes"]) == (1, 1, 131072)
    assert (huge["requests"], huge["frees"], huge["live_bytes"]) == (1, 1, 0)
    assert report["requests"] == sum(row["requests"] for row in report["classes"])
    assert report["live"] == sum(row["live_bytes"] for row in report["classes"])
    assert report["live_peak"] >= report["live"] + 3000000
    assert report["cached"] == sum(report[f"cached_{part}"] for part in ("threads", "depot", "slabs", "huge"))
    assert report["cached_huge"] >= 3000000
    assert report["mapped"] >= report["committed"] >= report["live"] + report["cached"]
    assert report["committed_peak"] >= report["committed"]
    assert report["resident_peak"] >= 250 * 640
    assert report["counters"]["huge_mapped"] == 1


def test_the_table_says_the_same(libhakmem: Path, tmp_path: Path) -> None:
    done = run([str(program(tmp_path / "counted", COUNTED))], libhakmem, HAKMEM_STATS="table")
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"hakmem: statistics of process \d+ \(counted\) at exit", lines[0])
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["640"] == ["1000", "750", "250", "160000", "6.2%", rows["640"][5], rows["640"][6]]
    assert rows["slabs"][:4] == ["1", "0", "1", "131072"] or rows["slabs"][0].isdigit()
    assert int(rows["live"][1]) >= int(rows["live"][0]) + 3000000
    at = lines.index("hakmem: counters at exit")
    counters = dict(re.fullmatch(r"  (\d+)\t(\w+): .*", line).group(2, 1) for line in lines[at + 1:])
    assert counters["huge_mapped"] == "1" and len(counters) >= 25
    assert max(map(len, lines)) <= 110


def test_a_program_that_allocates_nothing(libhakmem: Path) -> None:
    report = one_report(run(["/bin/true"], libhakmem, HAKMEM_STATS="json").stderr)
    assert report["program"] == "true" and report["live"] == report["requests"] == 0


def test_threads_that_ended_are_counted(libhakmem: Path, tmp_path: Path) -> None:
    outside = """
    static void *work(void *left) {
        for (int i = 0; i < 5000; i++) { p = NULL; void *q = malloc(900); if (i >= (long)left) free(q); }
        return NULL;
    }"""
    body = """
    pthread_t threads[8];
    for (long i = 0; i < 8; i++) pthread_create(&threads[i], NULL, work, (void *)(i * 10));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    """
    done = run([str(program(tmp_path / "threads", body, outside=outside))], libhakmem, HAKMEM_STATS="json")
    row = class_of(one_report(done.stderr), 960)
    assert (row["requests"], row["frees"], row["live"]) == (40000, 40000 - 280, 280)


def test_a_forked_child_tells_its_own(libhakmem: Path, tmp_path: Path) -> None:
    """The child goes on from what it shares with its parent."""
    body = """
    for (int i = 0; i < 100; i++) p = malloc(600);
    pid_t child = fork();
    if (!child) { for (int i = 0; i < 11; i++) p = malloc(600); free(p); exit(0); }
    waitpid(child, NULL, 0);
    p = malloc(600);
    printf("%d %d", getpid(), child);
    """
    done = run([str(program(tmp_path / "forks", body))], libhakmem, HAKMEM_STATS="json")
    parent_number, child_number = map(int, done.stdout.split())
    child, parent = reports(done.stderr)
    assert (child["process"], parent["process"]) == (child_number, parent_number)
    row = class_of(child, 640)
    assert (row["requests"], row["frees"], row["live"]) == (111, 1, 110)
    row = class_of(parent, 640)
    assert (row["requests"], row["frees"], row["live"]) == (101, 0, 101)


def test_exec_ends_a_program_and_begins_another(libhakmem: Path, tmp_path: Path) -> None:
    body = 'for (int i = 0; i < 100; i++) p = malloc(600); execl("/bin/true", "true", (char *)0);'
    report = one_report(run([str(program(tmp_path / "execs", body))], libhakmem, HAKMEM_STATS="json").stderr)
    assert report["program"] == "true" and report["requests"] == 0


@pytest.mark.parametrize("end", ["_exit(0);", "raise(SIGKILL);", "quick_exit(0);"])
def test_an_end_without_exit_prints_nothing(end: str, libhakmem: Path, tmp_path: Path) -> None:
    done = run([str(program(tmp_path / "ends", f"p = malloc(600); {end}"))], libhakmem, HAKMEM_STATS="1")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "body",
    [
        "close(2);",
        "fclose(stderr); close(1); close(0);",
        'close(2); open("/dev/null", O_WRONLY);',
        'dup2(open("/dev/null", O_WRONLY), 2);',
    ],
)
def test_standard_error_may_be_closed_or_lead_elsewhere(body: str, libhakmem: Path, tmp_path: Path) -> None:
    done = run([str(program(tmp_path / "closes", f"p = malloc(600); {body}"))], libhakmem, HAKMEM_STATS="json")
    assert one_report(done.stderr)["program"] == "closes"


def test_a_descriptor_of_the_programs_own_is_not_written_to(libhakmem: Path, tmp_path: Path) -> None:
    """It closes all it finds, ours too, and opens its files where ours was."""
    data = tmp_path / "data"
    body = f"""
    for (int i = 3; i < 1024; i++) close(i);
    for (int i = 3; i < 200; i++) open("{data}", O_RDWR | O_CREAT, 0600);
    """
    done = run([str(program(tmp_path / "closes", body))], libhakmem, HAKMEM_STATS="json")
    assert data.read_bytes() == b""
    assert one_report(done.stderr)["program"] == "closes"


@pytest.mark.parametrize(
    ("redirection", "closing"),
    [("2>&-", ""), ("", 'for (int i = 0; i < 1024; i++) close(i); open("/dev/null", O_RDWR); open("/dev/null", O_RDWR);')],
    ids=["started without", "all closed"],
)
def test_a_file_of_the_programs_own_may_be_descriptor_two(
    redirection: str, closing: str, libhakmem: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    body = f'{closing} p = malloc(600); return open("{data}", O_RDWR | O_CREAT, 0600) != 2 || write(2, "mine", 4) != 4;'
    command = f'exec "$0" {redirection}'
    done = run(["sh", "-c", command, str(program(tmp_path / "closes", body))], libhakmem, HAKMEM_STATS="json")
    assert done.returncode == 0
    assert data.read_bytes() == b"mine"


@pytest.mark.parametrize("pending", ["", "sigset_t s; sigemptyset(&s); sigaddset(&s, SIGPIPE);"
                                         " sigprocmask(SIG_BLOCK, &s, NULL); raise(SIGPIPE);"])
def test_a_reader_of_standard_error_that_is_gone(pending: str, libhakmem: Path, tmp_path: Path) -> None:
    """Nothing is pending afterwards that was not before, when the signal may end the program."""
    body = f"""
    {pending}
    raise(SIGUSR2);
    sigset_t now; sigpending(&now);
    if (sigismember(&now, SIGPIPE) != {1 if pending else 0}) return 1;
    puts("done"); p = malloc(600); return 3;
    """
    command = [str(program(tmp_path / "pipe", body))]
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "LD_PRELOAD": str(libhakmem), "HAKMEM_STATS": "1", "HAKMEM_STATS_SIGNAL": "USR2"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60, env=environment)
    os.close(writer)
    assert (done.returncode, done.stdout) == (3, "done\n")


# ---- into a file -------------------------------------------------------------------------------------


def test_a_file_gets_them_one_after_the_other(libhakmem: Path, tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "statistics"
    file.parent.mkdir()
    for _ in range(2):
        done = run(["/bin/ls", "/"], libhakmem, HAKMEM_STATS="json", HAKMEM_STATS_FILE=str(file))
        assert done.stderr == ""
    assert [r["program"] for r in reports(file.read_text())] == ["ls", "ls"]


def test_each_process_may_have_its_own_file(libhakmem: Path, tmp_path: Path) -> None:
    done = run(["bash", "-c", "ls / >/dev/null; ls / > /dev/null"], libhakmem,
               HAKMEM_STATS="json", HAKMEM_STATS_FILE=f"{tmp_path}/of-%p-100%")
    assert done.stderr == ""
    found = {int(re.fullmatch(r"of-(\d+)-100%", f.name).group(1)): f for f in tmp_path.iterdir()}
    assert len(found) == 3
    for number, file in found.items():
        assert one_report(file.read_text())["process"] == number


def test_a_file_that_can_not_be_opened(libhakmem: Path) -> None:
    done = run(["/bin/ls", "/"], libhakmem, HAKMEM_STATS="json", HAKMEM_STATS_FILE="/nowhere/at all")
    first, second = done.stderr.splitlines()
    assert first == "hakmem: the statistics' file can't be opened (error 2), so they follow here: /nowhere/at all"
    assert json.loads(second)["program"] == "ls"
    assert done.returncode == 0


def test_forked_programs_do_not_mix_in_one_file(libhakmem: Path, tmp_path: Path) -> None:
    file = tmp_path / "all"
    script = "for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5; do ls / > /dev/null; done) & done; wait"
    run(["bash", "-c", script], libhakmem, HAKMEM_STATS="json", HAKMEM_STATS_FILE=str(file))
    lines = file.read_text().splitlines()
    assert [json.loads(line)["program"] for line in lines].count("ls") == 40


# ---- on a signal -------------------------------------------------------------------------------------

SIGNALS = """
    for (int i = 0; i < 50; i++) p = malloc(600);
    raise(SIGUSR2);
    for (int i = 0; i < 50; i++) p = malloc(600);
    raise(SIGUSR2);
"""


def test_a_signal_prints_what_is_counted_so_far(libhakmem: Path, tmp_path: Path) -> None:
    done = run([str(program(tmp_path / "signals", SIGNALS))], libhakmem, HAKMEM_STATS="json", HAKMEM_STATS_SIGNAL="USR2")
    assert done.returncode == 0
    found = reports(done.stderr)
    assert [r["when"] for r in found] == ["at signal", "at signal", "at exit"]
    assert [class_of(r, 640)["live"] for r in found] == [50, 100, 100]


def test_a_signal_works_without_counting(libhakmem: Path, tmp_path: Path) -> None:
    done = run([str(program(tmp_path / "signals", SIGNALS))], libhakmem, HAKMEM_STATS_SIGNAL="12")
    assert done.returncode == 0
    assert len(re.findall("^hakmem: statistics of process .* at signal$", done.stderr, re.M)) == 2
    assert len(re.findall("^hakmem: counters at signal$", done.stderr, re.M)) == 2
    assert "at exit" not in done.stderr
    live = [int(n) for n in re.findall(r"^  live +(\d+)", done.stderr, re.M)]
    assert live[1] == live[0] + 50 * 640


def test_errno_and_system_calls_survive_the_signal(libhakmem: Path, tmp_path: Path) -> None:
    body = """
    int pipes[2]; char byte;
    pipe(pipes);
    if (!fork()) { usleep(200000); kill(getppid(), SIGUSR2); usleep(200000); write(pipes[1], "x", 1); _exit(0); }
    errno = 1234;
    ssize_t got = read(pipes[0], &byte, 1);
    return got == 1 && errno == 1234 ? 0 : 1;
    """
    done = run([str(program(tmp_path / "waits", body))], libhakmem, HAKMEM_STATS_SIGNAL="USR2",
               HAKMEM_STATS_FILE="/nowhere/at all")
    assert done.returncode == 0
    assert "at signal" in done.stderr


def test_signals_may_come_while_threads_allocate(libhakmem: Path, tmp_path: Path) -> None:
    """Anywhere in the allocator, in any thread, on small stacks of their own, and while another one
    is being answered."""
    outside = """
    static void *work(void *unused) {
        char *stack = aligned_alloc(4096, 65536);
        stack_t own = {.ss_sp = stack, .ss_size = 65536};
        sigaltstack(&own, NULL);
        for (int i = 0; i < 300000; i++) { void *q = malloc(i % 2000); free(malloc(40000)); free(q); }
        own.ss_flags = SS_DISABLE;
        sigaltstack(&own, NULL);
        free(stack);
        return NULL;
    }"""
    body = """
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 100; i++) {
        for (int t = 0; t < 3; t++) pthread_kill(threads[t], SIGUSR2);
        usleep(500);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    p = malloc(10); puts("done");
    """
    file = tmp_path / "reports"
    command = [str(program(tmp_path / "busy", body, outside=outside))]
    done = run(command, libhakmem, HAKMEM_STATS="json", HAKMEM_STATS_SIGNAL="USR2", HAKMEM_STATS_FILE=str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    text = file.read_text()
    assert text.count('"when":"at signal"') >= 20
    last = json.loads(text.splitlines()[-1])
    assert last["when"] == "at exit" and last["requests"] - last["frees"] < 200


@pytest.mark.parametrize("form", ["0", "1", "json"])
@pytest.mark.parametrize("file", [None, "a file", "/nowhere/at all"])
def test_a_signal_stack_of_8192_bytes_is_enough(form: str, file: str | None, libhakmem: Path, tmp_path: Path) -> None:
    """Right below it lies a page that nobody may touch."""
    outside = """
    #include <sys/mman.h>
    static void own(int number) { (void)number; }
    """
    body = """
    char *area = mmap(NULL, 65536 + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area + 65536, 8192, PROT_READ | PROT_WRITE);
    stack_t small = {.ss_sp = area + 65536, .ss_size = 8192};
    if (sigaltstack(&small, NULL)) return 77;
    struct sigaction action = {.sa_handler = own, .sa_flags = SA_ONSTACK};
    if (argc > 1) sigaction(SIGUSR2, &action, NULL);
    for (int i = 0; i < 1000; i++) free(malloc(i));
    raise(SIGUSR2);
    """
    command = [str(program(tmp_path / "small", body, outside=outside))]
    if run([*command, "own"], None).returncode:
        pytest.skip("this machine's signal frames need more than that")
    to = {} if file is None else {"HAKMEM_STATS_FILE": str(tmp_path / file)}
    done = run(command, libhakmem, HAKMEM_STATS=form, HAKMEM_STATS_SIGNAL="USR2", **to)
    assert done.returncode == 0
    assert "at signal" in ((tmp_path / file).read_text() if file == "a file" else done.stderr)


def test_a_signal_during_a_report_brings_none_and_a_child_has_its_own(libhakmem: Path, tmp_path: Path) -> None:
    """The first report waits for the reader of a named pipe."""
    outside = """
    #include <sys/stat.h>
    static void *work(void *unused) { raise(SIGUSR2); return NULL; }
    """
    body = f"""
    char path[4096];
    snprintf(path, sizeof path, "{tmp_path}/of-%d", getpid());
    mkfifo(path, 0600);
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    usleep(300000);
    raise(SIGUSR2);
    if (!fork()) exit(0);
    int status;
    wait(&status);
    unlink(path);
    puts("done"); fflush(stdout);
    _exit(status);
    """
    done = run([str(program(tmp_path / "waits", body, outside=outside))], libhakmem, HAKMEM_STATS="json",
               HAKMEM_STATS_SIGNAL="USR2", HAKMEM_STATS_FILE=f"{tmp_path}/of-%p")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    [file] = tmp_path.glob("of-*")
    assert one_report(file.read_text())["when"] == "at exit"


def test_a_signal_that_is_ignored_at_the_start_stays_so(libhakmem: Path, tmp_path: Path) -> None:
    """As nohup has it for a terminal's end."""
    command = [str(program(tmp_path / "hangs", 'raise(SIGHUP); puts("done");'))]
    for ignored in ("trap '' HUP;", ""):
        done = run(["sh", "-c", f'{ignored} exec "$0"', *command], libhakmem, HAKMEM_STATS_SIGNAL="HUP")
        assert (done.returncode, done.stdout) == (0, "done\n")
        assert ("at signal" in done.stderr) == (not ignored)


def test_a_running_program_answers_from_outside(libhakmem: Path, tmp_path: Path) -> None:
    file = tmp_path / "report"
    environment = {**os.environ, "LD_PRELOAD": str(libhakmem), "HAKMEM_STATS_SIGNAL": "USR1",
                   "HAKMEM_STATS_FILE": str(file)}
    with subprocess.Popen(["sleep", "60"], env=environment) as process:
        deadline = time.monotonic() + 10
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.M).group(1), 16)
            if caught >> (signal.SIGUSR1 - 1) & 1:
                process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        assert process.poll() is None
        process.kill()
    assert "(sleep) at signal" in file.read_text()
