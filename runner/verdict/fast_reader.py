"""Reads a results file many times faster than `read_run`, for comparisons of very many samples.

The samples of one allocator in one cell are lines that differ in nothing but digits. So a line's text
without its digits is looked up among those seen before: the first of each kind is read and checked in
full by `runner.results_file`, and what is learnt from it is where the numbers stand that a comparison
needs. In all further lines of its kind the numbers alone are read. Whatever else there is, be it
damaged, failed or written otherwise, goes the slow way, so that both readers accept the same files and
say the same of the others.
"""
from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Optional, Union

from runner.errors import UsageError, explain_os_error
from runner.verdict.helper_process import Helper, usable_cores
from runner.verdict.recording import (
    EVENTS, OF_PHASE, QUANTILES, TOTALS, Column, Columns, Gathered, Recording, numbers_of, recording_of,
    series_of,
)
from runner.verdict.comparison import WHOLE_RUN
from runner.records import End, ExactCount, Resume, RunHeader, Sample
from runner.results_file import Run, parse_record, read_run

_OF_NUMBERS = b"0123456789.-"
_BLANKS = bytes(byte if byte in _OF_NUMBERS else 0x20 for byte in range(256))
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[0-9.\-][0-9.\-eE+]*|[{}\[\],]')
_SAMPLE = b'{"record":"sample","round":'
_LARGE_BYTES = 16 << 20  # from which on a second process is worth its start
_MOST_KINDS = 20_000  # of lines that are remembered

_Place = tuple[Union[str, int], ...]  # where a number stands in a record


class _Kind:
    """What is known of lines that differ in digits alone: how many groups of digits are in the part that
    holds the numbers wanted, and which of these they are, in the order of `columns`."""

    def __init__(self, line: bytes, counted: bool) -> None:
        self.counted = counted
        self.groups = len(self.split(line))
        self.columns: Columns = ()
        self._wanted: Callable[[list[bytes]], tuple[bytes, ...]] = tuple

    def choose(self, places: Sequence[int], columns: Columns) -> None:
        """From now on, want the groups at these places."""
        self._wanted = itemgetter(*places)
        self.columns = columns

    def part(self, line: bytes) -> slice:
        """Return which part of a line holds what is wanted: the counters come last."""
        start = line.index(b'"measured":')
        return slice(start, len(line) if self.counted else line.rindex(b',"arguments":{'))

    def split(self, line: bytes) -> list[bytes]:
        """Return the groups of digits in that part."""
        return line[self.part(line)].translate(_BLANKS).split()

    def numbers(self, line: bytes) -> Optional[list[float]]:
        """Return the numbers wanted; None if they are not where they should be."""
        groups = self.split(line)
        if len(groups) != self.groups:
            return None
        try:
            numbers = [*map(float, self._wanted(groups))]
        except ValueError:
            return None
        return None if math.inf in numbers else numbers


