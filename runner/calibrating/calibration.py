"""The whole of a calibration: options, plan, work, tables, page, picture, exit status."""
from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from runner import machine, pictures
from runner.allocators import Allocator
from runner.building import build_drivers, drivers_folder
from runner.calibrating.again import copy_judged_again, parts_of
from runner.calibrating.exact import count_exactly
from runner.calibrating.judge import Judge
from runner.calibrating.options import Options, parse_options
from runner.calibrating.parallel import resample_all
from runner.calibrating.recording import Bench
from runner.calibrating.records import (
    SCHEMA, SCHEMA_VERSION, Check, Finished, Plan, Records, RecordsWriter, Resampled, SlopeFound,
    read_records,
)
from runner.calibrating.report import blocks_of, markdown, write_markdown
from runner.calibrating.summary import checks_of, summarise
from runner.calibrating.work import RESAMPLING_SHARE, Work
from runner.paths import TREE
from runner.verdict.comparison import DEFAULT_FALSE_DISCOVERY_RATE
from runner.errors import EXIT_COMPLETE, EXIT_FAILED_SAMPLES, EXIT_USAGE, UsageError, explain_os_error
from runner.interrupts import Interrupted, Interrupts
from runner.measure import Laboratory, utc_now
from runner.patient_stream import run_patiently
from runner.plan import new_run_id, probe_allocators
from runner.progress import make_progress
from runner.records import Build
from runner.schedule import COMPARISON_SECONDS, in_words
from runner.table import print_blocks

ROOT = TREE


