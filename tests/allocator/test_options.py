"""Options: one table, from which parsing, HAKMEM_HELP and the documentation come."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Option:
    name: str
    default: str
    values: str
    text: str


def stderr_of(libhakmem: Path, **environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    done = subprocess.run(
        ["/bin/true"], capture_output=True, text=True, env={**clean, "LD_PRELOAD": str(libhakmem), **environment}
    )
    assert done.returncode == 0
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.fixture(scope="module")
def options(libhakmem: Path) -> list[Option]:
    return [Option(*line.split("\t")) for line in stderr_of(libhakmem, HAKMEM_HELP="table")]


def compiled(path: Path, body: str, libhakmem: Path) -> Path:
    path.with_suffix(".c").write_text(
        "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <hakmem.h>\n"
        f"int main(void) {{\n{body}\nreturn 0;\n}}\n"
    )
    subprocess.run(
        ["gcc", "-std=c11", "-D_GNU_SOURCE", "-fno-builtin", "-Wall", "-Werror", f"-I{ROOT}/allocator/include", f"{path}.c", "-o", str(path),
         str(libhakmem.resolve()), f"-Wl,-rpath,{libhakmem.resolve().parent}"],
        check=True,
    )
    return path


def test_the_table_holds_every_option(options: list[Option]) -> None:
    source = (ROOT / "allocator/base/options.c").read_text()
    assert [o.name for o in options] == re.findall(r'^\s*\[HAK_OPT_\w+\] = \{"(\w+)"', source, re.M)
    assert len(options) >= 15
    for option in options:
        assert option.text and option.values
        assert "|" not in option.text + option.values


def test_the_readme_has_the_same_table(options: list[Option]) -> None:
    rows = re.findall(r"^\| `(HAKMEM_\w+)` \| (.*) \| (.*) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    assert [Option(name, default.strip(), values, text) for name, text, values, default in rows] == options


@pytest.mark.parametrize("form", ["1", "list"])
def test_help_is_for_a_reader(form: str, options: list[Option], libhakmem: Path) -> None:
    lines = stderr_of(libhakmem, HAKMEM_HELP=form)
    assert lines[0] == "hakmem: its options are these environment variables"
    assert len(lines) == 1 + 2 * len(options)
    for option, first, second in zip(options, lines[1::2], lines[2::2]):
        assert first.split(None, 1) == [option.name, option.text]
        assert second.strip() == option.values + (f"; default {option.default}" if option.default else "")
    assert max(map(len, lines)) <= 110


def test_the_default_may_be_given_and_is_no_mistake(options: list[Option], libhakmem: Path) -> None:
    given = {o.name: o.default for o in options if o.default}
    assert stderr_of(libhakmem, **given) == []


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("HAKMEM_PURGE_DELAY", "soon", "is not a whole number from -1 to 3600000 ms; 200 is used"),
        ("HAKMEM_PURGE_DELAY", "-2", "is not a whole number from -1 to 3600000 ms; 200 is used"),
        ("HAKMEM_PURGE_DELAY", "+2", "is not a whole number from -1 to 3600000 ms; 200 is used"),
        ("HAKMEM_DEPOT", "99999999999999999999", "is not a whole number from 0 to 1048576 KiB; 512 is used"),
        ("HAKMEM_DEPOT", "1048577", "is not a whole number from 0 to 1048576 KiB; 512 is used"),
        ("HAKMEM_DEPOT", "", "is not a whole number from 0 to 1048576 KiB; 512 is used"),
        ("HAKMEM_STATS", "yes", "is not one of: 0, 1 or table, 2 or json; 0 is used"),
        ("HAKMEM_STATS", "3", "is not one of: 0, 1 or table, 2 or json; 0 is used"),
        ("HAKMEM_STATS_SIGNAL", "KILL", "is not one of: 0 (none), a name such as USR2, a number; 0 is used"),
        ("HAKMEM_STATS_SIGNAL", "19", "is not one of: 0 (none), a name such as USR2, a number; 0 is used"),
        ("HAKMEM_STATS_SIGNAL", "SEGV", "is not one of: 0 (none), a name such as USR2, a number; 0 is used"),
        ("HAKMEM_STATS_SIGNAL", "32", "is not one of: 0 (none), a name such as USR2, a number; 0 is used"),
        ("HAKMEM_STATS_SIGNAL", "65", "is not one of: 0 (none), a name such as USR2, a number; 0 is used"),
        ("HAKMEM_STATS_FILE", "", "is not a path of 1 to 4095 bytes; standard error is used"),
    ],
)
def test_a_wrong_value_is_one_line(option: str, value: str, complaint: str, libhakmem: Path) -> None:
    assert stderr_of(libhakmem, **{option: value}) == [f"hakmem: {option}={value} {complaint}"]


@pytest.mark.parametrize("value", ["USR2", "SIGUSR2", "12", "0", "WINCH", "34", "64"])
def test_signals_have_names_and_numbers(value: str, libhakmem: Path) -> None:
    assert stderr_of(libhakmem, HAKMEM_STATS_SIGNAL=value) == []


def test_a_long_value_of_several_lines_is_one_short_line(libhakmem: Path) -> None:
    lines = stderr_of(libhakmem, HAKMEM_DEPOT="1\n2\x1b[31m" + "x" * 2000)
    assert lines == ["hakmem: HAKMEM_DEPOT=1?2?[31m" + "x" * 52
                     + "... is not a whole number from 0 to 1048576 KiB; 512 is used"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("HAKMEM_STAT", "HAKMEM_STATS"), ("HAKMEM_STATSS", "HAKMEM_STATS"), ("HAKMEM_PURGE_DELY", "HAKMEM_PURGE_DELAY"),
     ("HAKMEM_PURGEDELAY", "HAKMEM_PURGE_DELAY"), ("HAKMEM_CHEK", "HAKMEM_CHECK"),
     ("HAKMEM_CRASHLOG", "HAKMEM_CRASH_LOG")],
)
def test_a_slip_in_a_name_is_reported(name: str, meant: str, libhakmem: Path) -> None:
    assert stderr_of(libhakmem, **{name: "1"}) == [f"hakmem: {name} is no option, and ignored; {meant} is one"]


@pytest.mark.parametrize("name", ["HAKMEM_REAL_LONG", "HAKMEM_TMP", "HAKMEM_HOME", "HAKMEM_", "HAKMEM_DEBUG",
                                  "HAKMEM_" + "X" * 300, "XHAKMEM_STATS", "hakmem_stat"])
def test_names_of_others_are_left_alone(name: str, libhakmem: Path) -> None:
    assert stderr_of(libhakmem, **{name: "1"}) == []


def test_options_of_a_running_program(libhakmem: Path, tmp_path: Path) -> None:
    program = compiled(tmp_path / "settings", r"""
    long value = 77;
    if (hak_option_get("HAKMEM_PURGE_DELAY", &value) || value != 150) return 1;
    if (hak_option_set("HAKMEM_PURGE_DELAY", -1)) return 2;
    if (hak_option_get("HAKMEM_PURGE_DELAY", &value) || value != -1) return 3;
    if (hak_option_set("HAKMEM_PURGE_DELAY", -2) != EINVAL) return 4;
    if (hak_option_get("HAKMEM_PURGE_DELAY", &value) || value != -1) return 5;
    const char *fixed[] = {"HAKMEM_STATS", "HAKMEM_CHECK", "HAKMEM_PAGE_MAP", "HAKMEM_MAGAZINE_MAX",
                           "HAKMEM_STATS_SIGNAL", "HAKMEM_CRASH_LOG", "HAKMEM_THP", "HAKMEM_HELP"};
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (hak_option_get(fixed[i], &value)) return 10;
        if (hak_option_set(fixed[i], 1) != EPERM) return 11;
        if (hak_option_set(fixed[i], 1000000) != EINVAL) return 12;
    }
    const char *free_to_change[] = {"HAKMEM_TINY_SS_ADOPT", "HAKMEM_ARENA_RESERVE", "HAKMEM_CACHE_HUGE",
                                    "HAKMEM_DEPOT", "HAKMEM_MAGAZINE_MIN"};
    for (unsigned i = 0; i < sizeof free_to_change / sizeof *free_to_change; i++) {
        if (hak_option_set(free_to_change[i], 1)) return 20;
        if (hak_option_get(free_to_change[i], &value) || value != 1) return 21;
        free(malloc(100000));
    }
    value = 77;
    if (hak_option_get("HAKMEM_STATS_FILE", &value) != EINVAL || value != 77) return 30;
    if (hak_option_set("HAKMEM_STATS_FILE", 1) != EINVAL) return 31;
    if (hak_option_get("HAKMEM_NONE", &value) != ENOENT || value != 77) return 32;
    if (hak_option_set("PURGE_DELAY", 1) != ENOENT) return 33;
    if (hak_option_get(0, &value) != ENOENT || hak_option_set(0, 1) != ENOENT) return 34;
    if (hak_option_get("HAKMEM_DEPOT", 0) != EINVAL) return 35;
    """, libhakmem)
    done = subprocess.run([str(program)], env=dict(os.environ, HAKMEM_PURGE_DELAY="150"), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_shorter_purge_delay_counts_at_once(libhakmem: Path, tmp_path: Path) -> None:
    program = compiled(tmp_path / "shorter", r"""
    static char *blocks[4000];
    uint64_t purged = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4000; i++)
            blocks[i] = malloc(2000);
        for (int i = 0; i < 4000; i++)
            free(blocks[i]);
        usleep(50000);
        if (hak_stats_get("purged_slabs", &purged)) return 2;
        if (purged) return 3; /* long before the delay that the program began with */
    }
    if (hak_option_set("HAKMEM_PURGE_DELAY", 10)) return 1;
    for (int round = 0; round < 1000 && !purged; round++) { /* what is free stays so, and time passes */
        usleep(5000);
        for (int i = 0; i < 1000; i++)
            blocks[i] = malloc(100);
        for (int i = 0; i < 1000; i++)
            free(blocks[i]);
        if (hak_stats_get("purged_slabs", &purged)) return 2;
    }
    return purged ? 0 : 4;
    """, libhakmem)
    done = subprocess.run([str(program)], env=dict(os.environ, HAKMEM_PURGE_DELAY="3600000"), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_arena_may_be_asked_for_later(libhakmem: Path, tmp_path: Path) -> None:
    program = compiled(tmp_path / "arena", r"""
    uint64_t before = 0, after = 0, none = 77;
    for (int i = 0; i < 20; i++)
        if (!malloc(1000000)) return 1;
    if (hak_stats_get("arena_single", &before) || before < 5) return 2;
    if (hak_option_set("HAKMEM_ARENA_RESERVE", 64)) return 3;
    for (int i = 0; i < 20; i++)
        if (!malloc(1000000)) return 4;
    if (hak_stats_get("arena_single", &after) || after != before) return 5;
    if (hak_stats_get(NULL, &none) != ENOENT || none != 77) return 6;
    """, libhakmem)
    done = subprocess.run([str(program)], env=dict(os.environ, HAKMEM_ARENA_RESERVE="0"), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_first_of_two_equal_names_counts(libhakmem: Path, tmp_path: Path) -> None:
    """As for getenv; some programs start others with an environment that names a variable twice."""
    child = compiled(tmp_path / "child", 'long v; hak_option_get("HAKMEM_DEPOT", &v); printf("%ld", v);', libhakmem)
    parent = compiled(tmp_path / "parent", """
    extern int execve(const char *, char *const *, char *const *);
    char *arguments[] = {"child", 0}, *environment[] = {"HAKMEM_DEPOT=7", "HAKMEM_DEPOT=9", 0};
    return execve("%s", arguments, environment);
    """ % child, libhakmem)
    done = subprocess.run([str(parent)], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"7", b"")


def test_a_setuid_program_does_not_trust_its_environment(libhakmem: Path, tmp_path: Path) -> None:
    """The library is linked: the system preloads nothing into such a program."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("making a program setuid, and becoming someone else, takes root and setpriv")
    program = compiled(tmp_path / "privileged",
                       'long v = -5; hak_option_get("HAKMEM_DEPOT", &v); printf("%ld", v);', libhakmem)
    static = program.with_name("static")
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.a"], check=True)
    subprocess.run(
        ["gcc", f"-I{ROOT}/allocator/include", f"{program}.c", "-o", str(static), str(ROOT / "out/release/libhakmem.a"),
         "-pthread"], check=True)
    shutil.chown(static, 0, 0)
    static.chmod(0o4755)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    environment = {"HAKMEM_DEPOT": "9", "HAKMEM_HELP": "1", "HAKMEM_STATS": "1"}
    someone = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*someone, str(static)], env={"PATH": os.environ["PATH"], **environment}, capture_output=True)
    if done.returncode == 126 or b"ermission denied" in done.stderr:
        pytest.skip("another user can't reach the temporary folder")
    if b"options" in done.stderr and "nosuid" in Path("/proc/mounts").read_text():
        pytest.skip("setuid has no effect where the temporary folder lies")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"512", b"")


def test_a_static_program_reads_them_too(libhakmem: Path, tmp_path: Path) -> None:
    """One that allocates nothing, and uses no name of the library but one."""
    compiled(tmp_path / "dynamic", "puts(hak_version());", libhakmem)
    subprocess.run(["make", "-s", "-C", str(ROOT), "libhakmem.a"], check=True)
    subprocess.run(["gcc", f"-I{ROOT}/allocator/include", f"{tmp_path}/dynamic.c", "-o", str(tmp_path / "static"),
                    str(ROOT / "out/release/libhakmem.a"), "-pthread", "-static"], check=True)
    done = subprocess.run([str(tmp_path / "static")], env={"HAKMEM_STATS": "1", "HAKMEM_DEPOT": "x"},
                          capture_output=True, text=True)
    assert done.returncode == 0
    assert "hakmem: HAKMEM_DEPOT=x is not a whole number" in done.stderr
    assert "hakmem: counters at exit\n" in done.stderr
