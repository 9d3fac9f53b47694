"""Finds where a series of numbers changed its level.

Circular binary segmentation (Olshen, Venkatraman, Lucito & Wigler, "Circular binary segmentation for the
analysis of array-based DNA copy number data", Biostatistics 5(4), 2004): of all stretches of the series
the one is sought that differs most from the rest, so that a change that was taken back later is found as
well as one that stayed; then the parts are searched in the same way. Numbers are replaced by their ranks
(Wilcoxon), so that single outliers count little, and so that what chance does depends on nothing but the
length: it is simulated once for each length by permutations. At last each place is sought again between
its neighbours, and kept if the numbers on both sides of it differ.

Where many series are looked at together, the level is lowered as Benjamini & Hochberg do ("Controlling
the false discovery rate", J. R. Stat. Soc. B 57(1), 1995). Needs numpy.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.005  # how often a single series without a change may show one
FALSE_DISCOVERY_RATE = 0.02  # of all series that show a change, when many are looked at
MIN_SEGMENT = 3
FEWEST = 2 * MIN_SEGMENT
MOST = 200  # numbers in a series; the arcs grow with the square
_PERMUTATIONS = 9999
_BATCH = 1 << 21  # numbers at a time
_EDGE_LEVEL = 0.05  # neighbours must differ by this much at each end of a stretch
_RESAMPLES = 2000
_SEED = 20201


@dataclass(frozen=True)
class Change:
    """A change of level: the number at `place` is the first after it. `ratio` is the median after it, up
    to the next change, over the median before it, with its 95% bootstrap interval."""

    place: int
    ratio: float
    low: float
    high: float


def find_changes(many: Sequence[Sequence[float]]) -> list[list[Change]]:
    """Return for each of some series of positive numbers its changes, in their order."""
    series = [np.asarray(values[-MOST:], dtype=float) for values in many]
    skipped = [len(values) - len(kept) for values, kept in zip(many, series)]
    level = _level([_best_arc(values)[0] for values in series])
    found: list[list[Change]] = []
    for values, skip in zip(series, skipped):
        places: list[int] = []
        _search(values, 0, level, places)
        found.append(_measure(values, _confirmed(values, sorted(set(places))), skip))
    return found


def exact_changes(values: Sequence[float], least: float) -> list[Change]:
    """Return the changes of a count that repeats to the digit: each that is more than the share `least`."""
    found: list[Change] = []
    level = values[0] if values else 0.0
    for place, value in enumerate(values[1:], start=1):
        if level > 0 and abs(value / level - 1) > least:
            found.append(Change(place, value / level, value / level, value / level))
            level = value
    return found


def _level(p_values: Sequence[float]) -> float:
    """Return the largest p-value that counts, 0 if none does."""
    cut = 0.0
    for rank, value in enumerate(sorted(p_values), start=1):
        if value <= min(LEVEL, FALSE_DISCOVERY_RATE * rank / len(p_values)):
            cut = value
    return cut and max(cut, min(LEVEL, FALSE_DISCOVERY_RATE / len(p_values)))


def _search(values: np.ndarray, offset: int, level: float, places: list[int]) -> None:
    p_value, first, last = _best_arc(values)
    if level == 0 or p_value > level:
        return
    edges = [edge for edge in (first, last) if 0 < edge < len(values)]
    places += [offset + edge for edge in edges]
    for low, high in zip([0, *edges], [*edges, len(values)]):
        _search(values[low:high], offset + low, level, places)


def _best_arc(values: np.ndarray) -> tuple[float, int, int]:
    """Return the p-value of the stretch that differs most, and where it begins and ends."""
    count = len(values)
    if count < FEWEST or float(values.min()) == float(values.max()):
        return 1.0, 0, 0
    first, last, weight = _arcs(count)
    sums = np.concatenate(([0.0], np.cumsum(_scores(values))))
    found = np.abs(sums[last] - sums[first]) * weight
    best = int(found.argmax())
    # The search takes the greatest of all stretches, and so does every permutation.
    greater = _null(count).size - np.searchsorted(_null(count), found[best] - 1e-9)
    return float((greater + 1) / (_PERMUTATIONS + 1)), int(first[best]), int(last[best])


def _scores(values: np.ndarray) -> np.ndarray:
    """Return the ranks (of equal numbers the mean), brought to mean 0 and variance 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return (ranks - ranks.mean()) / (ranks.std() or 1.0)


