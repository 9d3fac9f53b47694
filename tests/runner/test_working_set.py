"""Tests of the key `fits`: caches found on the machine become slots, and the results say so."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner import machine
from runner.errors import UsageError
from runner.matrix import driver_arguments, make_cells, parse_matrix, without_repeats
from runner.records import Cache, Cell

CACHES = [Cache(1, 32 << 10, 2), Cache(2, 1 << 20, 2), Cache(3, 16 << 20, 8)]


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[Cache]:
    found = list(CACHES)
    monkeypatch.setattr(machine, "caches", lambda: found)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 << 30)
    return found


def cells(*matrix: str) -> list[Cell]:
    return make_cells(["bench_random_mixed"], parse_matrix(list(matrix)), [1])


def live_bytes(cell: Cell, mean: float) -> float:
    """What the threads' blocks and tables have together, on average."""
    return int(cell.parameters["slots"]) * (mean / 2 + 8) * int(cell.parameters["threads"])


@pytest.mark.parametrize("level, threads, wanted", [
    ("L1", 1, 16 << 10), ("L1", 2, 16 << 10), ("L1", 4, 32 << 10),  # two share one; four take turns
    ("L2", 1, 512 << 10), ("L2", 2, 512 << 10),
    ("L3", 1, 8 << 20), ("L3", 16, 8 << 20), ("memory", 1, 64 << 20), ("memory", 16, 64 << 20),
])
@pytest.mark.parametrize("size", [128, 1024])
def test_the_live_blocks_take_half_of_the_level(
    caches: list[Cache], level: str, threads: int, wanted: int, size: int
) -> None:
    cell, = cells(f"size={size}", f"fits={level}", f"threads={threads}")
    assert wanted * 0.85 <= live_bytes(cell, (size + 1) / 2) <= wanted
    assert cell.id == f"bench_random_mixed size={size} fits={level} threads={threads}"


def test_slots_reach_the_driver_and_the_level_does_not(caches: list[Cache]) -> None:
    cell, = cells("size=128", "fits=L1")
    words = driver_arguments(cell, duration=1, seed=1, check=False, latency=False, none=False)
    assert words[words.index("--slots") + 1] == str(cell.parameters["slots"])
    assert "--fits" not in words and cell.parameters["fits"] == "L1"


def test_distributions_count_by_their_mean(caches: list[Cache], tmp_path: Path) -> None:
    path = tmp_path / "sizes of mine.txt"
    path.write_text("# mine\n16 3\n\n2048 1 # rare\n", "utf-8")
    by_file, = cells(f"sizes={path}", "fits=L2")
    assert live_bytes(by_file, (3 * 16 + 2048) / 4) == pytest.approx(512 << 10, rel=0.01)
    pareto, uniform = cells("sizes=pareto,uniform", "size=1000", "fits=L2")
    assert int(pareto.parameters["slots"]) > 5 * int(uniform.parameters["slots"])
    mean = 38.9  # of 8 to 1000 with twice the size half as likely to be passed
    assert live_bytes(pareto, mean) == pytest.approx(512 << 10, rel=0.02)


def test_memory_is_bounded(caches: list[Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    caches.append(Cache(4, 1 << 30, 8))
    cell, = cells("size=1024", "fits=memory")
    assert live_bytes(cell, 512.5) == pytest.approx(512 << 20, rel=0.01)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1 << 30)
    cell, = cells("size=1024", "fits=memory")
    assert live_bytes(cell, 512.5) == pytest.approx(128 << 20, rel=0.01)


def test_few_large_blocks_still_have_slots(caches: list[Cache]) -> None:
    cell, = cells("size=16384", "fits=L1", "threads=2")
    assert cell.parameters["slots"] == 2


@pytest.mark.parametrize("matrix, words", [
    (["fits=L4"], "'L4' is no level; did you mean"),
    (["fits="], "empty"),
    (["fits=L1", "slots=10"], "give one of the two"),
    (["fits=L1", "size=100000"], "50,000 bytes on average"),
    (["fits=L1", "sizes={folder}/bad.txt"], "bad.txt:2"),
    (["fits=L1", "sizes={folder}/none.txt"], "names no size"),
])
def test_what_can_t_be_is_refused(
    caches: list[Cache], tmp_path: Path, matrix: list[str], words: str
) -> None:
    (tmp_path / "bad.txt").write_text("16 3\nsixteen\n", "utf-8")
    (tmp_path / "none.txt").write_text("16 0\n", "utf-8")
    with pytest.raises(UsageError) as error:
        cells(*(word.format(folder=tmp_path) for word in matrix))
    assert words in str(error.value) and str(error.value).endswith(".")


def test_a_machine_without_that_level_is_told(caches: list[Cache]) -> None:
    del caches[2]
    with pytest.raises(UsageError, match="it has L1, L2, and memory"):
        cells("fits=L3")
    caches.clear()
    with pytest.raises(UsageError, match="name the number of slots"):
        cells("fits=memory")


def test_other_workloads_have_no_such_key() -> None:
    with pytest.raises(UsageError, match="belongs to bench_random_mixed"):
        make_cells(["larson"], parse_matrix(["fits=L1"]), [1])


def test_the_same_number_of_slots_is_the_same_run(caches: list[Cache]) -> None:
    cell, = cells("size=128", "fits=L1")
    same, = cells("size=128", f"slots={cell.parameters['slots']}")
    assert without_repeats([cell, same])[1] == [(cell, same)]


def test_caches_are_read_as_the_kernel_tells_them(tmp_path: Path) -> None:
    for number, (level, kind, size, shared) in enumerate([
        ("1", "Data", "48K", "0"), ("1", "Instruction", "32K", "0"), ("3", "Unified", "105M", "0-3,8"),
        ("2", "Unified", "2048K", "0,4"), ("4", "Unified", "", "0"), ("x", "Unified", "1K", "0"),
    ]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in zip(("level", "type", "size", "shared_cpu_list"), (level, kind, size, shared)):
            (folder / name).write_text(text + "\n", "utf-8")
    assert machine.caches(tmp_path) == [
        Cache(1, 48 << 10, 1), Cache(2, 2 << 20, 2), Cache(3, 105 << 20, 5),
    ]
    assert machine.caches(tmp_path / "nowhere") == []


def test_the_results_say_what_was_measured(bench) -> None:
    if not machine.caches():
        pytest.skip("this system does not tell of its caches")
    done = bench.run("--workloads", "random_mixed", "--matrix", "fits=L1,memory", "--repeat", "1",
                     "--duration", "0.01", "--allocators", "system")
    assert done.returncode == 0, done.stderr
    header = bench.records("run")[0]
    assert header["machine"]["caches"][0]["level"] == 1
    slots = [cell["parameters"]["slots"] for cell in header["cells"]]
    assert slots[0] < slots[1] and [c["parameters"]["fits"] for c in header["cells"]] == ["L1", "memory"]
    asked = [json.dumps(s["arguments"]) for s in bench.records("sample")]
    assert all(f'"--slots", "{slots[0]}"' in text or f'"--slots", "{slots[1]}"' in text for text in asked)
