"""Builds the drivers and the preloaded test libraries, and runs them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from trace_writer import made_trace

ROOT = Path(__file__).resolve().parents[2]
PRELOADS = Path(__file__).resolve().parent / "preload"
WORKLOADS = (
    "larson", "bench_random_mixed", "xmalloc",
    "cache_thrash", "cache_scratch",
    "mstress", "thread_churn",
    "pareto", "large", "growth",
    "replay",
)

# A short run of each workload whose every choice is fixed by its seed.
SHORT: Dict[str, List[str]] = {
    "larson": ["--threads", "2", "--operations", "20000", "--max", "256"],
    "bench_random_mixed": ["100000", "256", "42"],
    "xmalloc": ["--allocators", "1", "--releasers", "1", "--operations", "20000"],
    "cache_thrash": ["2", "20000", "40", "3"],
    "cache_scratch": ["2", "20000", "40", "3"],
    "mstress": ["--threads", "2", "--operations", "20000"],
    "thread_churn": ["--threads", "2", "--operations", "20000", "--blocks", "2000"],
    "pareto": ["2", "20000", "1000000"],
    "large": ["--threads", "2", "--operations", "10000", "--slots", "16", "--min", "40", "--max", "3000"],
    "growth": ["2", "6000", "20000", "--with-others", "5"],
    "replay": [str(made_trace("short", 256))],
}


@dataclass(frozen=True)
class Result:
    """What a driver said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Dict[str, Any]:
        assert self.status == 0, f"status {self.status}: {self.err}"
        parsed = json.loads(self.out, parse_constant=_refuse_constant)
        assert isinstance(parsed, dict)
        return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def clean_environment() -> Dict[str, str]:
    """The environment without what would change the allocator or its behaviour."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LD_", "HAKMEM_", "MALLOC_", "MIMALLOC_", "GLIBC_", "MAKE", "MFLAGS"))
    }


def build(target: str, variant: str = "release") -> Path:
    """Builds WORKLOAD_ALLOCATOR and returns its path."""
    done = subprocess.run(
        ["make", "-s", f"VARIANT={variant}", target],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=600, check=False,
    )
    path = ROOT / "out" / variant / target
    assert done.returncode == 0 and path.exists(), f"make {target}: {done.stderr[-2000:]}"
    return path


def run(
    program: Path,
    arguments: Sequence[str] = (),
    preload: Optional[Path] = None,
    environment: Optional[Dict[str, str]] = None,
    timeout: float = 120,
    cwd: Optional[Path] = None,
) -> Result:
    """Runs a driver to its end."""
    env = clean_environment()
    env.update(environment or {})
    if preload is not None:
        env["LD_PRELOAD"] = str(preload)
    done = subprocess.run(
        [str(program), *arguments],
        env=env, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def compile_preload(name: str, folder: Path) -> Path:
    """Compiles preload/NAME.c to a shared library in `folder`."""
    library = folder / f"{name}.so"
    compiler = os.environ.get("CC", "gcc")
    subprocess.run(
        [
            *compiler.split(), "-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-pthread", "-fno-builtin",
            "-Wall", "-Wextra", "-o", str(library), str(PRELOADS / f"{name}.c"), "-ldl",
        ],
        check=True,
    )
    return library


def find_library(soname: str) -> Optional[Path]:
    """Where the compiler finds a shared library, None where it is not installed."""
    done = subprocess.run(
        [*os.environ.get("CC", "gcc").split(), f"-print-file-name={soname}"],
        capture_output=True, text=True, check=True,
    )
    path = Path(done.stdout.strip())
    return path if path.is_absolute() and path.exists() else None
