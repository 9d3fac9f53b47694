"""Every form of the arguments, and every wrong one: a sentence that names it, and exit status 2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import driver_contract
from driver_run import WORKLOADS, run

Program = Callable[..., Path]

# (workload, arguments, what the JSON's arguments must contain)
FORMS: List[Tuple[str, List[str], Dict[str, Any]]] = [
    ("larson", ["1", "8", "100", "200", "10", "7", "2"],
     {"seconds": 1, "min": 8, "max": 100, "chunks": 200, "rounds": 10, "seed": 7, "threads": 2}),
    ("larson", ["0.05", "8", "100", "200", "10", "7", "2"], {"seconds": 0.05}),
    ("larson", ["2", "10000", "256"], {"threads": 2, "operations": 10000, "max": 256, "min": 8}),
    ("larson", ["1", "1000", "4"], {"max": 4, "min": 4}),
    ("larson", ["1", "1", "4"], {"operations": 1}),
    ("larson", ["--threads", "1", "--seconds", "0.01"], {"min": 8, "max": 1000, "chunks": 5000}),
    ("larson", ["--threads=2", "--operations=1000", "--min=16", "--max=16", "--chunks=10", "--rounds=1"],
     {"threads": 2, "operations": 1000, "min": 16, "max": 16, "chunks": 10, "rounds": 1}),
    ("larson", ["--operations", "1000", "--min", "5000"], {"min": 5000, "max": 5000}),
    ("larson", ["2", "1000", "256", "--seed", "18446744073709551615"], {"seed": 2**64 - 1}),
    ("larson", ["--seed", "0", "--", "1", "1000", "64"], {"seed": 0, "max": 64}),
    ("bench_random_mixed", ["10000", "256", "42"],
     {"operations": 10000, "size": 256, "seed": 42, "threads": 1, "sizes": "uniform"}),
    ("bench_random_mixed", ["--operations", "1", "--size", "1"], {"operations": 1, "size": 1}),
    ("bench_random_mixed", ["--operations", "999", "--slots", "1", "--threads", "3"],
     {"slots": 1, "threads": 3}),
    ("bench_random_mixed", ["10000", "1024", "1", "--sizes", "pareto"], {"sizes": "pareto"}),
    ("bench_random_mixed", ["10000", "1000000", "1", "--sizes=pareto"], {"size": 1000000}),
    ("xmalloc", ["--seconds", "0.02"], {"size": "mix", "batch": 100}),
    ("xmalloc", ["--threads", "1", "--operations", "1000"], {"threads": 1, "allocators": 1, "releasers": 1}),
    ("xmalloc", ["--threads", "5", "--operations", "1000"], {"allocators": 3, "releasers": 2}),
    ("xmalloc", ["--allocators", "1", "--releasers", "3", "--operations", "5000", "--size", "64", "--batch", "7"],
     {"allocators": 1, "releasers": 3, "size": "64", "batch": 7}),
    ("cache_thrash", ["3", "500", "1", "200"], {"threads": 3, "operations": 500, "size": 1, "repetitions": 200}),
    ("cache_thrash", ["--operations", "1"], {"size": 8, "repetitions": 1000}),
    ("cache_thrash", ["--seconds", "0.02", "--size=65536", "--repetitions=1"], {"seconds": 0.02, "size": 65536}),
    ("cache_scratch", ["40", "20", "8", "100"], {"threads": 40, "operations": 20, "size": 8, "repetitions": 100}),
    ("cache_scratch", ["--threads", "1", "--seconds", "0.02"], {"threads": 1, "size": 8, "repetitions": 1000}),
    ("xmalloc", ["--allocators", "3", "--operations", "1"], {"allocators": 3, "releasers": 1}),
    ("xmalloc", ["--releasers", "2", "--operations", "50", "--size", "1"], {"allocators": 1, "releasers": 2}),
    ("mstress", ["3", "500", "4"], {"threads": 3, "scale": 500, "waves": 4, "operations": 4000, "min": 8, "max": 1024}),
    ("mstress", ["--operations", "9999"], {"operations": 9999, "scale": 499, "waves": 11}),
    ("mstress", ["--operations", "1"], {"operations": 1, "scale": 1, "waves": 1}),
    ("mstress", ["--scale", "300", "--operations", "601"], {"operations": 601, "scale": 300, "waves": 2}),
    ("mstress", ["--max", "4", "--waves", "3", "--large", "1000", "--large-max", "5"], {"min": 4, "large-max": 5}),
    ("mstress", ["--min", "100000", "--waves=2", "--scale=50"], {"min": 100000, "max": 100000, "large-max": 100000}),
    ("mstress", ["--keep", "100", "--exchange", "0", "--waves", "2", "--scale", "99"], {"keep": 100, "exchange": 0}),
    ("mstress", ["--keep", "0", "--exchange", "100", "--slots", "1", "--waves", "2"], {"slots": 1, "scale": 10000}),
    ("mstress", ["--seconds", "0.01"], {"seconds": 0.01, "scale": 10000, "slots": 1000, "keep": 10, "exchange": 25}),
    ("thread_churn", ["2", "30", "7"], {"threads": 2, "starts": 30, "blocks": 7, "operations": 420, "min": 8, "max": 512}),
    ("thread_churn", ["--operations", "401"], {"operations": 401, "starts": 3, "blocks": 100}),
    ("thread_churn", ["--seconds", "0.01", "--max", "4"], {"seconds": 0.01, "min": 4, "max": 4}),
    ("pareto", ["2", "1000", "500000"],
     {"threads": 2, "operations": 1000, "live": 500000, "min": 16, "max": 32768, "alpha": 1, "life-alpha": 0.1}),
    ("pareto", ["1", "1000", "48", "--min", "48", "--max", "48"], {"min": 48, "max": 48}),
    ("pareto", ["1", "1000", "1000000", "--max", "10"], {"min": 10, "max": 10}),
    ("pareto", ["1", "5000", "1000000", "--alpha", "2.5", "--life-alpha=1"], {"alpha": 2.5, "life-alpha": 1}),
    ("pareto", ["1", "5000", "1000000", "--life-alpha", "10", "--min", "1"], {"life-alpha": 10}),
    ("pareto", ["--seconds", "0.02", "--live", "1000000"], {"seconds": 0.02}),
    ("large", ["2", "10", "30000"], {"threads": 2, "operations": 10, "max": 30000, "min": 30000, "touch": "pages"}),
    ("large", ["--operations", "1", "--min", "30000000"], {"min": 30000000, "max": 30000000, "slots": 8}),
    ("large", ["1", "20", "1", "--min", "1", "--slots", "1", "--touch", "none"], {"min": 1, "touch": "none"}),
    ("large", ["--seconds=0.02", "--touch=all", "--slots=2"], {"min": 5 << 20, "max": 25 << 20, "touch": "all"}),
    ("growth", ["2", "100", "5000"],
     {"threads": 2, "operations": 100, "min": 8, "max": 5000, "factor": 1.5, "with-others": 0, "touch": "pages"}),
    ("growth", ["1", "10", "2", "--min", "1"], {"min": 1, "max": 2}),
    ("growth", ["1", "1", "100", "--factor", "1000", "--with-others=7"], {"factor": 1000, "with-others": 7}),
    ("growth", ["--seconds", "0.02", "--touch", "first"], {"max": 64 << 20, "touch": "first"}),
]


@pytest.mark.parametrize("workload,arguments,wanted", FORMS, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_form(program: Program, workload: str, arguments: List[str], wanted: Dict[str, Any]) -> None:
    done = run(program(workload), ["--json", *arguments])
    result = done.json
    driver_contract.check(result)
    assert {name: result["arguments"].get(name) for name in wanted} == wanted
    assert done.err == ""


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "replay"])  # it needs a trace
def test_without_arguments(program: Program, workload: str) -> None:
    done = run(program(workload), ["--json"])
    driver_contract.check(done.json)
    assert 0.1 < done.json["wall_seconds"] < 30


NUMBERS = ["0", "-1", "-5", "10x", "x", "", " 1", "1 ", "+1", "0x10", "1e3", "1.5",
           "18446744073709551616", "99999999999999999999999999"]
BAD: List[Tuple[str, List[str], str]] = []
for _workload, _options in (
    ("larson", ["threads", "operations", "min", "max", "chunks", "rounds"]),
    ("bench_random_mixed", ["threads", "operations", "size", "slots"]),
    ("xmalloc", ["threads", "allocators", "releasers", "operations", "size", "batch"]),
    ("cache_thrash", ["threads", "operations", "size", "repetitions"]),
    ("cache_scratch", ["threads", "operations", "size", "repetitions"]),
    ("mstress", ["threads", "waves", "large-max"]),
    ("thread_churn", ["threads", "starts", "blocks"]),
    ("pareto", ["threads", "operations", "live", "min", "max"]),
    ("large", ["threads", "operations", "min", "max", "slots"]),
    ("growth", ["threads", "operations", "min", "max"]),
):
    for _option in _options:
        for _number in NUMBERS:
            BAD.append((_workload, [f"--{_option}={_number}"], f"--{_option}"))
        BAD.append((_workload, [f"--{_option}", "0"], f"--{_option}"))
        BAD.append((_workload, [f"--{_option}"], f"--{_option}"))
    for _number in NUMBERS[1:]:
        BAD.append((_workload, [f"--seed={_number}"], "--seed"))
    BAD += [
        (_workload, ["--treads", "4"], "--treads"),
        (_workload, ["--thread=4"], "--thread"),
        (_workload, ["-t", "4"], "-t"),
        (_workload, ["-"], "'-'|positional"),
        (_workload, ["--=4"], "--=4"),
        (_workload, ["--json=1"], "--json"),
        (_workload, ["--json", "--json"], "--json.*twice"),
        (_workload, ["--seed", "1", "--seed", "1"], "--seed.*twice"),
        (_workload, ["--threads", "4097"], "4096"),
        (_workload, ["1", "2"], "positional"),
        (_workload, ["1"] * 100, "positional"),
    ]
for _workload in ("larson", "xmalloc", "cache_thrash", "cache_scratch", "mstress", "thread_churn", "pareto", "large",
                  "growth"):
    for _seconds in ["0", "-1", "0.0001", "nan", "inf", "1e3", "86401", "0x1", "", ".", "1..2", "1,5", "1s"]:
        BAD.append((_workload, [f"--seconds={_seconds}"], "--seconds"))
    BAD.append((_workload, ["--seconds", "1", "--operations", "10"], "--seconds.*--operations"))
BAD += [
    ("larson", ["0", "8", "100", "10", "10", "1", "2"], r"SECONDS.*0\.001 to 86400"),
    ("larson", ["1", "0", "100", "10", "10", "1", "2"], "MIN"),
    ("larson", ["1", "8", "10x", "10", "10", "1", "2"], "MAX"),
    ("larson", ["1", "8", "100", "0", "10", "1", "2"], "CHUNKS"),
    ("larson", ["1", "8", "100", "10", "0", "1", "2"], "ROUNDS"),
    ("larson", ["1", "8", "100", "10", "10", "-1", "2"], "SEED"),
    ("larson", ["1", "8", "100", "10", "10", "1", "0"], "THREADS.*1 to 4096"),
    ("larson", ["0", "1000", "256"], "THREADS"),
    ("larson", ["2", "1000", "256", "--threads", "2"], "--threads.*twice"),
    ("larson", ["2", "1000", "256", "--seconds", "2"], "--seconds.*--operations"),
    ("larson", ["--max", "1073741825"], "1073741824"),
    ("larson", ["--threads", "4096", "--chunks", "100000000"], "--chunks.*--threads.*GiB"),
    ("larson", ["--threads", "4096", "--chunks", "100000", "--max", "1073741824"], "--max.*GiB"),
    ("bench_random_mixed", ["0", "256", "42"], "OPERATIONS"),
    ("bench_random_mixed", ["100", "0", "42"], "SIZE"),
    ("bench_random_mixed", ["100", "256", "4 2"], "SEED"),
    ("bench_random_mixed", ["--seconds", "1"], "--seconds"),
    ("bench_random_mixed", ["--sizes"], "--sizes"),
    ("bench_random_mixed", ["--sizes="], "--sizes"),
    ("bench_random_mixed", ["--sizes", "no such file"], "--sizes.*no such file"),
    ("bench_random_mixed", ["--sizes", "/"], "--sizes"),
    ("bench_random_mixed", ["--slots", "100000000", "--size", "1073741824"], "--slots.*--size.*GiB"),
    ("cache_thrash", ["2", "100", "8"], "takes 4 positional arguments or none, not 3"),
    ("cache_thrash", ["2", "100", "65537", "1"], r"SIZE.*1 to 65536"),
    ("cache_thrash", ["2", "100", "8", "0"], r"REPETITIONS.*1 to 1000000000"),
    ("cache_thrash", ["2", "100", "8", "1000000001"], "REPETITIONS"),
    ("cache_scratch", ["0", "100", "8", "1"], "THREADS.*1 to 4096"),
    ("cache_scratch", ["2", "0", "8", "1"], "OPERATIONS"),
    ("cache_scratch", ["2", "100", "8", "1", "--seconds", "1"], "--seconds.*--operations"),
    ("cache_scratch", ["2", "100", "8", "1", "--size", "8"], "--size.*twice"),
    ("xmalloc", ["4"], "positional.*'4'"),
    ("xmalloc", ["--threads", "2", "--allocators", "1"], "--threads.*--allocators"),
    ("xmalloc", ["--threads", "2", "--releasers", "1"], "--threads.*--releasers"),
    ("xmalloc", ["--size", "mixed"], "--size takes mix or"),
    ("xmalloc", ["--size", "1073741825"], "1073741824"),
    ("xmalloc", ["--size", "1073741824", "--batch", "65536"], "--batch.*--size.*GiB"),
    ("mstress", ["2", "0", "5"], "SCALE"),
    ("mstress", ["2", "5", "0"], "WAVES"),
    ("mstress", ["--waves", "2", "--seconds", "1"], "--seconds.*--waves"),
    ("mstress", ["--waves", "2", "--operations", "1"], "--operations.*--waves"),
    ("mstress", ["--min", "2000", "--max", "1000"], "--min 2000.*--max 1000"),
    ("mstress", ["--large-max", "1000"], "--large-max 1000.*--max 1024"),
    ("mstress", ["--keep", "80", "--exchange", "21"], "--keep 80.*--exchange 21"),
    ("mstress", ["--keep", "101"], "--keep.*0 to 100"),
    ("mstress", ["--large", "1001"], "--large.*0 to 1000"),
    ("mstress", ["--threads", "4096", "--scale", "100000000"], "--scale.*--threads.*GiB"),
    ("mstress", ["--max", "1073741824", "--scale", "1000"], "--max.*GiB"),
    ("thread_churn", ["1", "0", "5"], "STARTS"),
    ("thread_churn", ["1", "5", "0"], "BLOCKS"),
    ("thread_churn", ["--starts", "2", "--operations", "1"], "--operations.*--starts"),
    ("thread_churn", ["--min", "2000", "--max", "1000"], "--min 2000.*--max 1000"),
    ("thread_churn", ["--blocks", "100000000", "--threads", "4096"], "--blocks.*--threads.*GiB"),
    ("pareto", ["0", "100", "100000"], "THREADS"),
    ("pareto", ["1", "0", "100000"], "OPERATIONS"),
    ("pareto", ["1", "100", "0"], r"LIVE \(--live\) takes"),
    ("pareto", ["1", "100", "100"], "--live 100 makes no block for each of --threads 1"),
    ("pareto", ["--threads", "4096", "--live", "100000"], "--live 100000 makes no block"),
    ("pareto", ["--live", "4000000000", "--max", "16"], "--live.*more than 100 million blocks"),
    ("pareto", ["--live", "70000000000000"], "--live.*GiB"),
    ("pareto", ["--live", "70368744177665"], "70368744177664"),
    ("pareto", ["--min", "200", "--max", "100"], "--min 200 exceeds --max 100"),
    ("pareto", ["--size", "5"], "--size"),
    ("large", ["1", "10", "0"], "MAX"),
    ("large", ["--min", "2", "--max", "1"], "--min 2 exceeds --max 1"),
    ("large", ["--slots", "100000"], "--slots.*--max.*GiB"),
    ("large", ["--threads", "4096", "--slots", "100000000"], "--slots.*--threads"),
    ("growth", ["1", "10", "1"], "MAX.*2 to"),
    ("growth", ["1", "10", "8"], "--max 8 leaves nothing to grow from --min 8"),
    ("growth", ["--min", "20", "--max", "10"], "--min 20 exceeds --max 10"),
    ("growth", ["--min", "1073741824"], "--max 1073741824 leaves nothing"),
    ("growth", ["--with-others", "1000001"], "1000000"),
    ("growth", ["--with-others", "-1"], "--with-others"),
    ("growth", ["--threads", "4096"], "--max.*--threads.*GiB"),
    ("growth", ["--threads", "4000", "--max", "10000", "--with-others", "1000000"], "--with-others.*GiB"),
    *(("growth", [f"--factor={text}"], "--factor takes a number from 1.001 to 1000") for text in
      ["1", "0", "-2", "1.0001", "1001", "x", "1e1", "nan", "inf", "", "1,5", "1.5x"]),
    *(("pareto", [f"--{name}={text}"], f"--{name} takes a number from 0.01 to 10") for text in
      ["0", "0.001", "-1", "11", "x", "1e0", ""] for name in ("alpha", "life-alpha")),
    *((workload, [f"--touch={text}"], "--touch takes") for text in ["", "page", "ALL", "1", "none,all"]
      for workload in ("large", "growth")),
]


@pytest.mark.parametrize("workload,arguments,names", BAD, ids=lambda v: " ".join(v)[:60] if isinstance(v, list) else None)
def test_refused(program: Program, workload: str, arguments: List[str], names: str) -> None:
    done = run(program(workload), arguments, timeout=20)
    assert done.status == 2
    assert done.out == ""
    assert re.fullmatch(rf"{workload}: [^\n]+\n", done.err), done.err
    assert re.search(names, done.err), done.err


def test_control_characters_do_not_reach_the_terminal(program: Program) -> None:
    done = run(program("larson"), ["--threads", "\x1b[31m4\n"])
    assert done.status == 2 and "\x1b" not in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("workload", WORKLOADS)
def test_help(program: Program, workload: str) -> None:
    done = run(program(workload), ["--seed", "2", "--help"])
    assert done.status == 0 and done.err == ""
    for option in ["--seed", "--json", "--latency", "--check", "--none", "--help"]:
        assert option in done.out


def test_larson_swaps_min_and_max(program: Program) -> None:
    done = run(program("larson"), ["0.1", "5", "1", "100", "10", "10000", "42", "--json", "--check"])
    assert re.fullmatch(r"larson: MIN 5 .*MAX 1.*swapped.*\n", done.err)
    assert (done.json["arguments"]["min"], done.json["arguments"]["max"]) == (1, 5)
    assert done.json["arguments"]["threads"] == 42
    driver_contract.check(done.json)
