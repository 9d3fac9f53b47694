"""The unit of a throughput: figures of slow workloads have digits, too."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.estimate import analyse
from runner.results_file import read_run
from runner.table import make_blocks, plain_text
from runner.units import speed_unit
from tests.runner.made_results import edit_records, make_run


@pytest.mark.parametrize(
    "factor,unit,shown",
    [(1.0, "million operations a second", "50.0"), (0.003, "million operations a second", "0.15"),
     (1e-4, "thousand operations a second", "5.00"), (1e-6, "operations a second", "50.0")],
)
def test_the_unit_follows_the_fastest_cell(tmp_path: Path, factor: float, unit: str, shown: str) -> None:
    def slower(record: dict[str, Any]) -> dict[str, Any]:
        if record["record"] == "sample":
            record["measured"]["ops_per_second"] = 50e6 * factor
        return record

    run = read_run(edit_records(make_run(tmp_path / "run.jsonl", builds=False, rounds=6), slower))
    analysis = analyse(run.header, run.samples)
    assert speed_unit(analysis, "larson").name == unit
    text = plain_text(make_blocks(analysis))
    assert f"larson: throughput, {unit}, median" in text
    assert f"{shown} ±0%" in text
