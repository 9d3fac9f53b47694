"""The whole of a run: options, plan, measuring, table, summary, pictures, exit status."""
from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from runner import comparing, machine, pictures
from runner.allocators import FLOOR, LINKED, NONE
from runner.building import drivers_folder
from runner.counters import PerfStat
from runner.errors import EXIT_COMPLETE, EXIT_FAILED_SAMPLES, EXIT_USAGE, UsageError
from runner.estimate import analyse, remarks
from runner.interrupts import Interrupted, Interrupts
from runner.matrix import DRIVERS, KEYS, WORKLOADS
from runner.programs import PROGRAMS, find_program, missing_sentence
from runner.measure import Laboratory, utc_now
from runner.options import Options, parse_options
from runner.patient_stream import run_patiently
from runner.plan import (
    RunName,
    allocators_of,
    check_libraries,
    make_header,
    make_request,
    new_run_id,
    prepare_programs,
    notes_before,
    provide_drivers,
)
from runner.progress import make_progress
from runner.records import End, ExactCount, Resume, RunHeader, Sample
from runner.results_file import ResultsWriter, Run, read_run
from runner.same_run import check_same_inputs, check_same_run
from runner.schedule import in_words
from runner.session import Session
from runner.summary import headline, summary_path, write_summary
from runner.table import make_blocks, print_blocks, table_remarks

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    return run_patiently(
        "run.py", lambda: _run(arguments), lambda status: status or EXIT_FAILED_SAMPLES,
        "; the results themselves are kept",
    )


def _run(arguments: Sequence[str]) -> int:
    interrupts = Interrupts()
    interrupts.install()
    try:
        options = parse_options(arguments)
        if options.list:
            return _show_list(options)
        if options.resume is not None:
            return _go_on(options, interrupts)
        return _start(options, ["runner/run.py", *arguments], interrupts)
    except UsageError as error:
        if interrupts.requested is not None:
            return interrupts.exit_status  # what failed, failed because of the signal
        _say(f"run.py: {error}")
        return EXIT_USAGE
    except Interrupted:
        _say("Interrupted before anything was measured.")
        return interrupts.exit_status


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _start(options: Options, command: list[str], interrupts: Interrupts) -> int:
    request = make_request(options)
    folder = options.drivers or drivers_folder(ROOT)
    check_libraries(request, folder)
    run_id = new_run_id()
    path = options.output or ROOT / "results" / f"{run_id}.jsonl"
    if not os.path.exists(path) and os.path.exists(summary_path(path)):
        raise UsageError(
            f"--output {path}: its summary would replace '{summary_path(path)}'; choose another name, "
            "or move that file away."
        )
    if options.rev:
        comparing.check_folder(path)
    writer = ResultsWriter.create(path)
    laboratory = Laboratory(folder, machine.driver_environment(os.environ), interrupts)
    try:
        try:
            builds = comparing.make_builds(options, path, ROOT, _say, interrupts)
            request = request.with_builds([build.allocator for build in builds])
            allocators, skipped = provide_drivers(request, options, ROOT, _say)
            interrupts.check()
            for note in notes_before(request, options):
                _say(note)
            header = make_header(
                request, options, laboratory, allocators, skipped, ROOT,
                RunName(run_id, command), interrupts, [build.entry for build in builds],
            )
            writer.write(header)
            for cell, same in request.repeated:
                print(f"{cell.id} is the same run as {same.id}, and is measured once.")
        except BaseException:
            writer.discard()
            if options.rev:
                comparing.remove_builds(path)
            raise
        return _measure(Known(header), writer, laboratory, options, interrupts)
    finally:
        writer.close()
        laboratory.close()


