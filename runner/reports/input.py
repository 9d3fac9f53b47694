"""Reads what a report is made of, and decides what it is about: a comparison, or one run."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from runner.allocators import SUBJECT
from runner.verdict.comparison import Comparison
from runner.errors import UsageError, explain_os_error
from runner.records import RunHeader
from runner.reports.comparison import report_of_comparisons
from runner.reports.model import Report
from runner.reports.options import ReportOptions
from runner.results_file import Run, parse_record, read_run
from runner.shares import parse_share

if TYPE_CHECKING:
    from runner.verdict.runs import CompareOptions

_COMPARING = ("effect", "false_discovery", "confidence")


@dataclass(frozen=True)
class Material:
    """A report without its pictures, and what these are drawn of: `run` where all lies in one file."""

    report: Report
    run: Optional[Run]
    comparisons: list[Comparison] = field(default_factory=list)
    product: str = SUBJECT  # what a history would know it by


def is_comparison(options: ReportOptions) -> bool:
    """True if the report is about a comparison, which needs numpy. Raises UsageError."""
    if options.base or options.results[0].is_dir() or options.base_allocator or options.new_allocator:
        return True
    return len(_header_of(options.results[0]).builds) > 1


def read_material(options: ReportOptions) -> Material:
    """Return what the report says; raises UsageError. Needs numpy for a comparison."""
    if options.base:
        return _of_sides(options)
    path = options.results[0]
    if is_comparison(options):
        return _of_one_side(options)
    for name in _COMPARING:
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')}: '{path}' is one run and no comparison; give two files, or one "
                "that run.py --rev wrote."
            )
    return _of_run(path)


def _header_of(path: Path) -> RunHeader:
    """Return a file's first record; raises UsageError, as reading all of it would."""
    try:
        with path.open("rb") as stream:
            record = parse_record(stream.readline())
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error
    except ValueError:
        return read_run(path).header  # which says what is wrong with it
    return record if isinstance(record, RunHeader) else read_run(path).header


def _good_run(path: Path) -> Run:
    run = read_run(path)
    if not any(sample.ok for sample in run.samples):
        failed = [sample.failure.reason for sample in run.samples if sample.failure is not None]
        why = f"; the first that failed: {failed[0].rstrip('.')}" if failed else ""
        raise UsageError(
            f"'{path}' holds no good sample ({len(run.samples)} in all{why}); measure again."
        )
    return run


def _of_run(path: Path) -> Material:
    from runner.estimate import analyse
    from runner.reports.run import report_of_run

    run = _good_run(path)
    analysis = analyse(run.header, run.samples)
    report = report_of_run(run, analysis)
    cut = run.cut_sentence()
    if cut is not None:
        report.remarks.insert(0, cut)
    return Material(report, run, product=analysis.subject)


def _compare_options(options: ReportOptions) -> CompareOptions:
    from runner.verdict.runs import CompareOptions

    known = CompareOptions(
        base_allocator=options.base_allocator, new_allocator=options.new_allocator,
        across_machines=options.across_machines,
    )
    if options.effect is not None:
        known = replace(known, effect=parse_share(options.effect, "--effect"))
    if options.false_discovery is not None:
        share = parse_share(options.false_discovery, "--false-discovery", 1e-6, 0.5)
        known = replace(known, false_discovery_rate=share)
    if options.confidence is not None:
        known = replace(known, confidence=parse_share(options.confidence, "--confidence", 0.5, 0.9999))
    return known


def _of_one_side(options: ReportOptions) -> Material:
    """Two builds, or allocators, of one file or of a folder of sessions; each further build of a file
    that holds several is compared with the first."""
    from runner.verdict.runs import compare_files, session_files

    path, known = options.results[0], _compare_options(options)
    headers = [_header_of(found) for found in session_files(path)]
    builds = [build.allocator for build in headers[0].builds]
    names = builds[1:] if known.new_allocator is None and len(builds) > 2 else [known.new_allocator]
    comparisons = [
        compare_files(path, None, replace(known, new_allocator=name)) for name in names
    ]
    if not any(comparison.answers or comparison.broken for comparison in comparisons):
        for found in session_files(path):
            _good_run(found)
    run = read_run(path) if options.draw and not path.is_dir() else None
    return Material(report_of_comparisons(comparisons, headers), run, comparisons)


def _of_sides(options: ReportOptions) -> Material:
    """Base and new out of files of their own, each file a session."""
    from runner.verdict.runs import compare_files, compare_runs, session_files

    known = _compare_options(options)
    base = [found for path in options.base for found in session_files(path)]
    new = [found for path in options.results for found in session_files(path)]
    if len(options.base) == len(options.results) == 1:
        comparison = compare_files(options.base[0], options.results[0], known)
    else:
        comparison = compare_runs([read_run(path) for path in base], [read_run(path) for path in new], known)
    if not comparison.answers and not comparison.broken:
        for path in [*base, *new]:
            _good_run(path)
    headers = [_header_of(path) for path in _first_and_last(base, new)]
    return Material(report_of_comparisons([comparison], headers), None, [comparison])


def _first_and_last(base: Sequence[Path], new: Sequence[Path]) -> list[Path]:
    return [base[0], new[-1]]
