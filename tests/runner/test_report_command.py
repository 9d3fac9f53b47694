"""Tests of report.py from the outside: what it writes, with good input and bad, and that it asks nobody."""
from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Union

import pytest
from made_results import edit_records, make_run, read_records, write_records

pytest.importorskip("jinja2")
pytest.importorskip("numpy")

from runner.reports.files import write_whole  # noqa: E402
from runner.reports.main import main  # noqa: E402
from runner.reports.markdown import MARKER  # noqa: E402
from runner.reports.model import Shown  # noqa: E402
from runner.reports.pictures import link_to  # noqa: E402

SLOWER = {("larson", "", "ops_per_second"): 0.2}


def report(root: Path, *arguments: object, **other: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "runner" / "report.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, **other)  # type: ignore[call-overload]


class Done(NamedTuple):
    """What came of a call."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The same as `report` without a process of its own, which would cost most of the time."""

    def run(*arguments: object) -> Done:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with monkeypatch.context() as kept:
            kept.setattr(sys, "stdout", sys.stdout)  # main puts another in its place
            try:
                status = main([str(argument) for argument in arguments], lambda _: None)
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


def refused(done: Union[subprocess.CompletedProcess[str], Done], *words: str) -> None:
    """The command ended with one sentence that names what is wrong."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("report.py: ") and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("the results")


@pytest.fixture(scope="module")
def compared(folder: Path) -> Path:
    return make_run(folder / "com pared.jsonl", rounds=12, effect=SLOWER)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return make_run(folder / "plain.jsonl", builds=False, rounds=6, threads=(1, 2))


def test_a_comparison_becomes_markdown_and_a_page_with_pictures(root: Path, compared: Path) -> None:
    pytest.importorskip("matplotlib")
    done = report(root, compared.name, cwd=compared.parent)
    assert done.returncode == 0, done.stderr
    text = (compared.parent / "com pared-report.md").read_text("utf-8")
    first = text.splitlines()[0]
    assert first.startswith("**HEAD (222222222) is slower than HEAD\\~1 (111111111)**: 2")
    assert "% lower throughput in larson threads=1 (" in first
    assert text.splitlines()[1] == MARKER
    assert done.stdout.splitlines()[1:] == ["com pared-report.html", "com pared-report.md"]
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert links and all((compared.parent / link.replace("%20", " ")).is_file() for link in links)
    page = (compared.parent / "com pared-report.html").read_text("utf-8")
    assert page.count("<figure>") == len(links) and "data:image/svg+xml," in page
    assert [path.name for path in compared.parent.iterdir() if path.name.startswith(".")] == []


def test_two_files_are_base_and_new(
    call: Callable[..., Done], folder: Path, plain: Path
) -> None:
    other = make_run(folder / "other.jsonl", builds=False, rounds=6, threads=(1, 2), effect=0.3, seed=2)
    edit_records(other, lambda r: {**r, "id": "another"} if r["record"] == "run" else r)
    for arguments in ([plain, other], [other, "--base", plain]):
        done = call(*arguments, "--markdown", "-", "--no-pictures")
        assert done.returncode == 0, done.stderr
        assert "slower than" in done.stdout.splitlines()[0] and MARKER in done.stdout


def test_the_page_of_a_full_matrix_is_small_and_soon_written(root: Path, tmp_path: Path) -> None:
    """Three workloads, six allocators, 1 to 16 threads, ten rounds: with all its pictures."""
    pytest.importorskip("matplotlib")
    path = make_run(
        tmp_path / "full.jsonl", builds=False, rounds=10, threads=range(1, 17),
        workloads=("larson", "bench_random_mixed", "xmalloc"),
        allocators=("hakmem", "mimalloc", "jemalloc", "tcmalloc", "tbbmalloc", "system"), count_noise=0.01,
    )
    began = os.times()
    done = report(root, path, "--html", tmp_path / "full.html")
    ended = os.times()
    assert done.returncode == 0, done.stderr
    spent = ended.children_user + ended.children_system - began.children_user - began.children_system
    assert spent < 40, "seconds of processor time, of all its processes"
    text = (tmp_path / "full.html").read_text("utf-8")
    assert len(text.encode("utf-8")) < 2_000_000 and text.count("<figure>") == 12
    assert "hakmem is faster than the fastest other allocator in " in text
    assert "larson: throughput, million operations a second" in text


def test_one_run_is_about_its_subject(call: Callable[..., Done], plain: Path) -> None:
    done = call(plain, "--markdown", "-", "--no-pictures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("**hakmem is ")
    assert "the fastest other allocator in" in done.stdout.splitlines()[0]
    assert "larson: throughput, million operations a second" in done.stdout


def test_pictures_are_linked_relative_to_the_markdown_or_by_a_prefix(tmp_path: Path) -> None:
    picture = Shown("ratio", "", "", tmp_path / "p" / "a b.svg", tmp_path / "p" / "a b.png")
    assert link_to(picture, tmp_path / "x.md", None) == "p/a b.png"
    assert link_to(picture, tmp_path / "q" / "x.md", None) == "../p/a b.png"
    assert link_to(picture, tmp_path / "x.md", "https://example.org/x/") == "https://example.org/x/a b.png"


def test_what_fails_on_the_new_side_is_said_first(call: Callable[..., Done], tmp_path: Path) -> None:
    path = make_run(tmp_path / "x.jsonl", rounds=8, fail=[(n, "new") for n in range(9)])
    done = call(path, "--markdown", "-", "--no-pictures")
    assert done.returncode == 0, done.stderr
    assert "fails where" in done.stdout.splitlines()[0] and "### Fails: 1" in done.stdout
    assert "killed by signal 11" in done.stdout.splitlines()[0]


def test_profiles_and_history_are_added(root: Path, compared: Path, tmp_path: Path) -> None:
    profile = tmp_path / "pro files" / "larson"
    profile.mkdir(parents=True)
    (profile / "flame-new.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" height="50"></svg>')
    (profile / "profile.json").write_text(json.dumps({
        "cell": "larson threads=1", "title": "HEAD", "flame": "flame-new.svg", "sentences": ["It is hot."],
        "tables": [{"title": "Hot functions", "headings": ["function", "share"], "rows": [["my_malloc", "9%"]]}],
        "against": None, "difference": None,
    }))
    history = tmp_path / "history.sqlite"
    added = subprocess.run(
        [sys.executable, str(root / "runner" / "history.py"), "add", str(compared), "--db", str(history)],
        capture_output=True, text=True, timeout=60,
    )
    assert added.returncode == 0, added.stderr
    done = report(root, compared, "--markdown", tmp_path / "r.md", "--html", tmp_path / "r.html",
                  "--profiles", profile.parent, "--history", history, "--no-pictures")
    assert done.returncode == 0, done.stderr
    for name in ("r.md", "r.html"):
        text = (tmp_path / name).read_text("utf-8")
        assert "my_malloc" in text and "It is hot." in text and "History" in text
    assert 'height=\\"50\\"' in (tmp_path / "r.html").read_text("utf-8")


def test_without_matplotlib_a_sentence_takes_the_pictures_place(
    root: Path, plain: Path, tmp_path: Path
) -> None:
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['matplotlib'] = None\nimport runner.pictures\n"
        "runner.pictures.find_python = lambda module='': None\n"
    )
    done = report(root, plain, "--markdown", tmp_path / "a.md", "--html", tmp_path / "a.html",
                  env={**os.environ, "PYTHONPATH": f"{tmp_path / 'hide'}:{root}"})
    assert done.returncode == 0, done.stderr
    for name in ("a.md", "a.html"):
        text = html.unescape((tmp_path / name).read_text("utf-8"))
        assert "install Debian's package python3-matplotlib" in text


def test_bad_results_are_refused_in_a_sentence(call: Callable[..., Done], tmp_path: Path) -> None:
    good = make_run(tmp_path / "good.jsonl", builds=False, rounds=3)
    out = ["--html", tmp_path / "x.html", "--no-pictures"]
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(good.read_bytes().replace(b'"round":2', b'"round":?', 1))
    failed = make_run(tmp_path / "failed.jsonl", builds=False, rounds=3, allocators=["hakmem"],
                      fail=[(n, "hakmem") for n in range(4)])
    edit_records(failed, lambda r: None if r.get("warmup") else r)
    header = write_records(tmp_path / "header.jsonl", read_records(good)[:1])
    newer = edit_records(make_run(tmp_path / "new.jsonl"), lambda r: {**r, "schema_version": 99}
                         if r["record"] == "run" else r)
    (tmp_path / "nothing").mkdir()
    for path, words in (
        (tmp_path / "missing.jsonl", ["missing.jsonl", "does not exist"]), (empty, ["empty.jsonl", "measure"]),
        (damaged, ["damaged.jsonl:", "damaged"]), (failed, ["failed.jsonl", "no good sample", "signal 11"]),
        (header, ["header.jsonl", "no good sample"]), (newer, ["new.jsonl", "99"]),
        (tmp_path / "nothing", ["nothing", "no results file"]),
    ):
        refused(call(path, *out), *words)
    assert not (tmp_path / "x.html").exists()


def test_bad_arguments_are_refused_before_anything_is_read(call: Callable[..., Done], plain: Path, tmp_path: Path) -> None:
    keep = plain.read_bytes()
    blocked = tmp_path / "file"
    blocked.write_text("")
    for arguments, words in (
        ([], ["RESULTS"]), ([plain, "--htlm", "x"], ["--htlm", "--html"]),
        ([plain, plain, plain], ["3 results", "--base"]), ([plain, "--html", plain], ["results file itself"]),
        ([plain, "--html", tmp_path], ["is a directory"]), ([plain, "--markdown", ""], ["--markdown", "empty"]),
        ([plain, "--html", blocked / "x.html"], ["x.html", "directory"]),
        ([plain, "--markdown", tmp_path / "a", "--html", tmp_path / "a"], ["already"]),
        ([plain, "--effect", "2%"], ["--effect", "no comparison"]),
        ([plain, plain, "--effect", "banana"], ["--effect", "banana"]),
        ([plain, "--profiles", tmp_path / "none"], ["--profiles", "does not exist"]),
        ([plain, "--profiles", tmp_path], ["--profiles", "profile.json"]),
        ([plain, "--history", tmp_path / "none"], ["none"]),
    ):
        target = [] if "--html" in arguments or "--markdown" in arguments else ["--markdown", tmp_path / "o.md"]
        refused(call(*arguments, *target, "--no-pictures"), *words)
    assert plain.read_bytes() == keep and not (tmp_path / "o.md").exists()


def test_a_damaged_profile_is_named(call: Callable[..., Done], plain: Path, tmp_path: Path) -> None:
    for text in ("", "[]", '{"tables": 7}', '{"tables": [{"title": "t", "headings": ["a"], "rows": [["b", "c"]]}]}'):
        (tmp_path / "profile.json").write_text(text)
        refused(call(plain, "--markdown", "-", "--profiles", tmp_path, "--no-pictures"),
                "profile.json", "damaged")


def test_an_old_report_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(path)
    write_whole(link, "new \ud800 text", "--markdown FILE")
    assert path.read_text() == "new ? text" and link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.md", "x.md"]


def test_an_interrupt_leaves_nothing_half_written(root: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "large.jsonl", builds=False, rounds=120, threads=range(1, 9))
    page, interrupted = tmp_path / "x.html", 0
    for delay in (0.2, 0.4, 0.6, 0.8):
        process = subprocess.Popen(
            [sys.executable, str(root / "runner" / "report.py"), str(path), "--html", str(page), "--no-pictures"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT) and "Traceback" not in said
        interrupted += process.returncode != 0
        # A signal that comes once the page has its name, before the process has ended, leaves the page, whole.
        if page.exists():
            assert page.read_text().rstrip().endswith("</html>")
            page.unlink()
        assert [entry.name for entry in tmp_path.iterdir()] == ["large.jsonl"]
    assert interrupted, "no signal came before the report was done: begin with a shorter delay"


def test_a_plain_python_finds_one_with_the_libraries(root: Path, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "hide").mkdir()
    for name in ("jinja2", "numpy", "matplotlib"):
        (tmp_path / "hide" / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    done = report(root, plain, "--html", tmp_path / "x.html", "--no-pictures",
                  env={**os.environ, "PYTHONPATH": str(tmp_path / "hide")})
    # Another Python may have jinja2; where none has, a sentence says what to install.
    if done.returncode == 0:
        assert (tmp_path / "x.html").is_file()
    else:
        assert done.returncode == 2 and "python3-jinja2" in done.stderr
