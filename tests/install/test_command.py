"""hakmem run, where it works: the program is served by the library, and nothing else about it changes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from installing import ALLOCATES, ROOT, Installed, answers, make

# An allocator that gives memory out and never takes it back.
BUMP = r"""
#include <stddef.h>
static _Alignas(16) char memory[1 << 20];
static size_t used;
void *malloc(size_t n) { void *p = memory + used; used += (n + 15) & ~(size_t)15; return p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) {
    char *q = malloc(n);
    for (size_t i = 0; p && i < n; i++) q[i] = ((char *)p)[i];
    return q;
}
void free(void *p) { (void)p; }
"""


def test_the_program_is_served(installed: Installed, tells: Path) -> None:
    done = installed.run("run", tells)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.path.realpath(answers(done.stdout)["malloc"][0]) == os.path.realpath(installed.library)
    assert answers(installed.start(tells).stdout)["malloc"] != answers(done.stdout)["malloc"]


def test_statistics_prove_it(installed: Installed) -> None:
    done = installed.run("run", "-o", "stats=1", "/bin/ls", "/")
    assert done.returncode == 0 and "hakmem" in done.stderr
    assert "hakmem" not in installed.run("run", "/bin/ls", "/").stderr


def test_status_arguments_and_process_are_the_program_s(installed: Installed, tells: Path) -> None:
    process = subprocess.Popen(
        [str(installed.command), "run", "--", str(tells), "7", "-o", "a b", ""], stdout=subprocess.PIPE, text=True,
        env=installed.environment())
    output = process.communicate(timeout=60)[0]
    said = answers(output)
    assert process.returncode == 7
    assert said["pid"] == [str(process.pid)]
    assert said["argument"] == ["7", "-o", "a b", ""]
    assert said["name"] == [str(tells)]


def test_a_signal_is_the_program_s(installed: Installed) -> None:
    assert installed.run("run", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_found_along_the_path(installed: Installed, tells: Path) -> None:
    empty = installed.scratch / "no program here"
    empty.mkdir(exist_ok=True)
    (empty / "tells").mkdir(exist_ok=True)  # a folder of this name is none
    done = installed.run("run", "tells", env={"PATH": f"/nosuch:{empty}:{tells.parent}"})
    assert answers(done.stdout)["name"] == ["tells"]
    assert installed.run("run", "tells", env={"PATH": ":/nosuch"}).returncode == 0  # empty: this folder
    assert installed.run("run", "./tells").returncode == 0


def test_children_are_served_too(installed: Installed, tells: Path) -> None:
    done = installed.run("run", "sh", "-c", f"'{tells}'; cd /; '{installed.command}' run '{tells}'")
    served = answers(done.stdout)["malloc"]
    assert len(served) == 2
    assert {os.path.realpath(path) for path in served} == {os.path.realpath(installed.library)}
    assert ":" not in answers(done.stdout)["preload"][1]  # named once


def test_another_preload_is_kept_behind(installed: Installed, tells: Path, compiled: Callable[..., Path]) -> None:
    other = compiled("other.so", "int other_one(void) { return 1; }", "-shared", "-fPIC")
    mallocs = compiled("another-malloc.so", BUMP, "-shared", "-fPIC")
    done = installed.run("run", tells, env={"LD_PRELOAD": f"{other}:{mallocs}"})
    said = answers(done.stdout)
    assert said["preload"][0].endswith(f":{other}:{mallocs}")
    assert os.path.realpath(said["malloc"][0]) == os.path.realpath(installed.library)


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["-o", "purge_delay=0"], ["-opurge-delay=0"], ["-o", "HAKMEM_PURGE_DELAY=0"], ["-o", "Purge_Delay=0"],
    ["-o", "purge_delay=5", "-o", "stats=0", "-o", "purge_delay=0"]])
def test_options_reach_the_program(installed: Installed, tells: Path, words: list[str]) -> None:
    done = installed.run("run", *words, tells, env={"HAKMEM_PURGE_DELAY": "77"})
    assert (done.returncode, done.stderr) == (0, "")
    assert answers(done.stdout)["delay"] == ["0"]


def test_values_may_hold_anything(installed: Installed, tells: Path) -> None:
    file = installed.scratch / "a=b c"
    done = installed.run("run", "-o", f"stats_file={file}", "-o", "stats=json", "/bin/ls", "/")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "message"), [
    (["-o", "purge_dely=0", "ls"], "-o purge_dely: there is no such option; 'hakmem options' lists them"),
    (["-o", "=0", "ls"], "-o =0 is not NAME=VALUE"),
    (["-o", "purge_delay", "ls"], "-o purge_delay is not NAME=VALUE"),
    (["-o", "", "ls"], "is not NAME=VALUE"),
    (["-o", "purge_delay=soon", "ls"], "-o HAKMEM_PURGE_DELAY=soon is not a whole number from -1 to 3600000 ms"),
    (["-o", "purge_delay=", "ls"], "-o HAKMEM_PURGE_DELAY= is not a whole number"),
    (["-o", "purge_delay=-2", "ls"], "-o HAKMEM_PURGE_DELAY=-2 is not"),
    (["-o", "stats=json", "-o", "tiny_ss_adopt=2", "ls"], "-o HAKMEM_TINY_SS_ADOPT=2 is not"),
    (["-o", "help=9", "ls"], "-o HAKMEM_HELP=9 is not"),
    (["-o"], "-o lacks its OPTION=VALUE"),
    (["-x", "ls"], "run has no option '-x'"),
    (["--stats", "ls"], "run has no option '--stats'"),
    ([], "run lacks the program"),
    (["-o", "purge_delay=0"], "run lacks the program"),
    (["--"], "run lacks the program"),
])
def test_wrong_words_after_run(installed: Installed, words: list[str], message: str) -> None:
    done = installed.run("run", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), [
    (["walk"], "there is no command 'walk' (run, check, options)"), (["check"], "check lacks the program"),
    (["check", "--all"], "check has no option '--all'"), (["options", "--json"], "not '--json'"),
    (["options", "--table", "x"], "not 'x'"), ([], "usage: hakmem run")])
def test_wrong_words(installed: Installed, words: list[str], message: str) -> None:
    done = installed.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_options_are_listed(installed: Installed) -> None:
    text = installed.run("options")
    assert text.returncode == 0 and text.stderr == ""
    for line in installed.run("options", "--table").stdout.splitlines():
        assert line.split("\t")[0] in text.stdout
    assert "HAKMEM_PURGE_DELAY\t200\t-1 to 3600000 ms\t" in installed.run("options", "--table").stdout


def test_version_and_help(installed: Installed) -> None:
    done = installed.run("--version")
    assert done.returncode == 0 and done.stdout.startswith("hakmem 0.")
    assert installed.run("--help").stdout.startswith("usage: hakmem run")


def test_a_full_disk_is_no_success(installed: Installed) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(installed.command), "options"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=installed.environment())
    assert done.returncode == 1 and "can't be written" in done.stderr


# ---- the library ---------------------------------------------------------------------------------


def test_from_a_path_that_ld_preload_can_name(installed: Installed, tells: Path) -> None:
    plain = Path(shutil.copytree(installed.prefix, installed.scratch / "plain", symlinks=True, dirs_exist_ok=True))
    done = Installed(plain, installed.scratch).run("run", tells)
    assert answers(done.stdout)["preload"] == [str(plain / "lib/libhakmem.so.0")]


def test_from_the_tree_it_was_built_in(installed: Installed, tells: Path) -> None:
    done = installed.start(ROOT / "out/release/hakmem", "run", tells)
    assert os.path.realpath(answers(done.stdout)["malloc"][0]) == str(ROOT.resolve() / "out/release/libhakmem.so")


def test_from_folders_set_apart(installed: Installed, tells: Path) -> None:
    """BINDIR and LIBDIR that tell nothing of each other."""
    places = [f"PREFIX={installed.scratch}/p", f"BINDIR={installed.scratch}/b/c", f"LIBDIR={installed.scratch}/l"]
    make("install", *places)
    done = installed.start(installed.scratch / "b/c/hakmem", "run", tells)
    assert answers(done.stdout)["preload"] == [f"{installed.scratch}/l/libhakmem.so.0"], done.stderr
    make("uninstall", *places)


@pytest.mark.parametrize("name", ["a prefix/lib/libhakmem.so", "a prefix/bin/../lib/libhakmem.so.0"])
def test_named_in_the_environment(installed: Installed, tells: Path, name: str) -> None:
    done = installed.run("run", tells, env={"HAKMEM_LIBRARY": name})
    said = answers(done.stdout)
    assert os.path.realpath(said["malloc"][0]) == os.path.realpath(installed.library)
    assert said["preload"][0].startswith("/")


@pytest.mark.parametrize(("name", "message"), [
    ("/nosuch/lib.so", "HAKMEM_LIBRARY=/nosuch/lib.so can't be read (No such file or directory)"),
    ("nosuch.so", "HAKMEM_LIBRARY=nosuch.so can't be read"),
    ("/tmp/", "HAKMEM_LIBRARY=/tmp/ can't be read (Is a directory)"),
    ("/tmp", "the library /tmp can't be read: Is a directory"),
    ("/etc/passwd", "/etc/passwd is no library"),
    ("tells", "is not hakmem's library"),
    ("libc", "is not hakmem's library"),
])
def test_a_wrong_library(installed: Installed, tells: Path, name: str, message: str) -> None:
    if name == "libc":
        name = subprocess.run(["gcc", "-print-file-name=libc.so.6"], capture_output=True, text=True).stdout.strip()
    for words in (["run", tells], ["check", tells], ["options"]):
        done = installed.run(*words, env={"HAKMEM_LIBRARY": name})
        assert (done.returncode, done.stdout) == (126, "")
        assert message in done.stderr


def test_a_library_that_is_not_there(installed: Installed, tells: Path) -> None:
    alone = installed.scratch / "alone"
    alone.mkdir(exist_ok=True)
    make("hakmem", "PREFIX=/nosuch", f"OUT={alone}/out")
    done = installed.start(alone / "out/hakmem", "run", tells)
    assert done.returncode == 126
    assert "neither beside this command" in done.stderr and "in /nosuch/lib; install hakmem again" in done.stderr


def test_a_library_that_does_not_load(installed: Installed, tells: Path, compiled: Callable[..., Path]) -> None:
    """It passes for hakmem's, but needs what isn't there: -o asks it, and the loader says so."""
    broken = compiled(
        "broken.so", "#include <stddef.h>\nextern int nowhere(void);\nvoid *malloc(size_t n) { return n + (char *)0 +"
        " nowhere(); }\nconst char *hak_version(void) { return 0; }\n", "-shared", "-fPIC", "-Wl,-z,now")
    done = installed.run("run", "-o", "stats=1", tells, env={"HAKMEM_LIBRARY": str(broken)})
    assert done.returncode == 126
    assert "does not load: " in done.stderr and "nowhere" in done.stderr
    silent = compiled("silent.so", BUMP + "int hak_version(void) { return 0; }\n", "-shared", "-fPIC")
    for words in (["options"], ["run", "-o", "stats=1", tells]):
        done = installed.run(*words, env={"HAKMEM_LIBRARY": str(silent)})
        assert done.returncode == 126 and "does not tell its options" in done.stderr


# ---- links for paths that LD_PRELOAD can't name ---------------------------------------------------


def test_the_link_is_the_user_s_own(installed: Installed, tells: Path) -> None:
    base = installed.scratch / "one"
    base.mkdir()
    environment = {"TMPDIR": str(base)}
    link = Path(answers(installed.run("run", tells, env=environment).stdout)["preload"][0])
    assert link.parent == base / f"hakmem-{os.geteuid()}"
    assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
    assert os.readlink(link) == str(installed.library)
    link.unlink()
    link.symlink_to("/nosuch/stale.so")
    said = answers(installed.run("run", tells, env=environment).stdout)
    assert os.path.realpath(said["malloc"][0]) == os.path.realpath(installed.library)
    assert sorted(link.parent.iterdir()) == [link]


@pytest.mark.parametrize("trap", ["others may write", "a link", "another user's"])
def test_no_link_where_others_could_change_it(installed: Installed, tells: Path, trap: str) -> None:
    base = installed.scratch / trap.split()[-1].replace("'", "")
    base.mkdir()
    own = base / f"hakmem-{os.geteuid()}"
    if trap == "a link":
        own.symlink_to(installed.scratch / "links")
    else:
        own.mkdir()
        if trap == "others may write":
            own.chmod(0o777)
        elif os.geteuid() == 0:
            os.chown(own, 65534, 65534)
        else:
            pytest.skip("only root can give a folder away")
    done = installed.run("run", tells, env={"TMPDIR": str(base)})
    assert (done.returncode, done.stdout) == (126, "")
    assert "LD_PRELOAD can't name" in done.stderr and "set HAKMEM_LIBRARY" in done.stderr
    link = installed.scratch / "plainer.so"
    link.unlink(missing_ok=True)
    link.symlink_to(installed.library)  # the remedy
    assert installed.run("run", tells, env={"TMPDIR": str(base), "HAKMEM_LIBRARY": str(link)}).returncode == 0


def test_a_folder_for_temporary_files_that_can_t_be_named(installed: Installed, tells: Path) -> None:
    done = installed.run("run", tells, env={"TMPDIR": str(installed.prefix)})
    link = Path(answers(done.stdout)["preload"][0])
    assert link.parent == Path(f"/tmp/hakmem-{os.geteuid()}")
    link.unlink()
    try:
        link.parent.rmdir()
    except OSError:
        pass  # it was there before


def test_an_allocator_that_is_linked_is_replaced(installed: Installed, compiled: Callable[..., Path]) -> None:
    jemalloc = subprocess.run(["gcc", "-print-file-name=libjemalloc.so.2"], capture_output=True, text=True)
    if not jemalloc.stdout.startswith("/"):
        pytest.skip("libjemalloc2 is not installed")
    program = compiled("with-jemalloc", ALLOCATES, "-Wl,--no-as-needed", jemalloc.stdout.strip())
    said = installed.run("check", program)
    assert said.returncode == 0 and "note: it is linked with libjemalloc.so.2, too" in said.stdout
    done = installed.run("run", "-o", "stats=1", program)
    assert done.returncode == 0 and "hakmem" in done.stderr
