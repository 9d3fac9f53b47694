"""Adds samples up: equal stacks into one, and stacks into functions with what each costs per operation.

Costs are per operation of the workload, so that two profiles can be compared though one did more
operations in the same time. A function's own cost is its share of all samples, weighted by their periods,
of what the whole run cost per operation.
"""
from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from runner.allocators import same_file
from runner.profiles.perf_script import UNKNOWN, Frame, StackSample

DRIVER, ALLOCATOR, LIBC, KERNEL, OTHER = "driver", "allocator", "libc", "kernel", "other"
ROLES = (ALLOCATOR, DRIVER, LIBC, KERNEL, OTHER)
UNKNOWN_CALLER = "[callers unknown]"
# What runs before the driver does, in its process, and what starts every thread.
_NOT_THE_DRIVER = ("perf", "perf-exec")
_ENTRIES = re.compile(r"clone3?|__clone3?|start_thread|_start|_?_?libc_start_(main|call_main).*|start")
_LIBC = re.compile(r"(libc[.-]|libpthread[.-]|ld-(linux|musl|[0-9])|ld64\.|libc\.musl)")
_CALLS_OF_LIBC = {"malloc", "free", "calloc", "realloc", "memalign", "posix_memalign", "aligned_alloc"}
# What gcc appends to a function that it took apart or specialised: that may differ between builds.
_COMPILERS_SUFFIX = re.compile(r"(\.(constprop|isra|part|cold|lto_priv|llvm)(\.\d+)*)+$")
_Z95 = 1.96  # 95% of a normal distribution lie within so many standard deviations


@dataclass(frozen=True)
class Place:
    """A frame of an added-up stack: a function, in which part of the process."""

    name: str
    role: str
    object: str  # the file's name, without its folder
    inlined: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same function in another build, or the same call of another allocator."""
        return self.role, _COMPILERS_SUFFIX.sub("", self.name)


@dataclass
class FunctionCost:
    """What a function costs: itself, and with all that it calls. Weights are sums of periods."""

    place: Place
    path: str
    own: int = 0
    total: int = 0
    samples: int = 0
    callers: Counter[str] = field(default_factory=Counter)
    offsets: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Served:
    """Whose code is what in the process: files of the driver and of the allocator that served."""

    allocator: str
    provider: Optional[str]
    driver: Path

    def is_measured(self, place: str) -> bool:
        """True for an object of the driver or of the allocator."""
        serves = self.provider is not None and same_file(place, Path(self.provider))
        return serves or self.role_of(place) in (DRIVER, ALLOCATOR)

    def role_of(self, place: str) -> str:
        """Return the part that an object belongs to by its path, or perf's word for it."""
        if place.startswith("[") and place not in (UNKNOWN, "[vdso]", "[stack]", "[heap]"):
            return KERNEL
        name = os.path.basename(place)
        if same_file(place, self.driver):
            return DRIVER
        if _LIBC.match(name):
            return LIBC
        # An allocator may be made of several libraries: libtbbmalloc_proxy calls libtbbmalloc.
        mine = self.provider is not None and same_file(place, Path(self.provider))
        return ALLOCATOR if mine or name.startswith(f"lib{self.allocator}") else OTHER


@dataclass
class Profile:
    """Samples of one run, added up. `per_operation` is what an operation cost in all, in the unit."""

    samples: int
    weight: int
    per_operation: float
    stacks: dict[tuple[Place, ...], int]  # outermost first
    functions: list[FunctionCost]  # the most costly first
    whole: int  # samples whose stack reaches back to where its thread began

    def cost(self, weight: float) -> float:
        """Return what a weight is per operation."""
        return weight / self.weight * self.per_operation if self.weight else 0.0

    def share(self, weight: float) -> float:
        """Return what a weight is of all."""
        return weight / self.weight if self.weight else 0.0

    def deviation(self, weight: float) -> float:
        """Return the standard deviation of a cost that comes of taking samples only."""
        share = min(1.0, self.share(weight))
        return self.per_operation * math.sqrt(share * (1 - share) / max(1, self.samples))

    def by_role(self) -> dict[str, int]:
        """Return the weight of each part of the process, by where the samples fell."""
        found = {role: 0 for role in ROLES}
        for function in self.functions:
            found[function.place.role] += function.own
        return found


def add_up(samples: Iterable[StackSample], served: Served) -> Profile:
    """Return the samples added up; the cost of an operation is left at 0."""
    counter = _Counter(served)
    for sample in samples:
        if sample.command not in _NOT_THE_DRIVER:
            counter.add(sample)
    functions = _by_cost(counter.functions.values())
    return Profile(counter.samples, counter.weight, 0.0, counter.stacks, functions, counter.whole)


def merged(profiles: Sequence[Profile]) -> Profile:
    """Return several profiles of the same code as one; the cost of an operation is left at 0."""
    stacks: dict[tuple[Place, ...], int] = {}
    functions: dict[tuple[Place, str], FunctionCost] = {}
    for profile in profiles:
        for stack, weight in profile.stacks.items():
            stacks[stack] = stacks.get(stack, 0) + weight
        for one in profile.functions:
            cost = functions.setdefault((one.place, one.path), FunctionCost(one.place, one.path))
            cost.own += one.own
            cost.total += one.total
            cost.samples += one.samples
            cost.callers.update(one.callers)
            cost.offsets.update(one.offsets)
    return Profile(
        sum(p.samples for p in profiles), sum(p.weight for p in profiles), 0.0, stacks,
        _by_cost(functions.values()), sum(p.whole for p in profiles),
    )


