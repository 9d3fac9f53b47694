"""hakmem check and hakmem run, where preloading can't work: each case is refused with its reason, and is
refused rightly: the loader itself shows that the library would not have served the program."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import pytest

from installing import ALLOCATES, OWN_MALLOC, ROOT, Installed, make

NOBODY = 65534
SECURE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
int main(void) { void *volatile p = malloc(1); free(p); printf("secure=%lu\n", getauxval(AT_SECURE)); return 0; }
"""


def plain_link(installed: Installed) -> Path:
    """The library under a path that LD_PRELOAD can name."""
    link = installed.scratch / "hakmem.so"
    if not link.is_symlink():
        link.symlink_to(installed.library)
    return link


def is_served(installed: Installed, *words: object, user: Optional[int] = None, before: Optional[list[str]] = None
              ) -> bool:
    """Whether the library serves a program that is started with LD_PRELOAD, whatever we say of it."""
    environment = {"LD_PRELOAD": str(plain_link(installed)), "HAKMEM_STATS": "1"}
    done = installed.start("env", *(f"{k}={v}" for k, v in environment.items()), *words, user=user,
                           before=before or [])
    return done.returncode == 0 and "hakmem: " in done.stderr


def refused(installed: Installed, program: object, message: str, status: int = 126, user: Optional[int] = None) -> None:
    """Both check and run refuse, with one and the same reason."""
    for words in (["run", "-o", "stats=1", program, "argument"], ["run", program]):
        done = installed.run(*words, user=user)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert message in done.stderr and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"hakmem: {program} ")
    check = installed.run("check", program, user=user)
    assert check.returncode == status and check.stderr == ""
    assert check.stdout == f"{program}: no: {done.stderr[len('hakmem: '):]}"


@dataclass(frozen=True)
class Case:
    name: str
    message: str
    source: str = ALLOCATES
    flags: tuple[str, ...] = ()
    compiler: str = "gcc"


