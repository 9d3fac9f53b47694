"""Tests of run_program with real processes: whose memory and time it counts, and whom it believes."""
from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PYTHON = "/usr/bin/python3"
pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason="needs the system's python3")
BURN = "import time\nwhile time.process_time() < 0.1: pass\n"


@pytest.fixture(scope="module")
def launcher(root: Path) -> Path:
    """The launcher, built with its witness."""
    subprocess.run(["make", "-s", "-C", str(root), "run_program", "libwl_witness.so"], check=True)
    return root / "out" / "release" / "run_program"


@pytest.fixture
def start(launcher: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts the launcher; the witness by a path that can be preloaded."""
    witness = tmp_path / "witness.so"
    witness.symlink_to(launcher.parent / "libwl_witness.so")

    def run(*words: str, preload: str = "libc.so.6", **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(launcher), "--json", "--preload", preload, "--witness", str(witness), *words],
            capture_output=True, text=True, timeout=60, **options,
        )

    return run


def compiled(folder: Path, name: str, text: str, *flags: str) -> str:
    source = folder / f"{name}.c"
    source.write_text(text, "ascii")
    subprocess.run(["gcc", "-O0", *flags, str(source), "-o", str(folder / name), "-ldl"], check=True)
    return str(folder / name)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_the_peak_is_the_programs_own(start, tmp_path: Path) -> None:
    """Our own process is made larger than the program: none of it may be counted."""
    ballast = bytearray(os.urandom(1) * (200 << 20))
    output = tmp_path / "out"
    report = report_of(start(
        "--output", str(output), "--", PYTHON, "-c",
        "b = b'x' * (40 << 20); del b\nprint(open('/proc/self/status').read())",
    ))
    del ballast
    line = next(x for x in output.read_text().splitlines() if x.startswith("VmHWM"))
    own = int(line.split()[1]) * 1024
    assert own > 45 << 20 and own - (1 << 20) <= report["peak_rss_bytes"] <= own + (2 << 20)
    assert report["end_rss_bytes"] < report["peak_rss_bytes"] - (30 << 20)
    assert report["provider"]["name"] == "system" and report["provider"]["complete"]
    assert report["rss_halves_bytes"] == []


def test_processor_time_of_children_and_orphans(start, tmp_path: Path) -> None:
    script = tmp_path / "burn.py"
    script.write_text(BURN)
    report = report_of(start(
        "--", "/bin/bash", "-c", f"{PYTHON} {script}; ({PYTHON} {script} & ) ; exit 0"
    ))
    assert 0.2 <= report["cpu_user_seconds"] + report["cpu_system_seconds"] < 1.5
    names = [process["name"] for process in report["processes"]]
    assert names.count("python3") == 2
    assert all(p["cpu_seconds"] >= 0.1 for p in report["processes"] if p["name"] == "python3")
    largest = max(process["peak_rss_bytes"] for process in report["processes"])
    assert report["peak_rss_bytes"] == largest
    assert report["provider"]["complete"]


def test_the_clients_time_is_not_counted(start) -> None:
    report = report_of(start("--", PYTHON, "-c", "import time; time.sleep(0.3)",
                             "--", PYTHON, "-c", BURN.replace("0.1", "0.2")))
    assert report["cpu_user_seconds"] + report["cpu_system_seconds"] < 0.15
    assert [process["name"] for process in report["processes"]] == ["python3"]


def test_a_client_that_fails_ends_the_program(start) -> None:
    done = start("--", "/bin/sleep", "50", "--", "/bin/sh", "-c", "echo the reason >&2; exit 3")
    assert done.returncode == 1 and done.stdout == ""
    assert "the reason" in done.stderr and "the client of /bin/sleep failed" in done.stderr


def test_who_serves_is_found_inside(start, root: Path, libhakmem: Path) -> None:
    report = report_of(start("--", PYTHON, "-c", "pass", preload=str(libhakmem)))
    assert report["provider"]["name"] == "hakmem" and report["provider"]["complete"]
    assert os.path.realpath(libhakmem) == report["provider"]["path"]


def test_a_library_that_is_not_loaded_serves_nobody(start) -> None:
    report = report_of(start("--", PYTHON, "-c", "pass", preload="libno-such-thing.so"))
    assert report["provider"]["name"] == "system"


def test_a_static_program_is_an_error(start, tmp_path: Path) -> None:
    program = compiled(tmp_path, "static", "int main(void) { return 0; }", "-static")
    done = start("--", program)
    assert done.returncode == 1 and "did not tell who served its malloc" in done.stderr


OWN_MALLOC = """
#include <stddef.h>
extern void *__libc_malloc(size_t); extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t); extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n) { return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""
MAIN = "#include <stdlib.h>\nvoid *volatile p;\nint main(void) { p = malloc(10); free(p); return 0; }\n"


def test_a_program_with_a_malloc_of_its_own_is_found_out(start, libhakmem: Path, tmp_path: Path) -> None:
    program = compiled(tmp_path, "own", OWN_MALLOC + MAIN, "-fno-builtin", "-rdynamic")
    report = report_of(start("--", program, preload=str(libhakmem)))
    assert report["provider"]["path"] == program and report["provider"]["name"] == "unknown"


def test_a_part_that_calls_another_malloc_is_found_out(start, libhakmem: Path, tmp_path: Path) -> None:
    """As a library does that was opened so that its own dependencies come first."""
    other = compiled(tmp_path, "libother.so", OWN_MALLOC, "-shared", "-fPIC", "-fno-builtin")
    compiled(tmp_path, "libpart.so", MAIN.replace("main(void)", "part(void)"), "-shared", "-fPIC",
             "-Wl,--no-as-needed", other, f"-Wl,-rpath,{tmp_path}")
    program = compiled(tmp_path, "opens", f"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        void *volatile p;
        int main(void) {{
            p = malloc(10);
            void *part = dlopen("{tmp_path}/libpart.so", RTLD_NOW | RTLD_DEEPBIND);
            return part ? ((int (*)(void))dlsym(part, "part"))() : 9;
        }}""")
    done = start("--", program, preload=str(libhakmem))
    report = report_of(done)
    assert report["provider"]["name"] == "hakmem" and not report["provider"]["complete"]
    assert "libpart.so' calls another malloc" in done.stderr


@pytest.mark.parametrize("flags", [("-no-pie",), ("-no-pie", "-Wl,-z,now"), ("-pie", "-fPIE")])
def test_programs_at_fixed_and_at_any_places(
    start, libhakmem: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """A fixed one gives all a stub of its own as the address of malloc."""
    text = MAIN.replace("p = malloc", "void *(*volatile f)(size_t) = malloc; p = f(1); p = malloc")
    program = compiled(tmp_path, "placed", text, *flags)
    report = report_of(start("--", program, preload=str(libhakmem)))
    assert report["provider"]["name"] == "hakmem" and report["provider"]["complete"]


def test_the_result_is_compared(start, tmp_path: Path) -> None:
    (tmp_path / "right").write_text("1\n2\n")
    words = ("--directory", str(tmp_path), "--output", "made", "--expect", "right", "--", "/bin/bash", "-c")
    good = report_of(start(*words, "echo 1; echo 2"))
    assert good["checksum"].startswith("0x")
    for text in ("echo 1; echo 3", "echo 1; echo 2; echo 3", "echo 1", "true"):
        done = start(*words, text)
        assert done.returncode == 1 and done.stdout == "" and "result is wrong" in done.stderr


def test_a_crash_is_our_crash_and_a_status_ours(start) -> None:
    done = start("--", PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert done.returncode == -signal.SIGSEGV and "ended by signal 11" in done.stderr
    done = start("--", "/bin/false")
    assert done.returncode == 1 and "/bin/false ended with exit status 1" in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    ((), "no program is given"),
    (("--",), "no program is given"),
    (("--", "true", "--"), "no client behind it"),
    (("--", "true", "--", "a", "--", "b"), "three '--'"),
    (("--expect", "x", "--", "true"), "nothing to compare"),
    (("--directory", "/no/such", "--", "true"), "can't be entered"),
    (("--operations", "0", "--", "true"), "whole number from 1"),
])
def test_wrong_usage(start, words: tuple[str, ...], said: str) -> None:
    done = start(*words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_what_cannot_be_preloaded_or_started(start) -> None:
    done = start("--", "true", preload="/a path/lib.so")
    assert done.returncode == 2 and "symbolic link" in done.stderr
    done = start("--", "/no/such/program")
    assert done.returncode == 1 and "/no/such/program can't be started" in done.stderr


def test_the_table_for_people(launcher: Path, start) -> None:
    done = start("--", PYTHON, "-c", "pass")
    assert done.returncode == 0
    text = subprocess.run(
        [*done.args[:1], *done.args[2:]], capture_output=True, text=True, check=True
    ).stdout
    assert "allocator    system" in text and "process      python3" in text
