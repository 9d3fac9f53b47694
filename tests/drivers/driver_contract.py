"""A strict reading of docs/driver-interface.md: what a driver's JSON object must look like."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Dict, List

PHASES: Dict[str, List[str]] = {
    "larson": ["fill", "churn", "handover", "drain"],
    "bench_random_mixed": ["fill", "churn", "drain"],
    "xmalloc": ["fill", "exchange", "drain"],
    "cache_thrash": ["fill", "churn", "drain"],
    "cache_scratch": ["fill", "churn", "drain"],
    "mstress": ["fill", "wave", "between", "drain"],
    "thread_churn": ["fill", "churn"],
    "pareto": ["fill", "churn", "drain"],
    "large": ["fill", "churn", "drain"],
    "growth": ["fill", "grow", "drain"],
    "replay": ["quarter1", "quarter2", "quarter3", "quarter4", "drain"],
}
PROVIDERS = {"hakmem", "mimalloc", "jemalloc", "tcmalloc", "tbbmalloc", "system", "floor", "sanitizer",
             "unknown"}
TOP = {
    "schema", "schema_version", "workload", "variant", "compiler", "flags", "cores", "arguments", "mode",
    "provider", "operations", "checksum", "wall_seconds", "cpu_user_seconds", "cpu_system_seconds",
    "ops_per_second", "peak_rss_bytes", "end_rss_bytes", "rss_halves_bytes", "minor_faults",
    "major_faults", "phases", "latency", "check",
}
# The figures that a workload alone reports; it has the member "figures" if there are any.
_LINES = ["line_bytes", "fill_lines", "fill_shared_objects", "churn_lines", "churn_shared_objects",
          "churn_samples", "churn_shared_percent"]
FIGURES: Dict[str, List[str]] = {
    "cache_thrash": _LINES,
    "cache_scratch": _LINES,
    "mstress": ["waves", "threads_started", "wave_us", "objects_received"],
    "thread_churn": ["threads_started", "thread_us_mean", "thread_us_p50", "thread_us_p99", "thread_us_max",
                     "rss_tenth_bytes", "rss_end_bytes", "rss_growth_bytes_per_thread"],
    "replay": ["recorded_calls", "recorded_threads", "recorded_seconds", "loops", "reallocs", "frees_of_null",
               "crossing_calls", "waits", "peak_live_bytes", "peak_live_blocks", "left_live_bytes",
               "left_live_blocks", "skipped_inherited", "skipped_failed", "inherited_resized", "lost_blocks",
               "player_bytes", "peak_is_the_runs", "latest_seconds"],
}
PHASE = {"name", "operations", "wall_seconds", "cpu_seconds", "ops_per_second", "rss_bytes", "minor_faults"}
OPTIONS: Dict[str, List[str]] = {
    "larson": ["threads", "seed", "min", "max", "chunks", "rounds"],
    "bench_random_mixed": ["threads", "seed", "operations", "size", "slots", "sizes"],
    "xmalloc": ["allocators", "releasers", "seed", "size", "batch"],
    "cache_thrash": ["threads", "seed", "size", "repetitions"],
    "cache_scratch": ["threads", "seed", "size", "repetitions"],
    "mstress": ["threads", "seed", "scale", "slots", "keep", "exchange", "min", "max", "large", "large-max"],
    "thread_churn": ["threads", "seed", "blocks", "min", "max"],
    "pareto": ["threads", "seed", "live", "min", "max", "alpha", "life-alpha"],
    "large": ["threads", "seed", "min", "max", "slots", "touch"],
    "growth": ["threads", "seed", "min", "max", "factor", "with-others", "touch"],
    "replay": ["trace", "seed", "timed", "touch", "points"],
}


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def close(left: float, right: float, relative: float, absolute: float) -> bool:
    return abs(left - right) <= max(absolute, relative * max(abs(left), abs(right)))


def check_provider(provider: Dict[str, Any]) -> None:
    assert set(provider) == {"name", "version", "path", "build_id", "complete", "parts"}
    assert provider["name"] in PROVIDERS
    assert provider["version"] is None or (isinstance(provider["version"], str) and provider["version"])
    assert os.path.isabs(provider["path"]) and os.path.realpath(provider["path"]) == provider["path"]
    assert provider["build_id"] is None or re.fullmatch(r"([0-9a-f]{2})+", provider["build_id"])
    assert set(provider["parts"]) == {"malloc", "calloc", "realloc", "free"}
    assert provider["parts"]["malloc"] == provider["path"]
    assert provider["complete"] is (set(provider["parts"].values()) == {provider["path"]})


def check_phases(result: Dict[str, Any]) -> None:
    phases = result["phases"]
    assert [phase["name"] for phase in phases] == PHASES[result["workload"]]
    for phase in phases:
        assert set(phase) == PHASE
        for name in ("operations", "rss_bytes", "minor_faults"):
            assert is_count(phase[name]), (phase["name"], name)
        for name in ("wall_seconds", "cpu_seconds", "ops_per_second"):
            assert is_amount(phase[name]), (phase["name"], name)
        assert phase["rss_bytes"] <= result["peak_rss_bytes"]
        if phase["wall_seconds"] > 1e-5:
            rate = phase["operations"] / phase["wall_seconds"]
            assert close(phase["ops_per_second"], rate, 1e-3, 1)
    cpu = result["cpu_user_seconds"] + result["cpu_system_seconds"]
    assert sum(p["operations"] for p in phases) == result["operations"]
    assert close(sum(p["wall_seconds"] for p in phases), result["wall_seconds"], 1e-6, 1e-7)
    assert close(sum(p["cpu_seconds"] for p in phases), cpu, 1e-6, 1e-5)
    assert sum(p["minor_faults"] for p in phases) == result["minor_faults"]


def check_latency(latency: Dict[str, Any]) -> None:
    assert set(latency) == {"unit", "sample_every", "clock_ns", "malloc", "free"}
    assert latency["unit"] == "ns"
    assert is_count(latency["sample_every"]) and latency["sample_every"] > 0
    assert 0 < latency["clock_ns"] < 10000
    for kind in ("malloc", "free"):
        times = latency[kind]
        assert set(times) == {"samples", "p50", "p99", "p999", "max", "histogram"}
        assert is_count(times["samples"])
        values = [times[name] for name in ("p50", "p99", "p999", "max")]
        if times["samples"] == 0:
            assert values == [None] * 4 and times["histogram"] == []
        else:
            check_histogram(times)
            assert all(is_amount(value) for value in values)
            assert values == sorted(values)


def check_histogram(times: Dict[str, Any]) -> None:
    """It holds every sample once, and says the same as the percentiles."""
    shown = times["histogram"]
    assert [time for time, _ in shown] == sorted({time for time, _ in shown})
    assert sum(count for _, count in shown) == times["samples"]
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        wanted, seen = max(1, math.ceil(share * times["samples"])), 0
        for time, count in shown:
            assert is_amount(time) and is_count(count) and count > 0
            seen += count
            if seen >= wanted:
                assert time == times[name], name
                break
    assert close(shown[-1][0], times["max"], 0.005, 0.01)


def check_arguments(result: Dict[str, Any]) -> None:
    arguments = result["arguments"]
    for name in OPTIONS[result["workload"]]:
        assert name in arguments, name
    bounds = {"seconds", "operations", "loops"} & set(arguments)
    assert len(bounds) == 1
    for name, value in arguments.items():
        if name in ("sizes", "trace", "speed", "touch") or (name == "size" and result["workload"] == "xmalloc"):
            assert isinstance(value, str) and value
        elif name in ("check", "latency", "none", "timed"):
            assert isinstance(value, bool)
        elif name in ("seconds", "alpha", "life-alpha", "factor"):
            assert is_amount(value)
        else:
            assert is_count(value), name


def check(result: Dict[str, Any]) -> None:
    """Raises AssertionError at the first thing that the contract does not allow."""
    figures = FIGURES.get(result["workload"], [])
    memory = {"memory"} if result["arguments"].get("points") else set()
    assert set(result) == TOP | ({"figures"} if figures else set()) | memory
    for point in result.get("memory", []):
        assert set(point) == {"operations", "seconds", "live_bytes", "rss_bytes"}
        assert is_count(point["operations"]) and is_count(point["live_bytes"]) and is_amount(point["seconds"])
        assert 0 < point["rss_bytes"] <= result["peak_rss_bytes"]
    assert list(result.get("figures", {})) == figures
    for name, value in result.get("figures", {}).items():
        assert is_amount(-value if "growth" in name and value < 0 else value), name
    assert result["schema"] == "hakmem-driver" and result["schema_version"] == 1
    assert result["workload"] in PHASES
    assert result["variant"] in ("release", "asan", "tsan", "guard")
    assert re.fullmatch(r"(gcc|clang) \d+(\.\d+)*", result["compiler"])
    assert "-O" in result["flags"]
    assert is_count(result["cores"]) and result["cores"] == len(os.sched_getaffinity(0))
    assert result["mode"] == ("none" if result["arguments"]["none"] else "allocator")
    check_arguments(result)
    check_provider(result["provider"])
    for name in ("operations", "peak_rss_bytes", "end_rss_bytes", "minor_faults", "major_faults"):
        assert is_count(result[name]), name
    for name in ("wall_seconds", "cpu_user_seconds", "cpu_system_seconds", "ops_per_second"):
        assert is_amount(result[name]), name
    assert close(result["ops_per_second"], result["operations"] / result["wall_seconds"], 1e-3, 1)
    if {"operations", "loops"} & set(result["arguments"]):
        assert re.fullmatch(r"0x[0-9a-f]{16}", result["checksum"])
    else:
        assert result["checksum"] is None
    halves = result["rss_halves_bytes"]
    assert len(halves) == 2 and all(is_count(half) and half > 0 for half in halves)
    assert max(halves) <= result["peak_rss_bytes"]
    assert 0 < result["end_rss_bytes"] <= result["peak_rss_bytes"]
    check_phases(result)
    assert (result["latency"] is not None) == result["arguments"]["latency"]
    if result["latency"] is not None:
        check_latency(result["latency"])
    assert (result["check"] is not None) == result["arguments"]["check"]
    if result["check"] is not None:
        assert set(result["check"]) == {"blocks", "errors"}
        assert result["check"]["errors"] == 0
        if result["workload"] == "growth":  # each step is verified, and the block before it is freed
            assert result["check"]["blocks"] > result["operations"]
        else:
            # A replay also makes calls that neither allocate a block nor free one.
            counts = {"loops": 0, "reallocs": 0, "frees_of_null": 0, **result.get("figures", {})}
            others = counts["loops"] * (counts["reallocs"] + counts["frees_of_null"])
            assert result["check"]["blocks"] * 2 + others == result["operations"]