def main(arguments: Sequence[str]) -> int:
    """Calibrate with these arguments and return the exit status."""
    return run_patiently(
        "calibrate.py", lambda: _run(arguments), lambda status: status or EXIT_FAILED_SAMPLES,
        "; the results are kept",
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run(arguments: Sequence[str]) -> int:
    interrupts = Interrupts()
    interrupts.install()
    try:
        options = parse_options(arguments)
        return _calibrate(options, ["runner/calibrate.py", *arguments], interrupts)
    except UsageError as error:
        if interrupts.requested is not None:
            return interrupts.exit_status
        _say(f"calibrate.py: {error}")
        return EXIT_USAGE
    except Interrupted:
        _say("Interrupted before anything was measured.")
        return interrupts.exit_status


def _name(options: Options) -> Path:
    if options.resume is not None:
        return options.resume.with_suffix("") if options.resume.suffix == ".jsonl" else options.resume
    return options.output or ROOT / "results" / f"calibration-{new_run_id()}"


def _file(name: Path, ending: str) -> Path:
    return name.with_name(f"{name.name}{ending}")


def _calibrate(options: Options, command: list[str], interrupts: Interrupts) -> int:
    name = _name(options)
    bench = Bench(ROOT, options.drivers or drivers_folder(ROOT), interrupts)
    parts = parts_of(options.judge_again or _file(name, ".jsonl"))
    writer = _open(options, name, command, bench)
    path = writer.records.path
    try:
        if writer.records.complete:
            _say(f"'{path}' is complete; there is nothing to go on with.")
        else:
            plan = writer.records.plan
            work = Work(
                writer, parts, bench, Judge(plan.effect, plan.false_discovery_rate),
                make_progress(int(plan.time_budget), unit="seconds"), spent=writer.records.spent,
            )
            _do(work, path, measure=options.judge_again is None)
    finally:
        writer.close()
    if interrupts.requested is not None:
        if options.judge_again is not None:
            print(f"Interrupted; remove '{path}' and begin again.")
        else:
            print(f"Interrupted; go on with: {_resume_command(path)}")
        return interrupts.exit_status
    return _present(read_records(path), options, name)


def _open(options: Options, name: Path, command: list[str], bench: Bench) -> RecordsWriter:
    """Begin a calibration, or go on with one."""
    if options.resume is not None:
        writer = RecordsWriter.reopen(options.resume)
        try:
            _check_same_machine(writer.records)
            _check_parts(writer.records)
        except BaseException:
            writer.close()
            raise
        return writer
    path = _file(name, ".jsonl")
    if path.exists():
        raise UsageError(f"'{path}' exists; choose another --output, or go on with it by --resume.")
    if options.judge_again is not None:
        return copy_judged_again(options.judge_again, path, command)
    plan = _plan(options, command, bench)
    _make_parts(parts_of(path))
    return RecordsWriter.create(path, plan)


def _resume_command(path: Path) -> str:
    return shlex.join(["runner/calibrate.py", "--resume", str(path)])


def _do(work: Work, path: Path, measure: bool) -> None:
    """Do all that is left, and write how it ended. After an error everything that was finished stays."""
    plan = work.plan
    if measure:
        work.progress.message(
            f"{len(plan.cells)} cells, comparisons of {in_words(plan.budget_each)}; "
            f"{in_words(plan.time_budget)} in all, {in_words(max(0.0, work.left()))} left."
        )
    status = "interrupted"
    try:
        if measure:
            work.find_slopes()
            count_exactly(work)
            work.record()
        seconds = max(1.0, work.left()) if measure else RESAMPLING_SHARE * plan.time_budget
        resample_all(work, work.pools(), seconds)
        if not work.records.of(Check):
            work.writer.write(*checks_of(summarise(work.records)))
        status = "complete"
    except Interrupted:
        pass
    except UsageError as error:
        raise UsageError(
            f"{error} What was finished is kept; go on with: {_resume_command(path)}"
        ) from error
    finally:
        work.close(status == "complete")
        work.progress.finish(min(work.progress.total, int(work.seconds)))
        work.writer.write(Finished(status, utc_now(), round(work.seconds, 3)))


def _plan(options: Options, command: list[str], bench: Bench) -> Plan:
    workloads = sorted({cell.workload for cell in options.cells})
    _provide_drivers(options, bench, workloads)
    return Plan(
        schema=SCHEMA, schema_version=SCHEMA_VERSION, id=new_run_id(), started=utc_now(), command=command,
        machine=machine.describe_machine(), git=machine.describe_git(ROOT), build=_build(bench, workloads),
        cells=options.cells, slow_downs=options.slow_downs, resampled_slow_downs=options.resampled_slow_downs,
        resampled_budgets=options.budgets, resamples=options.resamples, effect=options.effect,
        false_discovery_rate=DEFAULT_FALSE_DISCOVERY_RATE, budget_each=options.budget_each,
        time_budget=options.time_budget, sample_seconds=COMPARISON_SECONDS,
        order_seed=secrets.randbits(32) if options.order_seed is None else options.order_seed,
        quick=options.quick,
    )


def _provide_drivers(options: Options, bench: Bench, workloads: Sequence[str]) -> None:
    names = [Allocator("system", "linked").driver_name(workload) for workload in workloads]
    if options.build:
        for complaint in build_drivers(ROOT, {"system": names}).values():
            raise UsageError(f"the drivers could not be built: {complaint.rstrip('.')}.")
    for name in names:
        path = bench.drivers / name
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise UsageError(f"there is no program {name} in '{bench.drivers}'; build it with make {name}.")


def _build(bench: Bench, workloads: Sequence[str]) -> Build:
    laboratory = Laboratory(bench.drivers, machine.driver_environment(os.environ), bench.interrupts)
    try:
        return probe_allocators(laboratory, [Allocator("system", "linked")], workloads[:1], ROOT).build
    finally:
        laboratory.close()


def _make_parts(parts: Path) -> None:
    """Make the folder of all samples, which git is not to see."""
    try:
        parts.mkdir(parents=True, exist_ok=True)
        (parts / ".gitignore").write_text("*\n", "ascii")
    except OSError as error:
        raise UsageError(explain_os_error(error, parts)) from error


def _check_same_machine(records: Records) -> None:
    now, then = machine.describe_machine(), records.plan.machine
    if (now.cpu_model, now.cores_available) != (then.cpu_model, then.cores_available):
        raise UsageError(
            f"--resume {records.path}: it was begun on another processor or with another number of cores; go "
            "on with it there, or begin anew."
        )


def _check_parts(records: Records) -> None:
    if records.of(SlopeFound) and not records.complete and not parts_of(records.path).is_dir():
        raise UsageError(
            f"--resume {records.path}: its samples are gone, there is no '{parts_of(records.path)}'; begin anew."
        )


def _present(records: Records, options: Options, name: Path) -> int:
    """Show everything; write the page and the picture; return the exit status."""
    summary = summarise(records)
    checks = checks_of(summary)
    print_blocks(blocks_of(summary, checks))
    folder = _file(name, "-plots")
    images: list[Path] = []
    complaint: Optional[str] = None
    if options.plots and records.of(Resampled):
        images, complaint = pictures.draw(ROOT, records.path, folder, "calibration.py")
    page = _file(name, ".md")
    write_markdown(page, markdown(summary, checks, images, page))
    print(f"Records: {records.path}")
    print(f"Page:    {page}")
    if images:
        print(f"Plot:    {folder}")
    if complaint is not None:
        print(complaint)
    return EXIT_FAILED_SAMPLES if any(check.passed is False for check in checks) else EXIT_COMPLETE