def _go_on(options: Options, interrupts: Interrupts) -> int:
    assert options.resume is not None
    run = read_run(options.resume)
    folder = options.drivers or drivers_folder(ROOT)
    check_same_run(run.header, options, folder, ROOT)
    if run.complete:
        return _nothing_left(run, options)
    writer = ResultsWriter.reopen(run.path)
    laboratory = Laboratory(folder, machine.driver_environment(os.environ), interrupts)
    try:
        run = read_run(run.path)  # again: until the file was locked another run could write it
        if run.complete:
            return _nothing_left(run, options)
        cut = run.cut_sentence()
        if cut is not None:
            _say(cut)
        laboratory.perf = PerfStat.restore(run.header.counters)
        cells = prepare_programs(laboratory, run.header.cells, run.header.settings.workload_seed)
        check_same_inputs(run.header, cells, run.path)
        _watch_files(run, laboratory)
        writer.go_on(run)
        writer.write(Resume(utc_now(), run.cut_bytes, machine.load_average()))
        known = Known(run.header, run.samples, run.exact_counts)
        return _measure(known, writer, laboratory, options, interrupts)
    finally:
        writer.close()
        laboratory.close()


def _nothing_left(run: Run, options: Options) -> int:
    _say(f"'{run.path}' is complete; there is nothing to go on with.")
    return _present(run.path, options, run.ends[-1])


def _watch_files(run: Run, laboratory: Laboratory) -> None:
    for entry in run.header.allocators:
        if entry.library is not None:
            laboratory.remember_library(entry.name, ROOT / entry.library.path)
    for allocator in allocators_of(run.header, ROOT):
        for workload in run.header.workloads:
            laboratory.remember(laboratory.driver(allocator, workload))
    for workload in run.header.programs:
        for path in laboratory.programs.files(workload):
            laboratory.remember(path)


@dataclass(frozen=True)
class Known:
    """A run's plan, and what of it was measured before an interruption."""

    header: RunHeader
    samples: list[Sample] = field(default_factory=list)
    exact_counts: list[ExactCount] = field(default_factory=list)


def _measure(
    known: Known,
    writer: ResultsWriter,
    laboratory: Laboratory,
    options: Options,
    interrupts: Interrupts,
) -> int:
    header, began = known.header, time.monotonic()
    allocators = allocators_of(header, ROOT)
    if header.builds and options.exact:
        try:
            comparing.count_exactly(header, known.exact_counts, allocators, laboratory, writer, _say)
        except Interrupted:
            pass  # the session finds out, too, and writes the end
    spent = time.monotonic() - began + sum(count.elapsed_seconds for count in known.exact_counts)
    progress = make_progress(0)
    session = Session(
        header, allocators, laboratory, writer, progress, interrupts, samples=list(known.samples),
        spent_before=spent,
    )
    _announce(session, bool(known.samples))
    try:
        end = session.run()
    except UsageError as error:
        progress.finish(len(session.samples))
        raise UsageError(
            f"{error} {len(session.samples)} finished samples are kept; make room and go on with: "
            f"{_resume_command(writer.path, options)}"
        ) from error
    progress.finish(len(session.samples))
    return _present(writer.path, options, end, interrupts)


def _announce(session: Session, going_on: bool) -> None:
    header, progress = session.header, session.progress
    if header.builds:
        progress.message(comparing.plan_in_words(header))
    else:
        progress.message(_plan_in_words(session, going_on))
    load = header.machine.load_average
    if load is not None and load > max(0.5, header.machine.cores_available / 2):
        progress.message(f"The machine is busy (load {load:g}); the figures will be disturbed.")
    if header.counters.note is not None:
        progress.message(f"No hardware counters: {header.counters.note}.")


def _plan_in_words(session: Session, going_on: bool) -> str:
    header, settings = session.header, session.header.settings
    rounds = "rounds as they fit" if settings.rounds is None else f"{settings.rounds} rounds"
    limit = "" if settings.budget_seconds is None else f" within {in_words(settings.budget_seconds)}"
    timed = any(not cell.is_program for cell in header.cells)
    length = f" of {settings.duration_seconds:g} s samples" if timed else ""
    return (
        f"{len(header.cells)} cells x {len(header.allocators)} allocators, {rounds}"
        f"{length}{limit}; about "
        f"{in_words(session.seconds_expected())} {'left' if going_on else 'in all'}."
    )