def _by_cost(functions: Iterable[FunctionCost]) -> list[FunctionCost]:
    return sorted(functions, key=lambda f: (-f.own, -f.total, f.place.name))


class _Counter:
    def __init__(self, served: Served) -> None:
        self._served = served
        self._libc_serves = bool(served.provider and _LIBC.match(os.path.basename(served.provider)))
        self._roles: dict[str, str] = {}
        self.stacks: dict[tuple[Place, ...], int] = {}
        self.functions: dict[tuple[Place, str], FunctionCost] = {}
        self.samples = self.weight = self.whole = 0

    def add(self, sample: StackSample) -> None:
        """Count one sample."""
        frames, whole = _cut(sample.frames)
        places = self._places(frames)
        self.samples += 1
        self.whole += whole
        self.weight += sample.period
        root = () if whole else (Place(UNKNOWN_CALLER, OTHER, ""),)
        stack = (*root, *reversed(places))
        self.stacks[stack] = self.stacks.get(stack, 0) + sample.period
        real = [(place, frame) for place, frame in zip(places, frames) if not place.inlined]
        seen: set[tuple[Place, str]] = set()
        for depth, (place, frame) in enumerate(real):
            cost = self.functions.setdefault((place, frame.object), FunctionCost(place, frame.object))
            if depth == 0:
                cost.own += sample.period
                cost.samples += 1
                cost.offsets[sample.offset] += sample.period
                caller = real[1][0].name if len(real) > 1 else "" if whole else UNKNOWN_CALLER
                cost.callers[caller] += sample.period
            if (place, frame.object) not in seen:
                seen.add((place, frame.object))
                cost.total += sample.period

    def _places(self, frames: Sequence[Frame]) -> list[Place]:
        """Return the frames, innermost first, with their roles. What the C library does on behalf of
        its own malloc and free is the allocator's, where these served."""
        found: list[Place] = []
        called = False
        for frame in reversed(frames):
            role = self._roles.get(frame.object)
            if role is None:
                role = self._roles[frame.object] = self._served.role_of(frame.object)
            if self._libc_serves and role == LIBC:
                called = called or frame.name in _CALLS_OF_LIBC
                role = ALLOCATOR if called else LIBC
            found.append(Place(frame.name, role, os.path.basename(frame.object), frame.inlined))
        found.reverse()
        return found


def _cut(frames: Sequence[Frame]) -> tuple[list[Frame], bool]:
    """Return the frames, innermost first, as far as they can be believed and without those that only
    start a thread; and whether they reach back to there."""
    kept: list[Frame] = []
    for frame in frames:
        if frame.object == UNKNOWN and kept:
            return kept, False
        if _ENTRIES.fullmatch(frame.name) and kept:
            return kept, True
        kept.append(frame)
    # The kernel has nothing to come back to when a process begins or ends.
    only_kernel = all(frame.object.startswith("[") for frame in kept)
    return kept, only_kernel or _ENTRIES.fullmatch(kept[-1].name) is not None


def folded_text(profile: Profile) -> str:
    """Return the stacks as lines that other tools read too: frames from the outermost inwards with ;
    between them, a blank, the weight. What the kernel does ends in _[k], what was inlined in _[i]."""
    lines = [
        ";".join(_folded_name(place) for place in stack) + f" {weight}"
        for stack, weight in profile.stacks.items()
    ]
    return "\n".join([*sorted(lines), ""])


def _folded_name(place: Place) -> str:
    mark = "_[k]" if place.role == KERNEL else "_[i]" if place.inlined else ""
    return place.name.replace(";", ":").replace("\n", " ") + mark


@dataclass(frozen=True)
class Difference:
    """One function in two profiles: own costs per operation, and half the interval (95%) of the
    difference that comes of taking samples only. `place` is None on the side where it never showed."""

    name: str
    role: str
    base: float
    new: float
    half_width: float

    @property
    def change(self) -> float:
        """How much more it costs now."""
        return self.new - self.base

    @property
    def sure(self) -> bool:
        """True if the change is more than the samples' noise."""
        return abs(self.change) > self.half_width


def differences(base: Profile, new: Profile) -> list[Difference]:
    """Return all functions of both profiles, the largest change first."""
    weights: dict[tuple[str, str], list[float]] = {}
    for side, profile in enumerate((base, new)):
        for function in profile.functions:
            if function.own:
                weights.setdefault(function.place.key, [0.0, 0.0])[side] += function.own
    found = [
        Difference(
            name, role, base.cost(before), new.cost(after),
            _Z95 * math.hypot(base.deviation(before), new.deviation(after)),
        )
        for (role, name), (before, after) in weights.items()
    ]
    return sorted(found, key=lambda difference: (-abs(difference.change), difference.name))