@functools.lru_cache(maxsize=None)
def _arcs(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where the stretches begin and end that leave no part shorter than MIN_SEGMENT, and by what
    the sum of one is multiplied to have variance 1."""
    first, last = np.triu_indices(count + 1, MIN_SEGMENT)
    fits = (last - first <= count - MIN_SEGMENT)
    fits &= ((first == 0) | (first >= MIN_SEGMENT)) & ((last == count) | (count - last >= MIN_SEGMENT))
    first, last = first[fits], last[fits]
    length = last - first
    return first, last, 1 / np.sqrt(length * (count - length) / count)


@functools.lru_cache(maxsize=None)
def _null(count: int) -> np.ndarray:
    """Return the sorted greatest values of all permutations, of a series without a change."""
    first, last, weight = _arcs(count)
    scores = _scores(np.arange(float(count)))
    generator = np.random.default_rng([_SEED, count])
    step = max(1, _BATCH // max(1, len(first)))
    found: list[np.ndarray] = []
    for start in range(0, _PERMUTATIONS, step):
        size = min(step, _PERMUTATIONS - start)
        shuffled = generator.permuted(np.broadcast_to(scores, (size, count)), axis=1)
        sums = np.concatenate((np.zeros((size, 1)), np.cumsum(shuffled, axis=1)), axis=1)
        found.append((np.abs(sums[:, last] - sums[:, first]) * weight).max(axis=1))
    return np.sort(np.concatenate(found))


def _confirmed(values: np.ndarray, places: list[int]) -> list[int]:
    """Return the places, each where the numbers between its neighbours part best, and only those on whose
    both sides they differ; the least certain goes first, and joins its neighbours."""
    places = list(places)
    while places:
        for number in range(len(places)):
            ends = [0, *places, len(values)]
            places[number] = _split(values, ends[number], ends[number + 2])
        ends = [0, *places, len(values)]
        doubts = [_difference(values[ends[n]:ends[n + 1]], values[ends[n + 1]:ends[n + 2]])
                  for n in range(len(places))]
        worst = max(range(len(places)), key=lambda n: doubts[n])
        if doubts[worst] <= _EDGE_LEVEL:
            break
        del places[worst]
    return places


def _split(values: np.ndarray, low: int, high: int) -> int:
    """Return where the numbers from low to high part best in two."""
    count = high - low
    sums = np.cumsum(_scores(values[low:high]))[:-1]
    length = np.arange(1, count)
    found = np.abs(sums) / np.sqrt(length * (count - length) / count)
    found[:MIN_SEGMENT - 1] = found[count - MIN_SEGMENT:] = 0
    return low + 1 + int(found.argmax())


def _difference(before: np.ndarray, after: np.ndarray) -> float:
    """Return the p-value of no difference between two sets of numbers, by permutations of ranks."""
    both = np.concatenate((before, after))
    if float(both.min()) == float(both.max()):
        return 1.0
    scores = _scores(both)
    generator = np.random.default_rng([_SEED, len(before), len(after)])
    shuffled = generator.permuted(np.broadcast_to(scores, (999, len(both))), axis=1)
    found = np.abs(shuffled[:, :len(before)].sum(axis=1))
    return float((np.sum(found >= abs(scores[:len(before)].sum()) - 1e-9) + 1) / 1000)


def _measure(values: np.ndarray, places: list[int], skipped: int) -> list[Change]:
    generator = np.random.default_rng(_SEED)
    ends = [0, *places, len(values)]
    found: list[Change] = []
    for number, place in enumerate(places):
        before, after = values[ends[number]:place], values[place:ends[number + 2]]
        if not np.median(before) > 0:
            continue
        ratios = (np.median(generator.choice(after, (_RESAMPLES, len(after))), axis=1)
                  / np.median(generator.choice(before, (_RESAMPLES, len(before))), axis=1))
        low, high = np.quantile(ratios[np.isfinite(ratios)], (0.025, 0.975))
        found.append(Change(
            place + skipped, float(np.median(after) / np.median(before)), float(low), float(high)
        ))
    return found