def _resume_command(path: Path, options: Options) -> str:
    command = ["runner/run.py", "--resume", str(path)]
    if options.drivers is not None:
        command += ["--drivers", str(options.drivers)]
    return shlex.join(command)


def _present(
    path: Path, options: Options, end: End, interrupts: Optional[Interrupts] = None
) -> int:
    """Show table, remarks and where everything is; draw; return the exit status."""
    run = read_run(path)
    if run.header.builds:
        return _present_comparison(run, options, end, interrupts)
    analysis = analyse(run.header, run.samples)
    if any(result.attempts for result in analysis.results.values()):
        print_blocks(make_blocks(analysis))
    for line in [*remarks(analysis), *table_remarks(analysis)]:
        print(line)
    stopped = end.status != "complete"
    if stopped:
        print(f"Interrupted; go on with: {_resume_command(path, options)}")
        return interrupts.exit_status if interrupts else EXIT_FAILED_SAMPLES
    print(headline(analysis))
    _print_outside(end)
    sys.stdout.flush()
    folder = summary_path(path).with_name(f"{summary_path(path).stem}-plots")
    images: list[Path] = []
    complaint: Optional[str] = None
    if options.plots:
        images, complaint = pictures.draw(ROOT, path, folder)
    summary = summary_path(path)
    write_summary(summary, analysis, path, images, complete=not stopped)
    print(f"Results: {path}")
    print(f"Summary: {summary}")
    if images:
        print(f"Plots:   {folder}")
    if complaint is not None:
        print(complaint)
    return EXIT_FAILED_SAMPLES if end.failed else EXIT_COMPLETE


def _print_outside(end: End) -> None:
    if end.outside_percent is not None:
        print(f"Of the time of measuring {end.outside_percent:.1f}% passed outside of the drivers.")


def _present_comparison(
    run: Run, options: Options, end: End, interrupts: Optional[Interrupts]
) -> int:
    """Show what failed, what was measured beside the builds, the verdicts, and where everything is."""
    for line in comparing.failures_in_words(run):
        print(line)
    if end.status != "complete":
        print(f"Interrupted; go on with: {_resume_command(run.path, options)}")
        return interrupts.exit_status if interrupts else EXIT_FAILED_SAMPLES
    if len(run.header.allocators) > len(run.header.builds):
        print_blocks(make_blocks(analyse(run.header, run.samples)))
    status = comparing.show_comparison(run, ROOT)
    _print_outside(end)
    print(f"Results: {run.path}")
    print(f"Builds:  {comparing.builds_folder(run.path)}")
    return max(status, EXIT_FAILED_SAMPLES if end.failed else EXIT_COMPLETE)


def _program_state(name: str) -> str:
    path = find_program(PROGRAMS[name])
    return f"a program, {path}" if path else f"a program, but {missing_sentence(PROGRAMS[name])}"


def _show_list(options: Options) -> int:
    folder = options.drivers or drivers_folder(ROOT)
    for workload in WORKLOADS.values():
        defaults = " ".join(f"{name}={value}" for name, value in workload.defaults.items())
        if workload.program:
            print(f"workload {workload.name}: {_program_state(workload.name)}")
        else:
            print(f"workload {workload.name}: {defaults}")
        for name in workload.keys:
            print(f"    {name:<12}{KEYS[name].help}")
    for name in (*LINKED, FLOOR):
        missing = [w for w in DRIVERS if not (folder / f"{w}_{name}").is_file()]
        state = "built" if not missing else "not built yet: " + ", ".join(
            f"{w}_{name}" for w in missing
        )
        what = "" if name != FLOOR else "the least that an allocator can cost; "
        print(f"allocator {name}: {what}{state}")
    print(f"allocator {NONE}: the same loop without an allocator")
    print("allocator NAME=/path/to/lib.so: any library that can be preloaded")
    return EXIT_COMPLETE
