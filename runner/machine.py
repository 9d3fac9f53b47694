"""What the results say about the machine and the source tree. No host name is ever read."""
from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from runner.records import Cache, Git, Machine

# Environment variables that change how an allocator behaves; they are stored with the results.
_TUNING = re.compile(
    r"(HAKMEM|MIMALLOC|MALLOC|JEMALLOC|TCMALLOC|TBB|SNMALLOC|RPMALLOC)_.*|_RJEM_MALLOC_CONF|"
    r"GLIBC_TUNABLES|LD_LIBRARY_PATH|LD_BIND_NOW"
)
_DMI_VENDORS = {
    "qemu": "QEMU/KVM", "amazon": "Amazon EC2", "google": "Google Compute Engine",
    "microsoft": "Hyper-V", "vmware": "VMware", "innotek": "VirtualBox", "xen": "Xen",
    "parallels": "Parallels", "digitalocean": "DigitalOcean", "hetzner": "Hetzner",
}


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""


def describe_machine() -> Machine:
    """Return the machine as it is now."""
    cpuinfo = _text("/proc/cpuinfo")
    system = os.uname()
    return Machine(
        cpu_model=_cpu_model(cpuinfo, system.machine),
        architecture=system.machine,
        cores_available=cores_available(),
        cores_total=os.cpu_count() or 1,
        cpu_quota_cores=_cpu_quota(),
        threads_per_core=_threads_per_core(),
        memory_bytes=memory_bytes(),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        kernel=f"{system.sysname} {system.release}",
        system=_field(_text("/etc/os-release"), r'PRETTY_NAME="?([^"\n]+)"?'),
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        transparent_hugepages=_field(
            _text("/sys/kernel/mm/transparent_hugepage/enabled"), r"\[(\w+)\]"
        ),
        virtualization=_virtualization(cpuinfo),
        load_average=load_average(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        caches=caches(),
    )


_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def caches(folder: Path = _CACHES) -> list[Cache]:
    """Return the first processor's caches that hold data, the smallest level first; what the kernel does
    not tell the C library may. Empty where nobody does."""
    found: dict[int, Cache] = {}
    for index in sorted(folder.glob("index[0-9]*")):
        level, kind = _text(str(index / "level")), _text(str(index / "type"))
        size = re.fullmatch(r"(\d+)([KMG]?)", _text(str(index / "size")))
        if kind == "Instruction" or not level.isdigit() or size is None or int(size[1]) == 0:
            continue
        shared_by = _listed_processors(_text(str(index / "shared_cpu_list"))) or 1
        found[int(level)] = Cache(int(level), int(size[1]) * _UNITS[size[2]], shared_by)
    if not found and folder == _CACHES:
        found = _caches_by_getconf()
    return [found[level] for level in sorted(found)]


def _caches_by_getconf() -> dict[int, Cache]:
    """The C library asks the processor itself; who shares a cache is what is usual then."""
    found: dict[int, Cache] = {}
    for level, name in ((1, "LEVEL1_DCACHE_SIZE"), (2, "LEVEL2_CACHE_SIZE"), (3, "LEVEL3_CACHE_SIZE")):
        try:
            done = subprocess.run(["getconf", name], stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            break
        text = done.stdout.decode("ascii", "replace").strip()
        if text.isdigit() and int(text) > 0:
            shared_by = (os.cpu_count() or 1) if level == 3 else _threads_per_core() or 1
            found[level] = Cache(level, int(text), shared_by)
    return found


def cores_available() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0))


def load_average() -> Optional[float]:
    """Return the load of the last minute, None where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _field(text: str, pattern: str) -> Optional[str]:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else None


def _cpu_model(cpuinfo: str, architecture: str) -> str:
    name = _field(cpuinfo, r"^model name\s*:\s*(.+)$") or _text("/proc/device-tree/model")
    if name:
        return name
    part = _field(cpuinfo, r"^CPU part\s*:\s*(\S+)$")
    maker = _field(cpuinfo, r"^CPU implementer\s*:\s*(\S+)$")
    return f"{architecture} implementer {maker} part {part}" if part else architecture


def _threads_per_core() -> Optional[int]:
    return _listed_processors(_text("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"))


def _listed_processors(text: str) -> Optional[int]:
    """Return how many processors a list such as 0-3,8 names, None where it names none."""
    count = 0
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        if not low.isdigit() or (high and not high.isdigit()):
            return None
        count += int(high or low) - int(low) + 1
    return count or None


def memory_bytes() -> Optional[int]:
    """Return the machine's memory, None where the system does not tell."""
    total = _field(_text("/proc/meminfo"), r"^MemTotal:\s*(\d+) kB$")
    return int(total) * 1024 if total else None


def _cpu_quota() -> Optional[float]:
    """The share of processor time that a control group allows, in cores."""
    group = _field(_text("/proc/self/cgroup"), r"^0::(.+)$")
    if group is None:
        return None
    quota, _, period = _text(f"/sys/fs/cgroup{group.rstrip('/')}/cpu.max").partition(" ")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return round(int(quota) / int(period), 2)


def _virtualization(cpuinfo: str) -> Optional[str]:
    """A container, a virtual machine, or one in the other; None where neither shows."""
    layers: list[str] = []
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        layers.append("container")
    vendor = (_text("/sys/class/dmi/id/sys_vendor") or _text("/sys/hypervisor/type")).lower()
    named = [name for word, name in _DMI_VENDORS.items() if word in vendor]
    if named:
        layers.append(named[0])
    elif _field(cpuinfo, r"^flags\s*:.*\b(hypervisor)\b") or os.path.exists(
        "/proc/device-tree/hypervisor"
    ):
        layers.append("virtual machine")
    return " in ".join(layers) or None


def tuning_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change how allocators behave."""
    return {name: environment[name] for name in sorted(environment) if _TUNING.fullmatch(name)}


def driver_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for drivers: ours, without a preloaded library of someone else's."""
    return {name: value for name, value in environment.items() if name != "LD_PRELOAD"}


def describe_git(root: Path) -> Optional[Git]:
    """Return commit and state of the tree, None if it is no git checkout of its own."""
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    if not top or not commit or os.path.realpath(top) != os.path.realpath(root):
        return None
    return Git(commit=commit, dirty=bool(_git(root, "status", "--porcelain")))


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
