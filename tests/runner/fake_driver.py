"""A driver that keeps docs/driver-interface.md without measuring anything, for the runner's tests.

It is copied under the names of drivers. A file `behaviour.json` in its folder says how it behaves,
by its file name ("" for all others): a list of words, see `_misbehave`. It may be limited to one
run with "@N WORD": only the Nth run of that driver (probe runs count) does it.
"""
import hashlib
import json
import os
import signal
import sys
import time


def _options(words):
    values, flags = {}, set()
    words = list(words)
    while words:
        word = words.pop(0)
        if word in ("--json", "--check", "--latency", "--none"):
            flags.add(word)
            continue
        text = words.pop(0)
        try:
            values[word[2:]] = int(text)
        except ValueError:
            try:
                values[word[2:]] = float(text)
            except ValueError:
                values[word[2:]] = text
    return values, flags


def _wanted(folder, name):
    try:
        with open(os.path.join(folder, "behaviour.json"), encoding="utf-8") as stream:
            table = json.load(stream)
    except FileNotFoundError:
        return []
    counter = os.path.join(folder, name + ".runs")
    with open(counter, "a", encoding="ascii") as stream:
        stream.write("x")
    runs = os.path.getsize(counter)
    words = []
    for word in table.get(name, table.get("", [])):
        if word.startswith("@"):
            when, _, word = word.partition(" ")
            if int(when[1:]) != runs:
                continue
        words.append(word)
    return words


def _misbehave(words, report):
    """Do what must be done before the report is printed, and change the report."""
    for word in words:
        name, _, value = word.partition("=")
        if name == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "hang":
            if os.fork() == 0:  # a child that must be killed as well
                time.sleep(600)
            open(value, "w", encoding="ascii").close() if value else None
            time.sleep(600)
        elif name == "exit":
            sys.stderr.write("something went wrong\nthe last words\n")
            sys.exit(int(value))
        elif name == "garbage":
            sys.stdout.write("{ this is no JSON")
            sys.exit(0)
        elif name == "flood":
            for _ in range(100):
                sys.stdout.write("x" * 100_000)
            sys.exit(0)
        elif name == "chatter":
            sys.stderr.write("a line of chatter\n" * 200_000)
        elif name == "provider":
            report["provider"]["name"] = value
        elif name == "incomplete":
            report["provider"]["complete"] = False
        elif name == "damage":
            report["check"] = {"blocks": 1000, "errors": 3}
        elif name == "ignore-preload":
            report["provider"].update(name="system", path="/lib/libc.so.6")
        elif name == "without":
            report.pop(value)
        elif name == "speed":
            report["ops_per_second"] = float(value)
        elif name == "speed-of":  # a build, by its library's file name
            library, _, speed = value.partition(":")
            if os.path.basename(report["provider"]["path"]) == library:
                report["ops_per_second"] = float(speed)
        elif name == "noisy-at":  # threads
            if report["arguments"].get("threads") == int(value):
                report["ops_per_second"] *= 0.5 + (os.getpid() * 7919 % 1000) / 1000
        elif name == "memory":
            report["peak_rss_bytes"] = int(value)
        elif name == "figure":
            figure, _, number = value.partition(":")
            report.setdefault("figures", {})[figure] = float(number)
        elif name == "sleep":
            time.sleep(float(value))
        elif name == "infinite":
            report["ops_per_second"] = float("inf")
        else:
            raise SystemExit(f"unknown behaviour {word}")


def _report(workload, allocator, values, flags):
    text = json.dumps([allocator, sorted(values.items()), os.getpid()])
    noise = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 2**24
    speed = {"hakmem": 60e6, "mimalloc": 55e6, "system": 20e6}.get(allocator, 40e6)
    speed *= 0.95 + 0.1 * noise
    seconds = float(values.get("seconds", values.get("operations", 1000) / 1e6))
    preload = os.environ.get("LD_PRELOAD")
    path = os.path.realpath(preload) if preload else f"/lib/{allocator}.so"
    phase = {"name": "churn", "operations": 1000, "wall_seconds": seconds, "cpu_seconds": seconds,
             "ops_per_second": speed, "rss_bytes": 5_000_000, "minor_faults": 10}
    call = {"samples": 10, "p50": 20.0, "p99": 50.0, "p999": 1000.0, "max": 1000.0,
            "histogram": [[20.0, 7], [50.0, 2], [1000.0, 1]]}
    return {
        "schema": "hakmem-driver", "schema_version": 1, "workload": workload,
        "variant": "release", "compiler": "gcc 12.2.0", "flags": "-O2", "cores": 2,
        "arguments": {**values},
        "mode": "none" if "--none" in flags else "allocator",
        "provider": {
            "name": "unknown" if preload else allocator, "version": "1.2", "path": path,
            "build_id": "abcd", "complete": True, "parts": {"malloc": path},
        },
        "operations": int(values.get("operations", 1000)), "checksum": "0x1", "wall_seconds": seconds,
        "cpu_user_seconds": seconds, "cpu_system_seconds": 0.0, "ops_per_second": speed,
        "peak_rss_bytes": int(8_000_000 * (1 + 0.01 * noise)), "end_rss_bytes": 4_000_000,
        "rss_halves_bytes": [8_000_000, 8_000_000], "minor_faults": 100, "major_faults": 0,
        "phases": [phase],
        "latency": {"unit": "ns", "sample_every": 997, "clock_ns": 21.0, "malloc": call,
                    "free": call} if "--latency" in flags else None,
        "check": {"blocks": 1000, "errors": 0} if "--check" in flags else None,
    }


def _main():
    folder, name = os.path.split(os.path.abspath(sys.argv[0]))
    workload, _, allocator = name.rpartition("_")
    values, flags = _options(sys.argv[1:])
    report = _report(workload, allocator, values, flags)
    _misbehave(_wanted(folder, name), report)
    json.dump(report, sys.stdout)


_main()
