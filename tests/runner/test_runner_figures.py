"""Figures that only one driver measures: recorded with each sample, and shown where the workload names them."""
from __future__ import annotations

import json
import shutil

import pytest

SHORT = ("--workloads", "cache_scratch", "--matrix", "threads=2", "--duration", "0.01", "--repeat", "3")


@pytest.fixture
def sharing(bench):
    """Fake drivers cache_scratch_hakmem and cache_scratch_system, the latter with other figures in one run."""
    for allocator in ("hakmem", "system"):
        shutil.copy(bench.folder / f"larson_{allocator}", bench.folder / f"cache_scratch_{allocator}")
    bench.behave(
        cache_scratch_hakmem=["figure=churn_shared_objects:2", "figure=line_bytes:64"],
        cache_scratch_system=["figure=churn_shared_objects:1", "@4 figure=churn_shared_objects:2"],
    )
    return bench


def rows_of(output: str) -> dict[str, list[str]]:
    """The rows of the figures' table, by figure."""
    lines = output.splitlines()
    start = lines.index("cache_scratch: what only this driver measures, median")
    rows = [line.split() for line in lines[start + 1:lines.index("", start)]]
    assert rows[0] == ["threads", "figure", "hakmem", "system"]
    return {row[1]: row[2:] for row in rows[2:]}


def test_figures_are_recorded_and_shown(sharing) -> None:
    done = sharing.run(*SHORT, "--allocators", "hakmem,system")
    assert done.returncode == 0, done.stderr
    for record in sharing.records("sample"):
        wanted = {"churn_shared_objects", "line_bytes"} if record["allocator"] == "hakmem" else {"churn_shared_objects"}
        assert set(record["measured"]["figures"]) == wanted
    rows = rows_of(done.stdout)
    assert rows["churn_shared_objects"] == ["2", "1"]  # of the system: a median of 1, 1 and 2
    assert rows["churn_shared_percent"] == ["-", "-"]  # nobody told
    assert "line_bytes" not in rows  # recorded, but not of interest


def test_figures_keep_the_schema(sharing) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((sharing.root / "runner" / "results.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    sharing.run(*SHORT, "--allocators", "hakmem")
    (sample, *_) = sharing.records("sample")
    validator.validate(sample)
    sample["measured"]["figures"]["line_bytes"] = "64"
    assert not validator.is_valid(sample)


def test_other_workloads_have_no_such_table(sharing, small) -> None:
    done = sharing.run(*small, "--repeat", "1", "--allocators", "hakmem")
    assert done.returncode == 0 and "only this driver" not in done.stdout


def test_a_figure_that_is_no_number_is_an_error(sharing) -> None:
    sharing.behave(cache_scratch_hakmem=["figure=line_bytes:nan"])
    done = sharing.run(*SHORT, "--allocators", "hakmem")
    assert done.returncode != 0 and "line_bytes" in done.stdout + done.stderr
