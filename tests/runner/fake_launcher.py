"""A launcher of programs that runs none, for the runner's tests; see fake_driver.py for the other.

It is copied as run_program. A file `behaviour.json` in its folder says how it behaves: a list of
words under "run_program", each done always, or "@N WORD" in the Nth run that is no probe.
"""
import json
import os
import signal
import sys
import time

NAMES = {
    "libc.so.6": "system", "libmimalloc.so.2": "mimalloc", "libhakmem.so": "hakmem",
    "libjemalloc.so.2": "jemalloc", "libtcmalloc_minimal.so.4": "tcmalloc",
    "libtbbmalloc_proxy.so.2": "tbbmalloc",
}
SPEED = {"system": 1.0, "mimalloc": 0.8, "hakmem": 0.5}


def _words(folder):
    path = os.path.join(folder, "behaviour.json")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as stream:
        table = json.load(stream)
    counter = os.path.join(folder, "run_program.runs")
    with open(counter, "a", encoding="ascii") as stream:
        stream.write("x")
    found = []
    for word in table.get("run_program", []):
        if word.startswith("@"):
            when, _, word = word.partition(" ")
            if int(when[1:]) != os.path.getsize(counter):
                continue
        found.append(word)
    return found


def _main():
    words = sys.argv[1:]
    program = words[words.index("--") + 1:]
    options = dict(zip([w[2:] for w in words[1:words.index("--"):2]], words[2:words.index("--"):2]))
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    probe = "--version" in program
    behaviour = [] if probe else _words(folder)
    library = options["preload"]
    name = NAMES.get(os.path.basename(os.path.realpath(library)), "unknown")
    seconds, text = 0.2 * SPEED.get(name, 1.0), "the result\nok\n"
    faults = {}
    for word in behaviour:
        kind, _, value = word.partition("=")
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif kind == "wrong":
            text = "something else\nok\n"
        elif kind == "ignore-preload":
            name = "system"
        elif kind == "incomplete":
            faults["complete"] = False
        elif kind == "idle":
            seconds = 0.0
        elif kind == "hang":
            open(value, "w", encoding="ascii").close()
            time.sleep(600)
        else:
            raise SystemExit(f"unknown behaviour {word}")
    os.chdir(options["directory"])
    made = options.get("result", options.get("output"))
    if made:
        with open(made, "w", encoding="ascii") as stream:
            stream.write(text)
    if "expect" in options:
        with open(options["expect"], encoding="ascii") as stream:
            if stream.read() != text:
                sys.exit("the program's result is wrong")
    path = os.path.realpath(library) if "/" in library else f"/lib/{library}"
    memory = {"system": 10, "mimalloc": 12, "hakmem": 11}.get(name, 9) << 20
    operations = int(options.get("operations", 1))
    json.dump({
        "schema": "hakmem-driver", "schema_version": 1, "workload": options["workload"],
        "variant": "release", "compiler": "gcc 12.2.0", "flags": "-O2", "cores": 2,
        "arguments": {k: int(options[k]) for k in ("operations", "work", "seed") if k in options},
        "mode": "allocator",
        "provider": {"name": name, "version": "1.2", "path": path, "build_id": None,
                     "complete": True, "parts": {}, **faults},
        "operations": operations, "checksum": "0x1", "wall_seconds": 0.5,
        "cpu_user_seconds": seconds, "cpu_system_seconds": seconds / 10,
        "ops_per_second": operations / 0.5, "peak_rss_bytes": memory, "end_rss_bytes": memory,
        "rss_halves_bytes": [], "minor_faults": 1, "major_faults": 0, "phases": [],
        "processes": [{"name": "program", "cpu_seconds": seconds, "peak_rss_bytes": memory}],
        "latency": None, "check": None,
    }, sys.stdout)


_main()
