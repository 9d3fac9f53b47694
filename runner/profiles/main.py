"""The whole of hotspots.py: options, builds, sampling, tables, files, exit status."""
from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner import machine
from runner.paths import TREE
from runner.profiles.annotation import Annotator, find_functions
from runner.building import drivers_folder
from runner.errors import EXIT_COMPLETE, EXIT_USAGE, UsageError, explain_os_error
from runner.profiles.flame_graph import Heading, difference_graph, figure, flame_graph
from runner.profiles.folded_stacks import folded_text
from runner.profiles.options import HOTTEST, HotspotOptions, parse_hotspot_options
from runner.profiles.record import Recording, Studio, together
from runner.profiles.subjects import Subject, check_named, find_subjects, provide
from runner.profiles.tables import blocks_of, markdown_of, profile_json, sentences_of, unit_of
from runner.profiles.inlined import Lookup
from runner.interrupts import Interrupted, Interrupts
from runner.matrix import needs_calibration, sample_seconds
from runner.measure import Laboratory
from runner.patient_stream import run_patiently
from runner.profiles.perf_script import Names
from runner.plan import new_run_id
from runner.profiles.profiling import Sampling, choose_sampling, find_perf
from runner.records import Settings
from runner.schedule import in_words
from runner.table import Block, print_blocks

ROOT = TREE
TABLE_FILE, DATA_FILE, DIFFERENCE_FILE = "hotspots.md", "profile.json", "difference.svg"
_READING_SECONDS = 3.0  # roughly what perf takes to read a recording


@dataclass(frozen=True)
class Annotations:
    """The annotated functions of each side, or why there are none."""

    texts: list[tuple[Subject, str]]
    problem: Optional[str]


