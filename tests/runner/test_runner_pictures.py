"""Tests of the pictures: which are drawn, that they are readable, that their files are small and can stand
in one page, and what happens without matplotlib. Most draw in this process: starting matplotlib takes
longer than a picture."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from runner import pictures
from runner.verdict.comparison import METRICS, SAME, SLOWER, UNDECIDED, Answer, Comparison, Question, Side
from runner.errors import UsageError
from runner.results_file import read_run
from tests.runner.made_results import make_run

pytest.importorskip("matplotlib")
pytest.importorskip("numpy")
from plots import Picture, draw_all, draw_comparison  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"
MOST_BYTES = 105_000
EVERYBODY = ("hakmem", "mimalloc", "jemalloc", "tcmalloc", "tbbmalloc", "system")


def _draw(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "plots" / "draw.py"), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, cwd="/",
    )


def _texts(svg: Path) -> str:
    return " ".join(text for text in tree.parse(svg).getroot().itertext() if text.strip())


def _by_name(drawn: list[Picture]) -> dict[str, Picture]:
    names = {picture.name: picture for picture in drawn}
    assert len(names) == len(drawn)
    for picture in drawn:
        assert picture.name.startswith(picture.kind) and picture.title and picture.caption
        assert picture.png.read_bytes().startswith(PNG)
        assert picture.svg.stat().st_size < MOST_BYTES, picture.name
    return names


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Picture]:
    """The pictures of six allocators with 1 to 16 threads, with latencies, in a folder with a space."""
    folder = tmp_path_factory.mktemp("a folder")
    results = make_run(folder / "large.jsonl", builds=False, threads=range(1, 17), rounds=2, latency=True,
                       allocators=EVERYBODY)
    return _by_name(draw_all(results, folder / "pictures"))


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two builds of which the second is slower in one phase."""
    return make_run(tmp_path_factory.mktemp("builds") / "builds.jsonl", rounds=12,
                    effect={("larson", "handover", "ops_per_second"): 0.2})


def test_a_run_draws_pictures_that_its_summary_links(bench) -> None:
    done = subprocess.run(
        bench.command("--matrix", "threads=1,8", "--duration", "0.01", "--repeat", "2",
                      "--workloads", "larson", "--output", str(bench.results)),
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    folder = bench.results.with_name("run-plots")
    assert f"Plots:   {folder}" in done.stdout
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(f"{kind}-larson.{ending}" for ending in ("svg", "png")
                           for kind in ("throughput", "ratio", "memory", "tradeoff"))
    summary = bench.results.with_suffix(".md").read_text("utf-8")
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", summary)
    assert len(linked) == 4
    for link in linked:
        assert (bench.results.parent / link).read_bytes().startswith(PNG)


def test_every_kind_has_units_names_and_marks(large: dict[str, Picture]) -> None:
    assert list(large) == ["throughput-larson", "ratio-larson", "memory-larson", "tradeoff-larson",
                           "latency-larson"]
    words = {
        "throughput-larson": ["million operations a second", "threads", "more threads than the 2 cores"],
        "ratio-larson": ["hakmem / other", "equal"],
        "memory-larson": ["peak memory, MiB", "threads"],
        "tradeoff-larson": ["million operations a second", "peak memory, MiB", "hollow: more threads"],
        "latency-larson": ["time of a call, ns", "99.9%", "malloc, threads=1", "free, threads=16",
                           "more threads than cores"],
    }
    for name, expected in words.items():
        shown = _texts(large[name].svg)
        for word in (*expected, *EVERYBODY[1:]):
            assert word in shown, (name, word)
    assert "12 of 16 cells are left out" in large["latency-larson"].caption


def test_pictures_can_stand_in_one_page(large: dict[str, Picture]) -> None:
    seen: set[str] = set()
    for picture in large.values():
        text = picture.svg.read_text("utf-8")
        ids = re.findall(r' id="([^"]+)"', text)
        assert ids and len(ids) == len(set(ids)) and not seen & set(ids)
        assert set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text)) == set(ids)
        assert text.startswith("<svg ") and "<style" not in text and "DOCTYPE" not in text
        label = tree.fromstring(text).get("aria-label")
        assert label is not None and picture.title in label
        seen.update(ids)


@pytest.mark.parametrize(("options", "words"), [
    ({"threads": (1,)}, ["threads"]),
    ({"threads": (1, 2), "workloads": ("xmalloc", "redis")}, ["xmalloc", "threads"]),
])
def test_few_cells_and_programs(tmp_path: Path, options: dict, words: list[str]) -> None:
    results = make_run(tmp_path / "run.jsonl", builds=False, rounds=2, **options)
    drawn = _by_name(draw_all(results, tmp_path / "out", only=["throughput", "programs", "tradeoff"]))
    shown = " ".join(_texts(picture.svg) for picture in drawn.values())
    assert all(word in shown for word in words)
    assert ("programs-time" in drawn) == ("redis" in options.get("workloads", ()))


def test_panels_and_a_stranger_and_a_failure(bench, whole_allocator: Path) -> None:
    bench.behave(larson_hakmem=["crash"])
    done = bench.run("--workloads", "larson", "--duration", "0.01", "--repeat", "1", "--matrix",
                     "rounds=1,2,3", "--matrix", "max=1000,2000",
                     "--allocators", f"hakmem,system,none,a={whole_allocator}")
    assert done.returncode == 1
    drawn = _by_name(draw_all(bench.results, bench.results.parent / "pictures", only=["throughput"]))
    shown = _texts(drawn["throughput-larson"].svg)
    assert "hakmem (no result)" in shown and "max 1000" in shown and "rounds before" in shown


