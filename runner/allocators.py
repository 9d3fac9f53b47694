"""Which allocators are measured, and the proof that it is them.

A name means the drivers that were linked with that allocator; `name=/path/to/lib.so` means the
system's driver with that library preloaded; `none` means the loop without an allocator, and `floor`
the least that one can cost (workloads/floor/).
"""
from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.elf_object import Architecture, ElfError, ElfObject
from runner.errors import UsageError, nearest
from runner.programs import LAUNCHER, PROGRAMS
from runner.records import Provider

LINKED = ("hakmem", "mimalloc", "jemalloc", "tcmalloc", "tbbmalloc", "system")
NONE = "none"
FLOOR = "floor"
RODS = (FLOOR, NONE)  # what is measured by: neither is in the default set, nor anyone's baseline
SUBJECT = "hakmem"
# Libraries that lie beside the drivers.
OWN_LIBRARIES = {SUBJECT: "libhakmem.so", FLOOR: "libfloor.so"}
# What is preloaded into a real program for each allocator that drivers are linked with: a name that
# the loader finds by itself, and the Debian package that brings it.
SONAMES = {
    "mimalloc": ("libmimalloc.so.2", "libmimalloc2.0"),
    "jemalloc": ("libjemalloc.so.2", "libjemalloc2"),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    "tbbmalloc": ("libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
    # Programs that bring an allocator, as Debian's redis does, get the system's this way too.
    "system": ("libc.so.6", "libc6"),
}
_NEEDED = ("malloc", "free", "calloc", "realloc")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
# LD_PRELOAD separates by these, and expands what begins with a dollar.
_UNSAFE_IN_PRELOAD = re.compile(r"[\s:;$]")


@dataclass(frozen=True)
class Allocator:
    """An allocator that was asked for. `library` is the file to preload, already resolved."""

    name: str
    kind: str  # linked | preloaded | none
    library: Optional[Path] = None
    option: Optional[str] = None  # of a build that --rev named: how

    @property
    def where(self) -> str:
        """Return the option that named it, for messages."""
        return self.option or f"--allocators {self.name}={self.library}"

    @property
    def link_name(self) -> str:
        """Return the name of a link to its library: the builds' are of one length, as their files'."""
        return self.name if self.option is None or self.library is None else self.library.stem

    def driver_name(self, workload: str) -> str:
        """Return the file name of the driver that measures this allocator."""
        if workload in PROGRAMS:
            return LAUNCHER
        return f"{workload}_{self.name if self.kind == 'linked' else 'system'}"


def parse_allocators(lists: Sequence[str]) -> list[Allocator]:
    """Return the allocators in comma lists; for no list, every one that can be linked."""
    if not lists:
        return [Allocator(name, "linked") for name in LINKED]
    found: list[Allocator] = []
    for word in (word.strip() for text in lists for word in text.split(",")):
        allocator = _parse_one(word)
        if any(other.name == allocator.name for other in found):
            raise UsageError(
                f"--allocators: the name '{allocator.name}' is given twice; give each allocator "
                "a name of its own."
            )
        found.append(allocator)
    return found


def _parse_one(word: str) -> Allocator:
    name, equals, path = word.partition("=")
    if not equals:
        if name == NONE:
            return Allocator(NONE, "none")
        if name in (*LINKED, FLOOR):
            return Allocator(name, "linked")
        hint = nearest(name, [*LINKED, *RODS])
        raise UsageError(
            f"--allocators: '{name}' is no allocator{hint} (there are {', '.join(LINKED)}, floor, "
            "none, and NAME=/path/to/lib.so)."
        )
    if not _NAME.fullmatch(name) or name in (*RODS, "system"):
        raise UsageError(
            f"--allocators {word}: '{name}' can't be the name of a library; take letters, digits "
            "and . _ + -, and none of 'none', 'floor' and 'system'."
        )
    if not path:
        raise UsageError(f"--allocators {word}: the path is missing; write {name}=/path/to/lib.so.")
    return Allocator(name, "preloaded", Path(os.path.realpath(path)))


def check_library(allocator: Allocator, program: Path) -> None:
    """Raise UsageError unless the allocator's library can serve malloc in a process that runs
    `program` (an ELF file that shows the machine)."""
    path = allocator.library
    if path is None:
        return
    where = allocator.where
    try:
        library = ElfObject.read(path)
        exported = library.exported_functions()
    except FileNotFoundError as error:
        raise UsageError(f"{where}: the file does not exist; check the path.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{where}: it can't be read ({reason}); give a readable library.") from error
    except ElfError as error:
        raise UsageError(f"{where}: {error}; give a shared library (.so).") from error
    wanted = _architecture(program)
    if wanted is not None and library.architecture != wanted:
        raise UsageError(
            f"{where}: it is for another machine ({library.architecture}); give one built for "
            f"{wanted}."
        )
    if not library.is_shared_library:
        raise UsageError(f"{where}: it is a program or an object file; give a shared library (.so).")
    missing = [name for name in _NEEDED if name not in exported]
    if missing:
        raise UsageError(
            f"{where}: it exports no {' and no '.join(missing)}, so it can't take malloc's place; "
            "give the library that is made for LD_PRELOAD."
        )


def _architecture(program: Path) -> Optional[Architecture]:
    for candidate in (program, Path("/proc/self/exe")):
        try:
            return ElfObject.read(candidate).architecture
        except (OSError, ElfError):
            continue
    return None


def provider_problem(allocator: Allocator, provider: Provider, mode: str) -> Optional[str]:
    """Return why a driver's run is not one of this allocator, or None if it is."""
    if allocator.kind == "none":
        return None if mode == "none" else f"the run without an allocator ran in mode '{mode}'"
    if mode != "allocator":
        return f"the driver ran in mode '{mode}' instead of 'allocator'"
    served = f"{provider.name} ({provider.path or 'unknown path'})"
    if allocator.kind == "linked" and provider.name != allocator.name:
        return f"malloc was served by {served} instead of {allocator.name}"
    if allocator.library is not None and not same_file(provider.path, allocator.library):
        return f"malloc was served by {served} instead of {allocator.library}"
    if not provider.complete:
        return f"only a part of malloc, calloc, realloc and free was served by {served}"
    return None


def library_of(allocator: Allocator, folder: Path) -> str:
    """Return what is preloaded into a real program; our libraries lie beside the drivers."""
    if allocator.library is not None:
        return str(allocator.library)
    if allocator.name in OWN_LIBRARIES:
        return str(folder / OWN_LIBRARIES[allocator.name])
    return SONAMES[allocator.name][0]


def missing_library(allocator: Allocator, folder: Path) -> Optional[str]:
    """Return why an allocator can't be preloaded into programs, None if it can."""
    library = library_of(allocator, folder)
    if os.path.isabs(library):
        if os.path.isfile(library):
            return None
        return f"there is no library {library}; build it with make {os.path.basename(library)}"
    if not _LOADABLE:
        _LOADABLE.update(_loadable_sonames())
    if library in _LOADABLE:
        return None
    return f"{library} was not found; install Debian's package {SONAMES[allocator.name][1]}"


_LOADABLE: set[str] = set()


def _loadable_sonames() -> set[str]:
    """Return which of our libraries the loader finds: it complains of those it does not."""
    names = [soname for soname, _ in SONAMES.values()]
    found: set[str] = set()
    for name in names:
        done = subprocess.run(
            ["/bin/true"], env={**os.environ, "LC_ALL": "C", "LD_PRELOAD": name},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )
        if name.encode() not in done.stderr:
            found.add(name)
    return found


def same_file(path: Optional[str], other: Path) -> bool:
    """True if both paths lead to one file."""
    if path is None:
        return False
    return os.path.realpath(path) == os.path.realpath(other)


class PreloadPaths:
    """Gives libraries a path that LD_PRELOAD can hold, through symbolic links in a folder that
    lives as long as this object, where the path itself has a space or a colon."""

    def __init__(self) -> None:
        self._folder: Optional[tempfile.TemporaryDirectory[str]] = None

    def path(self, allocator: Allocator) -> Optional[str]:
        """Return what to put into LD_PRELOAD, None for an allocator that is not preloaded."""
        if allocator.library is None:
            return None
        return self.link(allocator.link_name, str(allocator.library))

    def link(self, name: str, plain: str) -> str:
        """Return a path to `plain` that can be preloaded; `name` is its own among all links."""
        if not _UNSAFE_IN_PRELOAD.search(plain):
            return plain
        if self._folder is None:
            base = tempfile.gettempdir()
            self._folder = tempfile.TemporaryDirectory(
                prefix="hakmem-preload-", dir="/tmp" if _UNSAFE_IN_PRELOAD.search(base) else base
            )
        link = os.path.join(self._folder.name, f"{name}.so")
        if not os.path.islink(link):
            os.symlink(plain, link)
        return link

    def close(self) -> None:
        """Remove the links."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