CASES = [
    Case("static", "is statically linked: there is no loader", flags=("-static",)),
    Case("static-pie", "is statically linked: there is no loader", flags=("-static-pie",)),
    Case("musl", "is built for musl (its loader is /lib/ld-musl-", compiler="musl-gcc"),
    Case("own-malloc", "has another allocator linked in: its own malloc comes before", source=OWN_MALLOC),
    Case("own-malloc-no-pie", "has another allocator linked in", source=OWN_MALLOC, flags=("-no-pie",)),
    Case("own-malloc-old-hash", "has another allocator linked in", source=OWN_MALLOC, flags=("-Wl,--hash-style=sysv",)),
    Case("asan", "is linked with libasan.so", flags=("-fsanitize=address",)),
    Case("clang-asan", "has another allocator linked in", flags=("-fsanitize=address",), compiler="clang"),
    Case("tsan", "is linked with libtsan.so", flags=("-fsanitize=thread",)),
    Case("library", "is statically linked", flags=("-shared", "-fPIC")),
    Case("object", "is no program: an object or core file", flags=("-c",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_programs(installed: Installed, compiled: Callable[..., Path], case: Case) -> None:
    program = compiled(case.name, case.source, *case.flags, compiler=case.compiler)
    program.chmod(0o755)
    refused(installed, program, case.message)
    # A library and an object don't start at all; the sanitizer's malloc is heard of by nobody else.
    if case.name not in ("library", "object", "clang-asan"):
        assert not is_served(installed, program)


@pytest.mark.parametrize("flags", [("-no-pie",), ("-Wl,--hash-style=sysv",), ("-Wl,--hash-style=gnu", "-s"),
                                   ("-fsanitize=undefined",), ("-rdynamic",)], ids=" ".join)
def test_programs_that_can_be_served(
    installed: Installed, compiled: Callable[..., Path], flags: tuple[str, ...]
) -> None:
    program = compiled("served" + re.sub(r"\W", "", "".join(flags)), ALLOCATES, *flags)
    assert installed.run("check", program).returncode == 0
    assert is_served(installed, program)


def test_a_malloc_that_is_hidden(installed: Installed, compiled: Callable[..., Path]) -> None:
    program = compiled("hidden-malloc", OWN_MALLOC, "-fvisibility=hidden")
    done = installed.run("check", program)
    assert done.returncode == 0 and "note: it has a malloc of its own that it shows no library" in done.stdout


@pytest.mark.parametrize(("compiler", "machine"), [("aarch64-linux-gnu-gcc", "aarch64"), ("gcc -m32", "32-bit i386")])
def test_other_machines(installed: Installed, compiled: Callable[..., Path], compiler: str, machine: str) -> None:
    name, *flags = compiler.split()
    if os.uname().machine == machine:
        pytest.skip("this is that machine")
    if flags:  # without that machine's C library
        program = compiled("m32", "int main(void) { return 0; }", *flags, "-nostdlib", "-Wl,-e,main", compiler=name)
    else:
        program = compiled("other-machine", ALLOCATES, compiler=name)
    here = os.uname().machine.replace("_", "-")
    remedy = "there is no hakmem for that" if flags else "build hakmem for that, too, and name it in HAKMEM_LIBRARY"
    refused(installed, program, f"is for another machine ({machine}) than the library ({here}); {remedy}")


@pytest.fixture(scope="module")
def for_musl(installed: Installed) -> Path:
    """The library, built for another C library than the command."""
    if not shutil.which("musl-gcc"):
        pytest.skip("musl-gcc is not installed")
    make("libhakmem.so", "CC=musl-gcc", "OUT=out/installed-musl")
    return ROOT / "out/installed-musl/libhakmem.so"


def test_a_library_for_musl(installed: Installed, compiled: Callable[..., Path], for_musl: Path) -> None:
    """What the refusal of such a program tells to do."""
    ours, theirs = compiled("allocates", ALLOCATES), compiled("musl", ALLOCATES, compiler="musl-gcc")
    environment = {"HAKMEM_LIBRARY": str(for_musl), "HAKMEM_STATS": "1"}
    done = installed.run("run", theirs, env=environment)
    assert done.returncode == 0 and "hakmem: " in done.stderr
    done = installed.run("run", ours, env=environment)
    assert done.returncode == 126 and "is built for glibc" in done.stderr and "the library for musl" in done.stderr
    done = installed.run("run", "-o", "stats=1", theirs, env=environment)
    assert done.returncode == 126 and "give them in the environment" in done.stderr


# ---- rights ---------------------------------------------------------------------------------------


@pytest.fixture()
def secure(installed: Installed, compiled: Callable[..., Path]) -> Callable[[str], Path]:
    """A copy of the program that tells whether the loader trusts its environment."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, to make programs with other rights")
    if os.statvfs(installed.scratch).f_flag & os.ST_NOSUID:
        pytest.skip("the file system for temporary files gives no rights")

    def get(kind: str) -> Path:
        program = installed.scratch / f"rights-{kind.replace(' ', '-')}"
        shutil.copy(compiled("secure", SECURE), program)
        if kind == "setuid":
            program.chmod(0o4755)
        elif kind == "setgid":
            program.chmod(0o2755)
        elif kind == "setgid without x":
            program.chmod(0o2745)
        elif kind == "nobody's setuid":
            os.chown(program, NOBODY, NOBODY)
            program.chmod(0o4755)
        elif kind == "capabilities":
            if not shutil.which("setcap"):
                pytest.skip("setcap is not installed")
            subprocess.run(["setcap", "cap_net_raw+ep", str(program)], check=True)
        return program

    return get


@pytest.mark.parametrize("restricted", [False, True], ids=["", "no new privileges"])
@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
@pytest.mark.parametrize("kind", ["plain", "setuid", "setgid", "setgid without x", "nobody's setuid", "capabilities"])
def test_rights(installed: Installed, secure: Callable[[str], Path], kind: str, user: int, restricted: bool) -> None:
    """What is said of a program agrees with what the kernel tells the program."""
    program = secure(kind)
    before = ["setpriv", "--no-new-privs"] if restricted else []
    truth = installed.start(program, user=user, before=before)
    if truth.returncode != 0:
        pytest.skip("this system does not run it")
    trusted = "secure=0" in truth.stdout
    assert is_served(installed, program, user=user, before=before) == trusted
    done = installed.run("check", program, user=user, before=before)
    assert (done.returncode == 0) == trusted, done.stdout
    if not trusted:
        assert "runs with more rights than its user (it" in done.stdout
        ran = installed.run("run", program, user=user, before=before)
        assert (ran.returncode, ran.stdout) == (126, "")


def test_the_cases_of_rights_are_not_all_trusted(installed: Installed, secure: Callable[[str], Path]) -> None:
    refused(installed, secure("setuid"), "(it is setuid)", user=NOBODY)
    refused(installed, secure("setgid"), "(it is setgid)", user=NOBODY)
    refused(installed, secure("nobody's setuid"), "(it is setuid)")
    refused(installed, secure("capabilities"), "(its file has capabilities)", user=NOBODY)


def test_a_program_that_can_t_be_read(installed: Installed, secure: Callable[[str], Path]) -> None:
    """It may be executed all the same, and is served: but nobody could know before."""
    program = secure("plain")
    program.chmod(0o711)
    done = installed.run("check", program, user=NOBODY)
    assert done.returncode == 0 and "may be run but not read" in done.stdout
    assert installed.run("run", program, user=NOBODY).stdout == "secure=0\n"


# ---- scripts --------------------------------------------------------------------------------------


def script(installed: Installed, name: str, first: str, rest: str = "") -> Path:
    path = installed.scratch / name
    path.write_text(f"{first}\n{rest}")
    path.chmod(0o755)
    return path


def test_scripts_are_judged_by_their_interpreter(installed: Installed, compiled: Callable[..., Path]) -> None:
    static = compiled("static", ALLOCATES, "-static")
    message = f"is a script, and its interpreter {static} is statically linked"
    refused(installed, script(installed, "script-1", f"#!{static}"), message)
    refused(installed, script(installed, "script-2", f"#! \t{static} -x y"), message)
    refused(installed, script(installed, "script-3", f"#!{installed.scratch}/script-1"), message)
    refused(installed, script(installed, "script-4", f"#!/usr/bin/env {static}"), message)
    refused(installed, script(installed, "script-5", f"#!/usr/bin/env -S A=b {static} -c"), message)
    good = script(installed, "script-6", "#!/bin/sh", "echo $1 $0; exit 3\n")
    done = installed.run("run", good, "one")
    assert (done.returncode, done.stdout) == (3, f"one {good}\n")
    assert installed.run("check", good).stdout == f"{good}: hakmem can serve /bin/sh\n"
    by_env = script(installed, "script-7", "#!/usr/bin/env sh", "echo yes\n")
    assert installed.run("run", by_env).stdout == "yes\n"


@pytest.mark.parametrize(("first", "message"), [
    ("#!/nosuch/interpreter", "is a script for /nosuch/interpreter, which can't be run: No such file"),
    ("#!/etc/passwd", "is a script for /etc/passwd, which can't be run: Permission denied"),
    ("#!  ", "is a script for no interpreter"),
    ("#!SELF", "the kernel runs no more than 5"),
    ("echo hello", "is neither an ELF program nor a script that begins with #!"),
    ("#", "is neither an ELF program nor a script"),
    (None, "is neither an ELF program nor a script"),
])
def test_scripts_that_nobody_can_run(installed: Installed, first: Optional[str], message: str) -> None:
    path = script(installed, "nobody-s-script", "")
    path.write_text("" if first is None else first.replace("SELF", str(path)) + "\n")
    refused(installed, path, message)


# ---- what isn't a program --------------------------------------------------------------------------


def test_not_found(installed: Installed, tells: Path) -> None:
    refused(installed, "nosuch-program", "is in no folder of PATH", status=127)
    refused(installed, "./nosuch-program", "can't be found: No such file or directory", status=127)
    refused(installed, f"{tells}/x", "can't be found: Not a directory", status=127)
    refused(installed, "/" + "x" * 5000, "can't be found: File name too long", status=127)
    done = installed.run("run", "")
    assert done.returncode == 127 and done.stderr.startswith("hakmem: '' is in no folder of PATH; check its name")


def test_not_executable(installed: Installed) -> None:
    plain = installed.scratch / "plain-file"
    plain.write_text("x")
    refused(installed, plain, "can't be run: it is no file that you may execute")
    refused(installed, installed.scratch, "can't be run: it is a folder")
    pipe = installed.scratch / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe, 0o777)
        pipe.chmod(0o777)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    refused(installed, pipe, "can't be run: it is no file that you may execute")


def test_several_programs_are_checked(installed: Installed, tells: Path) -> None:
    done = installed.run("check", tells, "nosuch-program", "/etc/passwd")
    assert done.returncode == 127 and len(done.stdout.splitlines()) == 3
    assert done.stdout.startswith(f"{tells}: hakmem can serve {tells}\n")


def test_a_missing_loader(installed: Installed, compiled: Callable[..., Path]) -> None:
    program = compiled("no-loader", ALLOCATES, "-Wl,--dynamic-linker=/nosuch/ld-linux-x86-64.so.2")
    refused(installed, program, "needs the loader /nosuch/ld-linux-x86-64.so.2, which can't be run: No such file")


def test_damaged_files_are_judged_without_a_crash(installed: Installed, compiled: Callable[..., Path]) -> None:
    """With AddressSanitizer: a program cut off or overwritten anywhere leads to some answer, never
    to an access beyond it."""
    make("hakmem", "VARIANT=asan")
    command = ROOT / "out/asan/hakmem"
    whole = compiled("own-malloc", OWN_MALLOC).read_bytes()
    chance = random.Random(42)
    folder = installed.scratch / "damaged"
    folder.mkdir(exist_ok=True)
    names = []
    for i in range(400):
        data = bytearray(whole)
        if i % 2:
            data = data[: chance.choice([chance.randrange(64), chance.randrange(1024), chance.randrange(len(data))])]
        for _ in range(chance.choice([0, 1, 8, 60]) if i % 2 else chance.choice([1, 8, 60])):
            if data:
                at = chance.randrange(min(len(data), chance.choice([64, 1000, 8192, len(whole)])))
                data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        data[:4] = b"\x7fELF"
        path = folder / f"program-{i}"
        path.write_bytes(bytes(data))
        path.chmod(0o755)
        names.append(str(path))
    done = subprocess.run(
        [str(command), "check", *names], capture_output=True, text=True, errors="replace", timeout=60,
        env=installed.environment(HAKMEM_LIBRARY=str(installed.library), ASAN_OPTIONS="detect_leaks=0"),
    )
    assert done.stderr == "" and done.returncode in (0, 126), done.stderr[:3000]
    lines = [line for line in done.stdout.split("\n")[:-1] if ": note: " not in line]
    assert len(lines) == len(names)
    reasons = [reason for reason in ("can serve", "is no program", "another allocator", "another machine", "statically")
               if any(reason in line for line in lines)]
    assert len(reasons) == 5