def test_the_phases_of_a_comparison(builds: Path, tmp_path: Path) -> None:
    drawn = _by_name(draw_all(builds, tmp_path, only=["regression", "ratio"]))
    picture = drawn["regression-throughput"]
    assert "1 slower" in picture.caption
    shown = _texts(picture.svg)
    for word in ("threads=1 · handover", "threads=1 · whole run", "← slower", "larson: throughput", "-20.",
                 "HEAD"):
        assert word in shown, word
    assert "#d55e00" in picture.svg.read_text("utf-8")
    assert not any(name.startswith("ratio") for name in drawn)


def _comparison(builds: Path, cells: list[str], changes: list[float], metric: str) -> Comparison:
    header = read_run(builds).header
    answers = [
        Answer(Question(cell, cell.split()[0], {}, 1, phase, metric),
               SLOWER if change < -0.05 else UNDECIDED if change else SAME, 1 + change,
               0.01 if change else 1.0, 1.05 + change, 10.0, 10 + change, 9, 0.02, 0.5)
        for cell in cells for phase, change in zip(("", "fill", "churn"), changes)
    ]
    sides = [Side(role, role, [], None, "1" * 40, True, None) for role in ("base", "new")]
    return Comparison(sides[0], sides[1], header.machine, True, 0.02, 0.01, 0.95, answers)


def test_the_largest_of_many_changes_are_drawn_and_the_rest_is_counted(
    builds: Path, tmp_path: Path
) -> None:
    cells = [f"{workload} threads={n} size=1024" for workload in ("larson", "xmalloc")
             for n in range(1, 17)]
    found = _comparison(builds, cells, [0.0, 0.01, -0.2], "ops_per_second")
    drawn = _by_name(draw_comparison(found, tmp_path))
    assert list(drawn) == ["regression-throughput"]
    picture = drawn["regression-throughput"]
    assert "32 slower, 32 undecided, 32 same" in picture.caption
    assert "The largest 30 of 96 changes" in picture.caption
    shown = _texts(picture.svg)
    assert shown.count("· churn") == 30 and "fill" not in shown
    assert "threads=1 · churn" in shown and "size=1024" not in shown  # which all cells share


def test_one_phase_of_a_cell_with_a_long_name(builds: Path, tmp_path: Path) -> None:
    cell = "bench_random_mixed threads=16 sizes=" + "long_name_" * 12
    for metric in ("exact_instructions_per_op", "malloc_p99"):
        assert metric in METRICS
        drawn = draw_comparison(_comparison(builds, [cell], [0.0], metric), tmp_path)
        labels = [text for text in re.findall(r">([^<]+)</text>", drawn[0].svg.read_text("utf-8"))
                  if "whole run" in text]
        assert len(labels) == 1 and len(labels[0]) < 60 and "…" in labels[0]


def test_the_same_results_give_the_same_pictures(builds: Path, tmp_path: Path, root: Path) -> None:
    only = "throughput-larson,regression-memory"
    draw_all(builds, tmp_path / "first", only=only.split(","))
    done = _draw(root, builds, "--out", tmp_path / "second", "--only", only)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 4 and len(done.stdout.splitlines()) == 4
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize(("arguments", "words"), [
    (["damaged.jsonl"], "damaged.jsonl:1"),
    (["no"], "does not exist"),
    ([], "name a results file"),
    (["run.jsonl", "--only", "throughputt"], "did you mean 'throughput'?"),
    (["run.jsonl", "--only", "latency"], "can show none of latency"),
    (["run.jsonl", "--out", "damaged.jsonl"], "not a directory"),
    (["--history", "nowhere.sqlite"], "there is no history"),
])
def test_wrong_use_is_one_sentence(
    arguments: list[str], words: str, builds: Path, tmp_path: Path, monkeypatch, capsys, root: Path
) -> None:
    (tmp_path / "damaged.jsonl").write_text("nothing\n")
    (tmp_path / "run.jsonl").write_bytes(builds.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(root / "runner"))
    from plots import draw

    monkeypatch.setattr(sys, "argv", ["draw.py", *arguments])
    assert draw.main() == 2
    complaint = capsys.readouterr().err
    assert words in complaint and len(complaint.strip().splitlines()) == 1


def test_an_unwritable_place_is_named(builds: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--out DIR|directory"):
        draw_all(builds, tmp_path / "file" / "inside")


def test_without_matplotlib_everything_else_is_there(bench, small, tmp_path: Path) -> None:
    """No interpreter is found that has it."""
    script = tmp_path / "start.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(bench.root)!r})\n"
        "from runner import pictures\n"
        "pictures.candidates = lambda: []\n"
        "from runner.main import main\nsys.exit(main(sys.argv[1:]))\n", "utf-8",
    )
    command = bench.command(*small, "--repeat", "1", "--output", str(bench.results))
    command[1] = str(script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "python3-matplotlib" in done.stdout and "Summary:" in done.stdout


def test_an_interpreter_without_the_module_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = tmp_path / "python3"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(pictures, "candidates", lambda: ["/no/such", str(bare), sys.executable])
    assert pictures.find_python("json") == sys.executable
    assert pictures.find_python("no_such_module_at_all") is None


def test_other_interpreters_do_not_get_our_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert pictures.environment_for(sys.executable)["PYTHONPATH"] == "/somewhere"
    assert "PYTHONPATH" not in pictures.environment_for("/another/python3")
    assert os.environ["PYTHONPATH"] == "/somewhere"
