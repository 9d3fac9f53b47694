"""Tests of trends: where changes are found and where not, how they are named, and their pictures."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy")

from runner.trends.add import add_file  # noqa: E402
from runner.trends.changes import exact_changes, find_changes  # noqa: E402
from runner.trends.store import open_to_read  # noqa: E402
from runner.trends.trend import Wanted, find_trends  # noqa: E402
from tests.runner.made_results import make_run  # noqa: E402


def _noise(generator: numpy.random.Generator, count: int, share: float = 0.01) -> numpy.ndarray:
    return numpy.exp(generator.normal(0, share, count))


def test_constant_noise_shows_a_change_in_at_most_one_of_a_hundred() -> None:
    generator = numpy.random.default_rng(11)
    for make in (lambda: _noise(generator, 40), lambda: numpy.exp(generator.standard_t(2, 25) / 100)):
        alarms = sum(bool(find_changes([make()])[0]) for _ in range(500))
        assert alarms <= 5


def test_a_step_of_three_per_cent_is_found_where_it_is() -> None:
    generator = numpy.random.default_rng(12)
    for _ in range(100):
        values = _noise(generator, 40)
        values[20:] *= 0.97
        found = find_changes([values])[0]
        step = min(found, key=lambda change: abs(change.place - 20))
        assert abs(step.place - 20) <= 2 and step.low <= step.ratio <= step.high
        assert step.ratio == pytest.approx(0.97, abs=0.015)


def test_a_change_that_was_taken_back_is_two_changes() -> None:
    generator = numpy.random.default_rng(13)
    both = 0
    for _ in range(50):
        values = _noise(generator, 60)
        values[20:40] *= 0.97
        places = [change.place for change in find_changes([values])[0]]
        both += len(places) == 2 and abs(places[0] - 20) <= 2 and abs(places[1] - 40) <= 2
    assert both >= 46


def test_outliers_are_no_change_and_hide_none() -> None:
    generator = numpy.random.default_rng(14)
    alarms = found = 0
    for number in range(300):
        values = _noise(generator, 40)
        values[generator.choice(40, 3, replace=False)] *= 0.5
        alarms += bool(find_changes([values])[0])
        if number >= 100:
            continue
        values[20:] *= 0.95
        found += any(abs(change.place - 20) <= 3 for change in find_changes([values])[0])
    assert alarms <= 6 and found >= 90  # 0.5% each, and chance


def test_many_series_at_once_stay_quiet_but_for_the_one_that_changed() -> None:
    generator = numpy.random.default_rng(15)
    for _ in range(10):
        many = [_noise(generator, 40) for _ in range(50)]
        many[7][25:] *= 1.04
        assert [place for place, found in enumerate(find_changes(many)) if found] == [7]


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 30, [1, 2, 1, 2, 1], [0.0] * 20])
def test_too_little_to_tell(values: list[float]) -> None:
    assert find_changes([numpy.asarray(values, dtype=float)])[0] == []


def test_an_exact_count_needs_no_statistics() -> None:
    found = exact_changes([100, 100, 100.05, 101, 101, 100], 0.001)
    assert [(change.place, round(change.ratio, 4)) for change in found] == [(3, 1.01), (5, 0.9901)]


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A checkout of 24 commits."""
    folder = tmp_path_factory.mktemp("tree")

    def git(*arguments: str, **environment: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True,
            capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environment},
        ).stdout.strip()

    git("init", "-q")
    found: list[str] = []
    for number in range(24):
        date = f"2026-01-02T03:{number // 3:02d}:00Z"  # several commits have the same second
        git("commit", "-q", "--allow-empty", "-m", f"Commit number {number}", GIT_AUTHOR_DATE=date,
            GIT_COMMITTER_DATE=date)
        found.append(git("rev-parse", "HEAD"))
    return folder, found


@pytest.fixture(scope="module")
def history(commits: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all commits, measured in another order, that lose 4% at the twelfth; each session is
    another by 20%."""
    tree, names = commits
    folder = tmp_path_factory.mktemp("a history")
    generator = numpy.random.default_rng(16)
    for number, commit in sorted(enumerate(names), key=lambda pair: pair[1]):
        path = make_run(
            folder / "run.jsonl", builds=False, threads=(1, 2), rounds=4, seed=number, commit=commit,
            session=generator.normal(0, 0.2), exact=True,
            effect={("larson", "", "ops_per_second"): 0.04 if number >= 12 else 0},
        )
        first, _, rest = path.read_text("ascii").partition("\n")
        record = {**json.loads(first), "id": f"run-{number}"}
        if number >= 12:
            record["machine"]["kernel"] = "Linux 9.9"
        path.write_text(f"{json.dumps(record)}\n{rest}", "ascii")
        add_file(folder / "h.sqlite", path, tree)
    return folder / "h.sqlite"


def test_a_trend_names_the_commits_of_its_change(history: Path, commits: tuple[Path, list[str]]) -> None:
    with open_to_read(history) as connection:
        trends = find_trends(connection, Wanted())
    assert [trend.cell for trend in trends] == ["larson threads=1", "larson threads=2"]
    for trend in trends:
        assert [point.entry.commit for point in trend.points] == commits[1]  # in their order
        assert trend.baselines == ("mimalloc", "system")
        (found,) = trend.changes
        assert found.before.entry.subject == "Commit number 11"
        assert found.after.entry.subject == "Commit number 12"
        assert found.worse and found.change.ratio == pytest.approx(0.96, abs=0.015)
        assert any(word.startswith("kernel") and "9.9" in word for word in found.meanwhile)


def test_other_trends(history: Path) -> None:
    with open_to_read(history) as connection:
        (steady,) = find_trends(connection, Wanted("exact_instructions_per_op", cells=["*threads=1"]))
        absolute = find_trends(connection, Wanted(absolute=True, last=5))
        phases = find_trends(connection, Wanted(cells=["larson threads=2"], phase=None))
        others = find_trends(connection, Wanted(allocator="mimalloc", by_run=True))
    assert steady.changes == [] and steady.baselines == () and len(steady.points) == 24
    assert all(len(trend.points) == 5 and trend.unit == "ops/s" for trend in absolute)
    assert [trend.phase for trend in phases] == ["", "churn", "drain", "fill", "handover"]
    assert all(len(trend.points) == 24 and not trend.baselines for trend in others)


def test_trend_and_draw_show_it_from_the_outside(history: Path, tmp_path: Path, root: Path) -> None:
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        ["python3", str(root / "runner" / "history.py"), "trend", "--db", str(history), "--cell",
         "larson threads=1", "--out", str(tmp_path / "pic tures")],
        capture_output=True, text=True, cwd="/", timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "worse, between" in done.stdout and "'Commit number 12'" in done.stdout
    svg = (tmp_path / "pic tures" / "history-larson.svg").read_text("utf-8")
    for word in ("larson threads=1", "ratio to the baselines", "commit", "a change to the worse", "%<"):
        assert word in svg
    assert len(svg) < 100_000


def test_trend_prints_json(history: Path, root: Path) -> None:
    done = subprocess.run(
        ["/usr/bin/env", "python3", str(root / "runner" / "history.py"), "trend", "--db", str(history),
         "--json"], capture_output=True, text=True, cwd="/", timeout=120,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 2 and all(len(record["points"]) == 24 for record in records)
    assert records[0]["changes"][0]["worse"] is True
