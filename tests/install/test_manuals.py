"""The manual pages: well-formed, complete, and in agreement with the header and the program."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from installing import ROOT, Installed, declared

PAGES = ["man1/hakmem.1", "man3/hakmem.3", "man7/hakmem.7"]


@pytest.mark.parametrize("page", PAGES)
def test_well_formed(installed: Installed, page: str) -> None:
    path = str(installed.prefix / "share/man" / page)
    checked = False
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        checked = True
    if shutil.which("man") and shutil.which("groff"):
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        checked = True
    if not checked:
        pytest.skip("neither mandoc nor groff is installed")


def page_text(number: int) -> str:
    return (ROOT / f"man/hakmem.{number}").read_text()


def test_every_public_function_is_described() -> None:
    page = page_text(3)
    name, rest = page.split(".Sh LIBRARY")
    synopsis, description = rest.split(".Sh DESCRIPTION")
    assert set(re.findall(r"^\.Nm (hak_\w+)", name, flags=re.M)) == declared()
    assert set(re.findall(r"^\.Ft (?!typedef).*\n\.Fn (hak_\w+)", synopsis, flags=re.M)) == declared()
    missing = {f for f in declared() if not re.search(rf"^\.(Fn|It Fn) {f}\b", description, flags=re.M)}
    assert missing == set()


def test_arguments_are_those_of_the_header() -> None:
    """.Fn hak_free "void *block" and the declaration agree."""
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "allocator/include/hakmem.h").read_text(), flags=re.S)
    synopsis = page_text(3).split(".Sh SYNOPSIS")[1].split(".Sh DESCRIPTION")[0]
    declarations = {}
    for result, name, arguments in re.findall(r"^HAKMEM_API\s+([^;()]*?)(hak_\w+)\(([^;]*)\);", header, flags=re.M):
        declarations[name] = (" ".join(result.split()), " ".join(arguments.split()))
    assert set(declarations) == declared()
    page = {}
    for result, name, arguments in re.findall(r"^\.Ft (?!typedef)(.*)\n\.Fn (\w+) ?(.*)$", synopsis, flags=re.M):
        words = re.findall(r'"([^"]*)"', arguments) or [arguments]
        page[name] = (result, ", ".join(words))
    assert page == declarations


def test_options_are_what_the_program_says(installed: Installed) -> None:
    done = subprocess.run(
        [str(ROOT / "man/update_options.sh"), "--check", str(installed.command)], capture_output=True, text=True,
        env=installed.environment())
    assert done.returncode == 0, done.stderr
    table = installed.run("options", "--table").stdout.splitlines()
    assert len(table) >= 10
    for line in table:
        name, preset, values, text = line.split("\t")
        assert f".It Ev {name}\n" in page_text(7)


def test_a_page_that_is_out_of_date_is_found(installed: Installed, tmp_path) -> None:
    copy = tmp_path / "man"
    shutil.copytree(ROOT / "man", copy)
    page = copy / "hakmem.7"
    old = page.read_text()
    page.write_text(old.replace("default 200", "default 100"))
    command = [str(copy / "update_options.sh"), str(installed.command)]
    done = subprocess.run([command[0], "--check", command[1]], capture_output=True, text=True,
                          env=installed.environment())
    assert done.returncode == 1 and "hakmem.7 is not what" in done.stderr
    subprocess.run(command, check=True, env=installed.environment())
    assert page.read_text() == old


def test_the_command_s_page_has_its_words(installed: Installed) -> None:
    page = page_text(1)
    usage = installed.run("--help").stdout
    for word in ("run", "check", "options"):
        assert re.search(rf"^\.It Cm {word}$", page, flags=re.M) and f"hakmem {word}" in usage
    for option in re.findall(r"--([a-z]+)", usage):
        assert f"Fl -{option}" in page or f"| -{option}" in page
