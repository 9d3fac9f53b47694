"""The stand-in for cmocka (tests/c/check_plain.h) fails when cmocka fails, and says so in the same way."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WARNINGS = (
    "-std=c11 -D_GNU_SOURCE -O2 -pthread -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes "
    "-Wmissing-prototypes -Wvla -Werror"
).split()


@dataclass(frozen=True)
class Case:
    name: str
    body: str
    passes: bool


# For each assertion what it must let through, and what not.
CASES = [
    Case("true_yes", "assert_true(one == 1);", True),
    Case("true_no", "assert_true(one == 2);", False),
    Case("false_yes", "assert_false(one == 2);", True),
    Case("false_no", "assert_false(one == 1);", False),
    Case("null_yes", "assert_null(nothing);", True),
    Case("null_no", "assert_null(text);", False),
    Case("non_null_yes", "assert_non_null(text);", True),
    Case("non_null_no", "assert_non_null(nothing);", False),
    Case("int_equal_yes", "assert_int_equal(one, 1); assert_int_equal(0 - one, -1);", True),
    Case("int_equal_no", "assert_int_equal(one, 2);", False),
    Case("int_equal_high_half", "assert_int_equal((uint64_t)one << 40, (uint64_t)one << 41);", False),
    Case("int_not_equal_yes", "assert_int_not_equal(one, 2);", True),
    Case("int_not_equal_no", "assert_int_not_equal(one, 1);", False),
    Case("ptr_equal_yes", "assert_ptr_equal(text, &text[0]);", True),
    Case("ptr_equal_no", "assert_ptr_equal(text, &text[1]);", False),
    Case("ptr_not_equal_yes", "assert_ptr_not_equal(text, &text[1]);", True),
    Case("ptr_not_equal_no", "assert_ptr_not_equal(text, &text[0]);", False),
    Case("range_low", "assert_in_range(one, 1, 3);", True),
    Case("range_high", "assert_in_range(3 * one, 1, 3);", True),
    Case("range_below", "assert_in_range(one, 2, 3);", False),
    Case("range_above", "assert_in_range(4 * one, 2, 3);", False),
    Case("string_yes", 'assert_string_equal(text, "abc");', True),
    Case("string_no", 'assert_string_equal(text, "abd");', False),
    Case("string_longer", 'assert_string_equal(text, "abcd");', False),
    Case("memory_yes", 'assert_memory_equal(text, "abd", 2);', True),
    Case("memory_no", 'assert_memory_equal(text, "abd", 3);', False),
    Case("fail_always", 'fail_msg("block %p of %d", (void *)text, one);', False),
    Case("verify_yes", "unsigned char b[40]; fill_block(b, 40); verify_block(b, 40);", True),
    Case("verify_no", "unsigned char b[40]; fill_block(b, 40); b[39] ^= 1; verify_block(b, 40);", False),
]
# What only the stand-in promises: where an assertion fails outside the case's own thread.
PLAIN_ONLY = [
    Case("in_a_thread", "pthread_t t; pthread_create(&t, NULL, failing, NULL); pthread_join(t, NULL);", False),
    Case(
        "in_a_child",
        "int status; pid_t child = fork(); if (child == 0) assert_true(one == 2);"
        "waitpid(child, &status, 0); assert_true(WIFEXITED(status)); assert_int_equal(WEXITSTATUS(status), 1);",
        True,
    ),
    Case("by_a_signal", "abort();", False),
]

HEAD = """\
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int one = 1;
static char letters[] = "abc"; /* volatile: the compiler may not know the answers */
static char *volatile text = letters;
static char *volatile nothing;
"""
FAILING = "static void *failing(void *argument) { assert_null(text); return argument; }\n"


def source(cases: list[Case]) -> str:
    code = HEAD + FAILING if cases[-1] in PLAIN_ONLY else HEAD
    for case in cases:
        code += f"static void {case.name}(void **state) {{ (void)state; (void)nothing; (void)one; {case.body} }}\n"
    units = "".join(f"cmocka_unit_test({case.name}),\n" for case in cases)
    return code + f"static const struct CMUnitTest tests[] = {{\n{units}}};\nCHECK_MAIN(tests)\n"


def compiled(folder: Path, name: str, cases: list[Case], *flags: str, compiler: str = "gcc") -> Path:
    code = folder / f"{name}.c"
    code.write_text(source(cases))
    subprocess.run(
        [compiler, *WARNINGS, *flags, f"-I{ROOT / 'tests/c'}", str(code), "-o", str(folder / name),
         *([] if "-DCHECK_PLAIN=1" in flags else ["-lcmocka"])],
        check=True,
    )
    return folder / name


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("check plain")
    return {
        "cmocka": compiled(folder, "cmocka", CASES),
        "plain": compiled(folder, "plain", CASES, "-DCHECK_PLAIN=1"),
        "only": compiled(folder, "only", PLAIN_ONLY, "-DCHECK_PLAIN=1"),
    }


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("form", ["plain", "cmocka"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_assertion_fails_when_it_should(programs: dict[str, Path], form: str, case: Case) -> None:
    done = run(programs[form], case.name)
    assert done.returncode == (0 if case.passes else 1), done.stdout + done.stderr
    assert "] 1 test(s) run" in done.stdout + done.stderr
    if not case.passes:
        assert re.search(r"\.[ch]:\d+", done.stderr), "the message names file and line"


@pytest.mark.parametrize("case", PLAIN_ONLY, ids=lambda case: case.name)
def test_a_failure_outside_the_case_is_seen(programs: dict[str, Path], case: Case) -> None:
    done = run(programs["only"], case.name)
    assert (done.returncode == 0) == case.passes, done.stdout + done.stderr
    assert ("test(s) run" in done.stdout) == case.passes


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ((), len(CASES)),
        (("null_*",), 2),
        (("range_?igh",), 1),
        (("null",), 0),
    ],
)
def test_cases_are_chosen_by_pattern(programs: dict[str, Path], pattern: tuple[str, ...], chosen: int) -> None:
    plain, cmocka = run(programs["plain"], *pattern), run(programs["cmocka"], *pattern)
    assert f"] {chosen} test(s) run" in plain.stdout
    assert f"] {chosen} test(s) run" in cmocka.stdout + cmocka.stderr
    assert plain.returncode == cmocka.returncode


def test_a_failure_does_not_end_the_others(programs: dict[str, Path]) -> None:
    done = run(programs["plain"])
    for case in CASES:
        result = "[       OK ]" if case.passes else "[  FAILED  ]"
        assert f"{result} {case.name}\n" in done.stdout


def test_clang_takes_it_without_a_warning(tmp_path: Path) -> None:
    if not shutil.which("clang"):
        pytest.skip("clang is not installed")
    program = compiled(tmp_path, "clang", CASES, "-DCHECK_PLAIN=1", compiler="clang")
    assert run(program, "true_no").returncode == 1
