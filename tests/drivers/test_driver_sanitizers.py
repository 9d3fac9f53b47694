"""The drivers themselves are clean under AddressSanitizer, UBSan and ThreadSanitizer."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Tuple

import pytest

import driver_contract
from driver_run import SHORT, run

Program = Callable[..., Path]

RUNS: List[Tuple[str, List[str]]] = [
    ("larson", ["4", "10000", "256"]),
    ("larson", ["4", "10000", "256", "--check", "--latency"]),
    ("larson", ["--seconds", "0.2", "--threads", "4", "--chunks", "50", "--rounds", "2"]),
    ("larson", ["2", "10000", "256", "--none"]),
    ("bench_random_mixed", ["100000", "256", "42"]),
    ("bench_random_mixed", ["50000", "5000", "42", "--threads", "3", "--check", "--latency", "--sizes", "pareto"]),
    ("xmalloc", ["--threads", "5", "--operations", "20000", "--check", "--latency"]),
    ("xmalloc", ["--threads", "4", "--seconds", "0.2"]),
    ("xmalloc", ["--threads", "3", "--operations", "20000", "--none"]),
    ("cache_thrash", ["3", "2000", "8", "10", "--check", "--latency"]),
    ("cache_thrash", ["--threads", "4", "--seconds", "0.1", "--none"]),
    ("cache_scratch", ["3", "2000", "8", "10"]),
    ("cache_scratch", ["--threads", "4", "--seconds", "0.1", "--size", "5000", "--check"]),
    ("mstress", ["4", "1000", "6", "--check", "--latency"]),
    ("mstress", ["4", "1000", "6", "--slots", "20", "--exchange", "60"]),
    ("mstress", ["--threads", "4", "--seconds", "0.2", "--none"]),
    ("thread_churn", ["--threads", "3", "--operations", "20000", "--check", "--latency"]),
    ("thread_churn", ["--threads", "2", "--seconds", "0.2"]),
    ("pareto", ["3", "20000", "2000000", "--check", "--latency"]),
    ("pareto", ["2", "20000", "2000000", "--none", "--check"]),
    ("large", ["--threads", "2", "--operations", "40", "--max", "300000", "--check", "--latency", "--touch", "all"]),
    ("growth", ["2", "300", "1000000", "--check", "--latency", "--with-others", "3"]),
    ("growth", ["2", "300", "1000000", "--none", "--with-others", "3"]),
    ("replay", [*SHORT["replay"], "--check", "--latency", "--loops", "2"]),
    ("replay", [*SHORT["replay"], "--touch", "all", "--timed", "--speed", "2"]),
]


@pytest.mark.parametrize("variant", ["asan", "tsan"])
@pytest.mark.parametrize("workload,arguments", RUNS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_clean(program: Program, variant: str, workload: str, arguments: List[str]) -> None:
    options = {"ASAN_OPTIONS": "halt_on_error=1:exitcode=66", "TSAN_OPTIONS": "halt_on_error=1:exitcode=66"}
    done = run(program(workload, "system", variant), [*arguments, "--json"], environment=options)
    driver_contract.check(done.json)
    assert done.err == ""
    assert done.json["variant"] == variant
    assert done.json["provider"]["name"] == "sanitizer"
