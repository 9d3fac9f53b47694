"""Tests of --matrix-file: which cells come of blocks, what is said of mistakes, and our own file."""
from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from runner import machine, toml_file
from runner.errors import UsageError
from runner.matrix_file import cells_of, narrowed, read_blocks, union_of
from runner.records import Cache

BLOCKS = """# two blocks
[[block]]
workload = "larson"
matrix = { threads = "1..4*2", max = [64, 128] }

[[block]]
workload = "xmalloc"
[block.matrix]
allocators = 1
releasers = "1,4"
size = [64, "mix"]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my matrix.toml"
    path.write_text(text, "utf-8")
    return path


def test_each_block_is_a_product_of_its_own(tmp_path: Path) -> None:
    blocks = read_blocks(write(tmp_path, BLOCKS))
    cells = cells_of(blocks, [1], 100)
    assert [cell.id for cell in cells] == [
        *(f"larson threads={t} max={m}" for t in (1, 2, 4) for m in (64, 128)),
        *(f"xmalloc allocators=1 releasers={r} size={s}" for r in (1, 4) for s in (64, "mix")),
    ]
    assert union_of(blocks) == {
        "threads": [1, 2, 4], "max": [64, 128], "allocators": [1], "releasers": [1, 4], "size": [64, "mix"],
    }


def test_a_block_without_a_matrix_has_the_defaults(tmp_path: Path) -> None:
    blocks = read_blocks(write(tmp_path, '[[block]]\nworkload = "random_mixed"\n'))
    assert [cell.id for cell in cells_of(blocks, [1, 2], 100)] == [
        "bench_random_mixed threads=1", "bench_random_mixed threads=2",
    ]


def test_a_file_of_sizes_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "sizes.txt").write_text("16 1\n", "utf-8")
    block, = read_blocks(write(tmp_path, '[[block]]\nworkload = "random_mixed"\nmatrix = { sizes = "sizes.txt" }\n'))
    assert block.matrix == {"sizes": [str((tmp_path / "sizes.txt").resolve())]}
    text = '[[block]]\nworkload = "random_mixed"\nmatrix = { sizes = "pareto, sizes.txt" }\n'
    block, = read_blocks(write(tmp_path, text))
    assert block.matrix == {"sizes": ["pareto", str((tmp_path / "sizes.txt").resolve())]}


@pytest.mark.parametrize("text, words", [
    ("", "there is no block in it"),
    ("block = 3\n", ":1: a block is a table"),
    ("[[blok]]\n", ":1: 'blok' is no key of this file"),
    ("[[block]\n", "it is no TOML"),
    ("\n[[block]]\n", ":2: this block has no 'workload'"),
    ('[[block]]\nworkload = "larsen"\n', ":2: 'larsen' is no workload; did you mean 'larson'?"),
    ("[[block]]\nworkload = 7\n", ":2: '7' is no workload"),
    ('[[block]]\nworkload = "larson"\nmatirx = 1\n', ":3: 'matirx' is no key of a block; did you mean"),
    ('[[block]]\nworkload = "larson"\nmatrix = "threads=1"\n', ":3: matrix must be a table"),
    ('[[block]]\nworkload = "larson"\nmatrix = { max = 64, thread = 1 }\n', ":3: --matrix thread=1: 'thread' is"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nmax = 64\nthreads = 0\n', ":5: --matrix threads=0"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nthreads = true\n', ":4: threads must be a text"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nthreads = []\n', ":4: threads must be a text"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nthreads = { a = 1 }\n', ":4: threads must be a text"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nsize = 64\n', ":1: --matrix: the key 'size' applies to none"),
    (BLOCKS + '[[block]]\nworkload = "larson"\nmatrix = { min = 9, max = 8 }\n', ":14: --matrix: min=9 exceeds"),
    ('[[block]]\nworkload = "larson"\n[block.matrix]\nthreads = 2.5\n', ":4: --matrix threads=2.5"),
])
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_blocks(path)
    assert str(error.value).startswith(f"{path}") and words in str(error.value), str(error.value)
    assert str(error.value).endswith(".")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "missing.toml", "does not exist"), (tmp_path, "directory")):
        with pytest.raises(UsageError, match=f"(?i){words}"):
            read_blocks(path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# \xe9\n")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_blocks(path)


def test_a_python_without_toml_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(toml_file.importlib, "import_module", missing)
    with pytest.raises(UsageError, match="apt-get install python3-tomli"):
        read_blocks(write(tmp_path, BLOCKS))
    assert importlib is toml_file.importlib


def test_our_own_file_is_what_the_figures_ask_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Cache(1, 32 << 10, 2), Cache(2, 512 << 10, 2), Cache(3, 8 << 20, 8)]  # a small machine's
    monkeypatch.setattr(machine, "caches", lambda: found)
    blocks = read_blocks(root / "runner" / "figures.toml")
    cells = cells_of(blocks, [1], 100)
    assert len({cell.id for cell in cells}) == len(cells)
    threads = [1, 2, 4, 8, 16]

    def of(workload: str, *names: str) -> set[tuple[object, ...]]:
        return {tuple(c.parameters[n] for n in names) for c in cells if c.workload == workload}

    assert of("larson", "threads", "min", "max", "chunks") == {
        (t, 8, *shape) for t in threads for shape in ((1000, 5000), (128, 1000))
    }
    assert of("bench_random_mixed", "threads", "size", "fits") == {
        (t, size, level) for t in threads for size in (128, 256, 512, 1024, 16384)
        for level in ("L1", "L2", "L3", "memory")
    }
    assert of("xmalloc", "allocators", "releasers", "size") == {
        (*kinds, size) for kinds in ((1, 1), (2, 2), (1, 4), (4, 1)) for size in (64, "mix")
    }
    assert [c.id for c in cells if c.workload == "replay"] == [
        f"replay trace={name}" for name in ("redis", "gcc", "python")
    ]


def test_workloads_leave_blocks_out(tmp_path: Path) -> None:
    path = write(tmp_path, BLOCKS)
    blocks = read_blocks(path)
    assert [block.workload for block in narrowed(blocks, ["xmalloc"], path)] == ["xmalloc"]
    with pytest.raises(UsageError, match="'redis' has no block in .* there are blocks of larson, xmalloc"):
        narrowed(blocks, ["redis"], path)


def test_one_run_measures_all_blocks_and_goes_on_with_them(bench, tmp_path: Path) -> None:
    small = BLOCKS.replace("1..4*2", "1,2").replace(", 128]", "]").replace('[64, "mix"]', "64")
    path = write(tmp_path, small)
    options = ("--matrix-file", str(path), "--duration", "0.01", "--allocators", "system")
    done = bench.run(*options, "--repeat", "1")
    assert done.returncode == 0, done.stderr
    header = bench.records("run")[0]
    assert header["workloads"] == ["larson", "xmalloc"] and len(header["cells"]) == 4
    assert header["matrix"] == {"threads": [1, 2], "max": [64], "allocators": [1], "releasers": [1, 4],
                                "size": [64]}
    assert {s["cell"] for s in bench.records("sample")} == {cell["id"] for cell in header["cells"]}
    same = bench.run("--resume", str(bench.results), "--matrix-file", str(path), new=False)
    assert same.returncode == 0 and "is complete" in same.stderr
    path.write_text(BLOCKS, "utf-8")
    other = bench.run("--resume", str(bench.results), "--matrix-file", str(path), new=False)
    assert other.returncode == 2 and "another --matrix-file" in other.stderr


def test_matrix_and_matrix_file_exclude_each_other(bench, tmp_path: Path) -> None:
    done = bench.run("--matrix-file", str(write(tmp_path, BLOCKS)), "--matrix", "threads=1")
    assert done.returncode == 2 and "exclude each other" in done.stderr and not bench.results.exists()


def test_the_same_run_in_two_blocks_is_measured_once(bench, tmp_path: Path) -> None:
    path = write(tmp_path, '[[block]]\nworkload = "larson"\nmatrix = { threads = 1 }\n'
                 '[[block]]\nworkload = "larson"\nmatrix = { max = 1000, threads = [1, 2] }\n')
    done = bench.run("--matrix-file", str(path), "--duration", "0.01", "--allocators", "system", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    assert "larson threads=1 is the same run as larson max=1000 threads=1" in done.stdout
    assert len(bench.records("run")[0]["cells"]) == 2
