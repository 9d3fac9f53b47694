"""Which machines' numbers may stand in one line of a history, and which may not.

Numbers are kept apart by what an allocator can't do anything about: the processor, how many cores of it
the run may use, memory, the size of a page, whether a virtual machine is in between, and whether the
kernel hands out huge pages. What changes with time on one machine (the kernel's version, the governor,
compiler, versions of the baselines) does not part them; a trend names it where it changed.
"""
from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Optional

from runner.records import Machine, RunHeader

_KEY_DIGITS = 8


def machine_facts_of(machine: Machine) -> dict[str, Any]:
    """Return what tells machines apart."""
    return {
        "cpu_model": " ".join(machine.cpu_model.split()),
        "architecture": machine.architecture,
        "cores": machine.cores_available,
        "cores_total": machine.cores_total,
        "quota": machine.cpu_quota_cores,
        "threads_per_core": machine.threads_per_core,
        "memory_step": _memory_step(machine.memory_bytes),
        "page_bytes": machine.page_bytes,
        "virtual": _is_virtual(machine.virtualization),
        "huge_pages": machine.transparent_hugepages,
    }


def machine_key(machine: Machine) -> str:
    """Return a short key that machines with comparable numbers share."""
    text = json.dumps(machine_facts_of(machine), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_KEY_DIGITS]


def machine_title(machine: Machine) -> str:
    """Return a name for people."""
    cores = f"{machine.cores_available} {'core' if machine.cores_available == 1 else 'cores'}"
    if machine.cpu_quota_cores is not None:
        cores += f" limited to {machine.cpu_quota_cores:g}"
    parts = [" ".join(machine.cpu_model.split()), machine.architecture, cores]
    if machine.memory_bytes:
        parts.append(f"{machine.memory_bytes / (1 << 30):.0f} GiB")
    if machine.transparent_hugepages:
        parts.append(f"huge pages {machine.transparent_hugepages}")
    return ", ".join(parts)


def circumstances(header: RunHeader) -> dict[str, str]:
    """Return what else the numbers depend on and may change from run to run on one machine."""
    found = {
        "kernel": header.machine.kernel,
        "governor": header.machine.governor or "unknown",
        "compiler": header.build.compiler,
        "flags": header.build.flags,
        "variant": header.build.variant,
        "duration": f"{header.settings.duration_seconds:g} s",
        "latency sampling": "on" if header.settings.latency else "off",
    }
    builds = {build.allocator for build in header.builds}
    for entry in header.allocators:
        if entry.version is not None and entry.name not in builds and entry.name != "hakmem":
            found[entry.name] = entry.version
    found.update(header.environment)
    return found


def _memory_step(memory: Optional[int]) -> Optional[int]:
    """Memory in quarters of a doubling: what the kernel keeps for itself, a few per cent that differ from
    version to version, makes no other machine."""
    return round(4 * math.log2(memory)) if memory else None


def _is_virtual(virtualization: Optional[str]) -> bool:
    """True within a virtual machine; a container alone shares its host's kernel, and costs nothing here."""
    return virtualization not in (None, "", "container")
