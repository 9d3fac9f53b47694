"""Tests of the file of criteria: what is read from it, and what is said of mistakes."""
from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.gates.file import read_gates
from runner.gates.main import CRITERIA, KINDS
from runner.gates.needs import need_libraries
from runner.gates.values import share, time_span

HEAD = '[[criterion]]\nphase = 1\nname = "first"\nkind = "command"\ncommand = ["true"]\n\n'


def read(tmp_path: Path, text: str):
    path = tmp_path / "my gates.toml"
    path.write_text(text, "utf-8")
    return read_gates(path, KINDS)


def test_ours_has_all_that_the_phases_ask_for() -> None:
    gates = read_gates(CRITERIA, KINDS)
    kinds = {phase: [c.kind.name for c in gates.of_phase(phase)] for phase in (1, 2, 3)}
    assert set(kinds[1]) == {"run", "speed"} and set(kinds[2]) == {"run", "speed", "scaling"}
    assert set(kinds[3]) == {"command", "documents"}
    by_name = {(c.phase, c.name): c.values for c in gates.criteria}
    first = by_name[1, "larson, 8 threads, 100,000 operations each"]
    assert {"threads=8", "operations=100000"} <= set(first["matrix"]) and first["check"]
    assert "tsan" in [c.values["variant"] for c in gates.of_phase(1) if c.kind.name == "run"]
    assert by_name[1, "single-threaded speed"]["at_most_below"] == pytest.approx(0.05)
    assert by_name[2, "single-threaded speed"]["at_most_below"] == pytest.approx(0.03)
    assert by_name[2, "scaling"]["at_least"] == pytest.approx(0.7)
    assert "threads=1..16" in by_name[2, "larson, 1 to 16 threads"]["matrix"]
    commands = [c.values["command"] for c in gates.of_phase(3) if c.kind.name == "command"]
    assert ("./run_all_tests.sh",) in commands
    assert ("scripts/verify_atomic_freelist_conversion.sh",) in commands


def test_every_key_is_described_in_its_comments() -> None:
    comments = CRITERIA.read_text("utf-8").split("\nreference = ")[0]
    for kind in KINDS.values():
        part = comments.split(f'kind = "{kind.name}":')[1].split("# kind =")[0]
        for key in kind.parameters:
            assert re.search(rf"\b{key}\b", part), (kind.name, key)


def test_values_left_away_have_defaults(tmp_path: Path) -> None:
    gates = read(tmp_path, HEAD + '[[criterion]]\nphase = 2\nname = "n"\nkind = "run"\nworkloads = "larson"\n')
    assert [c.name for c in gates.of_phase(1)] == ["first"] and gates.reference == ""
    values = gates.of_phase(2)[0].values
    assert values["workloads"] == ("larson",) and values["variant"] == "release" and values["check"] is True
    with pytest.raises(UsageError, match=r"--phase 7: .* no criterion of that phase; it has 1, 2"):
        gates.of_phase(7)