def main(arguments: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    return run_patiently("hotspots.py", lambda: _run(arguments), lambda status: status or EXIT_USAGE)


def _run(arguments: Sequence[str]) -> int:
    interrupts = Interrupts()
    interrupts.install()
    try:
        options = parse_hotspot_options(arguments)
        command = shlex.join(["runner/hotspots.py", *_without_out(arguments)])
        with tempfile.TemporaryDirectory(prefix="hakmem-profile-") as scratch:
            return _profile(options, command, Path(scratch), interrupts)
    except UsageError as error:
        if interrupts.requested is not None:
            return interrupts.exit_status  # what failed, failed because of the signal
        _say(f"hotspots.py: {error}")
        return EXIT_USAGE
    except Interrupted:
        _say("Interrupted; nothing was written, and what perf recorded is removed.")
        return interrupts.exit_status


def _without_out(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that sample the same again: into another folder, for this one is full."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _profile(options: HotspotOptions, command: str, scratch: Path, interrupts: Interrupts) -> int:
    find_perf()  # before anything is built
    folder = options.folder or ROOT / "results" / f"{new_run_id()}-profile"
    _check_folder(folder)
    drivers = options.drivers or drivers_folder(ROOT)
    asked = [("ALLOCATOR", options.allocator)]
    asked += [("--against", options.against)] if options.against is not None else []
    check_named(asked, ROOT)
    environment = machine.driver_environment(os.environ)
    sampling = choose_sampling(environment, scratch, interrupts)
    subjects = find_subjects(asked, ROOT, scratch / "builds", _say, interrupts)
    provide(subjects, options.cell.workload, ROOT, drivers, options.build)
    interrupts.check()
    laboratory = Laboratory(drivers, environment, interrupts)
    try:
        lookup = Lookup(Names(), scratch, environment, interrupts)
        recordings = _record(Studio(laboratory, sampling, lookup), subjects, options)
        annotations = _annotate(Annotator(lookup), recordings, sampling, options)
        interrupts.check()
        found = _write(folder, options, recordings, sampling, annotations, command)
    finally:
        laboratory.close()
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        _show(folder, recordings, sampling, annotations, options)
    if annotations.problem is not None:
        _say(f"hotspots.py: {annotations.problem} The profile itself is in '{folder}'.")
        return EXIT_USAGE
    return EXIT_COMPLETE


def _check_folder(folder: Path) -> None:
    """Make sure that files can be written there, and that no other profile is overwritten."""
    if (folder / DATA_FILE).exists():
        raise UsageError(f"'{folder}' holds a profile already; choose another --out, or move it away.")
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = tempfile.TemporaryFile(dir=folder)
        trial.close()
        if not existed:
            folder.rmdir()  # it is made when there is something to write
    except OSError as error:
        raise UsageError(explain_os_error(error, folder).replace("--output FILE", "--out DIR")) from error


def _record(
    studio: Studio, subjects: Sequence[Subject], options: HotspotOptions
) -> list[Recording]:
    # Two are sampled in halves, A B B A, so that a machine that gets slower or faster meanwhile does
    # little harm to the difference.
    order = [0] if len(subjects) == 1 else [0, 1, 1, 0]
    parts = len(order) // len(subjects)
    settings = Settings(
        duration_seconds=options.duration / parts, rounds=1, budget_seconds=None, check=False,
        latency=False, quick=False, workload_seed=options.seed, order_seed=0, sample_limit_seconds=None,
    )
    cell = options.cell
    if needs_calibration(cell):
        cell = studio.laboratory.calibrate(cell, subjects[0].allocator, settings)
    recordings: dict[int, list[Recording]] = {}
    for done, number in enumerate(order):
        subject = subjects[number]
        seconds = sample_seconds(cell, settings.duration_seconds)
        left = "" if seconds is None else (
            f", about {in_words((len(order) - done) * (seconds + _READING_SECONDS))} left"
        )
        of = f" ({done + 1} of {len(order)})" if len(order) > 1 else ""
        _say(f"Sampling {options.cell.id} with {subject.title}{of}{left}")
        recordings.setdefault(number, []).append(studio.record(subject, cell, settings, parts))
    return [together(recordings[number], studio.sampling) for number in sorted(recordings)]


def _annotate(
    annotator: Annotator, recordings: Sequence[Recording], sampling: Sampling, options: HotspotOptions
) -> Annotations:
    """Return the annotated functions of each side; of the second only where it has such a function. What
    went wrong is said, so that the profile itself is not lost."""
    found = Annotations([], None)
    for number, recording in enumerate(recordings if options.annotate is not None else []):
        subject = recording.subject
        try:
            functions = find_functions(recording.profile, options.annotate or HOTTEST)
            texts = [
                annotator.annotate(recording.profile, function, unit_of(sampling),
                                   lambda path: subject.source(path, ROOT))
                for function in functions
            ]
        except UsageError as error:
            if number == 0:
                return Annotations([], str(error))
            continue
        found.texts.append((subject, "\n".join(texts)))
    return found


def _write(
    folder: Path, options: HotspotOptions, recordings: Sequence[Recording], sampling: Sampling,
    annotations: Annotations, command: str,
) -> dict[str, object]:
    """Write all files, profile.json last; return what is in that."""
    unit = unit_of(sampling)
    blocks = blocks_of(recordings, sampling, options.top)
    data = profile_json(options.cell, recordings, sampling, blocks)
    files: dict[str, str] = {}
    pictures: list[tuple[str, str]] = []
    if len(recordings) == 2:
        new, base = recordings
        title = f"{options.cell.id}: from {base.subject.title} to {new.subject.title}"
        between = f"{_short(base, unit)} to {_short(new, unit)}"
        files[DIFFERENCE_FILE] = difference_graph(base.profile, new.profile, Heading(title, between, unit))
        pictures.append((title, DIFFERENCE_FILE))
    for recording in recordings:
        profile, subject = recording.profile, recording.subject
        title = f"{options.cell.id}: {subject.title}"
        heading = Heading(
            title, f"{_short(recording, unit)}, {profile.samples:,} samples, {sampling.event}", unit
        )
        files[f"flame-{subject.slug}.svg"] = flame_graph(profile, heading)
        files[f"stacks-{subject.slug}.txt"] = folded_text(profile)
        pictures.append((title, f"flame-{subject.slug}.svg"))
    for subject, text in annotations.texts:
        name = f"annotation-{subject.slug}.txt"
        files[name] = text
        (data if subject is recordings[0].subject else data["against"])["annotation"] = name
    files[TABLE_FILE] = markdown_of(
        f"Profile of {options.cell.id}: {', '.join(r.subject.title for r in recordings)}",
        sentences_of(recordings, sampling), blocks, pictures, [text for _, text in annotations.texts],
        command,
    )
    files[DATA_FILE] = json.dumps(data, indent=1) + "\n"
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(explain_os_error(error, path).replace("--output FILE", "--out DIR")) from error
    return data


def _short(recording: Recording, unit: str) -> str:
    return f"{figure(recording.profile.per_operation)} {unit}"


def _show(
    folder: Path, recordings: Sequence[Recording], sampling: Sampling,
    annotations: Annotations, options: HotspotOptions,
) -> None:
    blocks: list[Block] = blocks_of(recordings, sampling, options.top)
    # With two the change is what was asked for; each one's functions are in the file.
    print_blocks(blocks if len(recordings) == 1 else blocks[:2])
    for _, text in annotations.texts:
        print(text)
    for sentence in sentences_of(recordings, sampling):
        print(sentence)
    print(f"Tables:       {folder / TABLE_FILE}")
    for recording in recordings:
        print(f"Flame graph:  {folder / f'flame-{recording.subject.slug}.svg'}")
    if len(recordings) == 2:
        print(f"Difference:   {folder / DIFFERENCE_FILE}")