def read_recording(path: Path) -> Recording:
    """Return the recording of a results file. Raises UsageError as `read_run` does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    reading = _Reading(path)
    try:
        if len(data) >= _LARGE_BYTES and usable_cores() > 1:
            _read_with_helper(reading, data)
        else:
            reading.read(data, 0, len(data))
        return reading.recording()
    except (ValueError, OverflowError, RecursionError):
        return recording_of(read_run(path))  # which says what is wrong


def _read_with_helper(reading: _Reading, data: bytes) -> None:
    """Read the second half of the lines in a process of its own."""
    first = data.find(b"\n") + 1
    middle = data.find(b"\n", len(data) // 2) + 1
    if not 0 < first < middle < len(data):
        reading.read(data, 0, len(data))
        return
    reading.read(data, 0, first)  # the run's own record
    try:
        helper = Helper(lambda: _packed(reading, data, middle))
    except OSError:  # no process to be had
        reading.read(data, first, len(data))
        return
    try:
        reading.read(data, first, middle)
    except BaseException:
        helper.stop()
        raise
    reading.join(helper.result())


def _packed(reading: _Reading, data: bytes, start: int) -> _Reading:
    """Return what the rest of a file holds, with arrays in place of lists, which are faster to pass on."""
    found = _Reading(reading.path)
    found.header = reading.header
    found.read(data, start, len(data))
    for gathered in found.gathered.values():
        gathered.pack()
    found.forget_kinds()
    return found


class _Reading:
    """What was read of a file so far. Its methods raise ValueError for what is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Optional[RunHeader] = None
        self.gathered: dict[tuple[str, str], Gathered] = {}
        self.exact: list[ExactCount] = []
        self.last_end: Optional[End] = None
        self.resumed = False
        self.cut_bytes = 0
        self.samples = 0
        self._kinds: dict[bytes, Optional[_Kind]] = {}
        self._blocks: dict[tuple[bytes, Columns], tuple[list[int], list[Sequence[float]]]] = {}

    def read(self, data: bytes, place: int, size: int) -> None:
        """Take in every line from a place on until another."""
        while place < size:
            end = data.find(b"\n", place)
            if end < 0:
                self._take_tail(data[place:])
                return
            line = data[place:end]
            if not (line.startswith(_SAMPLE) and self._take_fast(line)):
                self._take(parse_record(line))
            place = end + 1

    def recording(self) -> Recording:
        """Return what was read."""
        if self.header is None:
            raise ValueError("there is no record of a run")
        run = Run(self.path, self.header, [], [], [], 0, self.cut_bytes, False)
        complete = self.last_end is not None and self.last_end.status == "complete"
        return Recording(self.path, self.header, series_of(self.gathered, self.header.cells), self.exact,
                         complete, run.cut_sentence(), self.samples)

    def join(self, rest: _Reading) -> None:
        """Take in what was read of the rest of the file."""
        for key, gathered in rest.gathered.items():
            self._of(*key).join(gathered)
        self.exact += rest.exact
        self.samples += rest.samples
        self.cut_bytes = rest.cut_bytes
        if rest.last_end is not None or rest.resumed:
            self.last_end = rest.last_end

    def forget_kinds(self) -> None:
        """Nothing more is read."""
        self._kinds.clear()
        self._blocks.clear()

    def _take_tail(self, line: bytes) -> None:
        try:
            record = parse_record(line)
        except ValueError:
            self.cut_bytes = len(line)
        else:
            self._take(record)

    def _take(self, record: Any) -> None:
        if isinstance(record, RunHeader) != (self.header is None):
            raise ValueError("the run's own record is not the first, or not the only one")
        if isinstance(record, RunHeader):
            self.header = record
        elif isinstance(record, Sample):
            self._of(record.cell, record.allocator).add(record)
            self.samples += 1
        elif isinstance(record, ExactCount):
            self.exact.append(record)
        elif isinstance(record, End):
            self.last_end = record
        elif isinstance(record, Resume):
            self.last_end, self.resumed = None, True

    def _of(self, cell: str, allocator: str) -> Gathered:
        return self.gathered.setdefault((cell, allocator), Gathered())

    def _take_fast(self, line: bytes) -> bool:
        """Take in a sample if its kind is known and what it holds are numbers; return whether it was."""
        bare = line.translate(None, _OF_NUMBERS)
        kind = self._kinds.get(bare)
        if kind is None:
            if bare not in self._kinds and len(self._kinds) < _MOST_KINDS:
                self._kinds[bare] = _learn(line)
            return False
        numbers = kind.numbers(line)
        if numbers is None or self.header is None:
            return False
        names = line[line.index(b'"cell":'):line.index(b'"started":')]
        block = self._blocks.get((names, kind.columns))
        if block is None:
            record = json.loads(b"{" + names.rstrip(b",") + b"}")
            block = self._of(record["cell"], record["allocator"]).block(kind.columns)
            self._blocks[names, kind.columns] = block
        block[0].append(int(line[len(_SAMPLE):line.index(b",", len(_SAMPLE))]))
        block[1].append(numbers)
        self.samples += 1
        return True


def _learn(line: bytes) -> Optional[_Kind]:
    """Return what a line teaches of all that differ from it in digits alone; None if they are to be
    read the slow way. Raises ValueError if the line is damaged."""
    record = parse_record(line)
    if not isinstance(record, Sample) or record.warmup or record.measured is None or record.failure:
        return None
    wanted = numbers_of(record.measured, record.counters)
    kind = _Kind(line, record.counters is not None)
    part = kind.part(line)
    groups = re.finditer(rb"[0-9.\-]+", line[part])
    places = {part.start + group.start(): number for number, group in enumerate(groups)}
    starts = _numbers(line)
    phases = [phase.name for phase in record.measured.phases]
    found = [places.get(starts.get(_path(column, phases), -1)) for column in wanted]
    known = [place for place in found if place is not None]
    if len(known) < len(found):
        return None
    kind.choose(known, tuple(wanted))
    return kind if kind.numbers(line) == [*wanted.values()] else None  # not so where exponents are


def _numbers(line: bytes) -> dict[_Place, int]:
    """Return where each number of a JSON object stands and where it begins, in the order of the text."""
    found: dict[_Place, int] = {}
    where: list[Any] = []  # names and places from the outside in; None where a name comes next
    lists: list[bool] = []
    for match in _TOKEN.finditer(line):
        text = match.group()
        if text in (b"{", b"["):
            lists.append(text == b"[")
            where.append(0 if lists[-1] else None)
        elif text in (b"}", b"]"):
            lists.pop()
            where.pop()
        elif text == b",":
            where[-1] = where[-1] + 1 if lists[-1] else None
        elif text[:1] == b'"':
            if where[-1] is None:
                where[-1] = json.loads(text)
        else:
            found[tuple(where)] = match.start()
    return found


def _path(column: Column, phases: Sequence[str]) -> _Place:
    """Return where a column's number stands in a sample's record."""
    phase, name = column
    if phase != WHOLE_RUN and name in OF_PHASE:
        return ("measured", "phases", phases.index(phase), name)
    if name in TOTALS:
        return ("measured", name)
    if name in QUANTILES:
        return ("measured", "latency", *name.split("_"))
    assert name in EVENTS
    return ("counters", "events", name)