@pytest.mark.parametrize(
    ("added", "line", "sentence"),
    [
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkload = "larson"\n', 11,
         "'workload' is no key of a criterion of kind run; did you mean 'workloads'?"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "runs"\n', 10,
         "'runs' is no kind of criterion; did you mean 'run'?"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = ["run"]\n', 10, "is no kind of criterion"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\n', 7, "the criterion 'n' has no 'workloads'"),
        ('[[criterion]]\nphase = 1\nnmae = "n"\nkind = "run"\n', 7, "no 'name'; is 'nmae' meant for it?"),
        ('[[criterion]]\nphase = "1"\nname = "n"\nkind = "documents"\n', 8, "phase: '1' must be a whole number"),
        ('[[criterion]]\nphase = true\nname = "n"\nkind = "documents"\n', 8, "phase: 'True' must be a whole"),
        ('[[criterion]]\nphase = 1\nname = "first"\nkind = "documents"\n', 9, "two criteria with the name 'first'"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkloads = "larsen"\n', 7, "'larsen' is no workload"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkloads = "redis"\n', 7, "is a real program"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkloads = "larson"\nmatrix = ["threads=0"]\n', 7,
         "0 is out of range"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkloads = "larson"\nvariant = "tsn"\n', 12,
         "variant: 'tsn' must be one of release, asan, tsan, guard; did you mean 'tsan'?"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "run"\nworkloads = "larson"\ncheck = 1\n', 12,
         "check: '1' must be true or false"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "speed"\nworkloads = "larson"\nat_most_below = 5\n', 12,
         'at_most_below: \'5\' must be a share from 0% to 100%'),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "speed"\nworkloads = "larson"\nat_most_below = 0\n', 7,
         "more than 0%"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "scaling"\nworkloads = "larson"\nthreads = "2,4"\n'
         'at_least = "70%"\n', 7, "it needs 1, to scale from"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "scaling"\nworkloads = "xmalloc"\nthreads = "1,2"\n'
         'at_least = "70%"\n', 7, "no single-threaded run"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "scaling"\nworkloads = "larson"\nthreads = "1,2"\n'
         'matrix = ["max=64,256"]\nat_least = "70%"\n', 7, "only threads may have several"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "command"\ncommand = "true"\n', 11, "must be a list of texts"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "command"\ncommand = ["true"]\ntime_limit = "soon"\n', 12,
         "time_limit: 'soon' must be a time above 0"),
        ('[[criterion]]\nphase = 1\nname = "n"\nkind = "documents"\npages = "x"\n', 11, "'pages' is no key"),
        ('[phases]\none = "x"\n', 8, "phases.one: write the phase's number"),
        ('[[criterion]\n', None, "it is no TOML: .*line 7"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, added: str, line, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, HEAD + added)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/my gates.toml{f':{line}' if line else ''}: "), text
    assert text.endswith(".") and "\n" not in text
    assert re.search(sentence if ".*" in sentence else re.escape(sentence), text), text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("referense = 'HEAD'\n" + HEAD, ":1: 'referense' is no key of this file; did you mean 'reference'?"),
        ("reference = 3\n" + HEAD, ":1: reference must be a text"),
        ("", ": there is no criterion in it"),
        ("criterion = 3\n", ":1: a criterion is a table"),
        ("[criterion]\nphase = 1\n", ":1: a criterion is a table"),
        ("phases = 3\n" + HEAD, ":1: phases must be a table"),
        ("x = " + "[" * 3000, ": it is"),
    ],
)
def test_a_mistake_at_the_top(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with pytest.raises(UsageError, match="it does not exist"):
        read_gates(path, KINDS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is no text in UTF-8"):
        read_gates(path, KINDS)
    with pytest.raises(UsageError, match="it is a directory"):
        read_gates(tmp_path, KINDS)


def test_shares_and_times() -> None:
    assert share("2.5%") == pytest.approx(0.025) and share(0.5) == 0.5 and share("100 %") == 1
    assert time_span(30) == 30 and time_span("1m30s") == 90 and time_span(0.25) == 0.25
    for wrong in ("5", "-5%", "101%", True, None, [5], float("nan")):
        with pytest.raises(ValueError, match="a share"):
            share(wrong)
    for wrong in (0, -1, True, "", "1d", None, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="a time"):
            time_span(wrong)


@pytest.mark.parametrize(
    ("here", "elsewhere", "needed"),
    [
        ({"tomllib", "numpy"}, set(), {}),
        ({"tomllib"}, {"tomllib", "numpy"}, {"tomllib", "numpy"}),
        ({"tomllib"}, set(), None),  # goes on: only speed can't be judged
        ({"numpy"}, {"tomli", "numpy"}, {"tomli", "numpy"}),
        (set(), {"tomli"}, {"tomli"}),
        (set(), set(), {"tomli"}),  # ends with a sentence that names the package
    ],
)
def test_another_python_is_looked_for(here: set, elsewhere: set, needed) -> None:
    asked: list[dict[str, str]] = []
    need_libraries(asked.append, ["--phase", "1"], here.__contains__,
                   lambda modules: set(modules.split(", ")) <= elsewhere)
    assert [set(packages) for packages in asked] == ([] if needed is None else [set(needed)])
    assert all(packages.get("tomli", "python3-tomli") == "python3-tomli" for packages in asked)


def test_this_python_reads_toml() -> None:
    assert importlib.util.find_spec("tomllib") or importlib.util.find_spec("tomli")
