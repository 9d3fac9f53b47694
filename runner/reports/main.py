"""The whole of a report: reads results, draws pictures, adds profiles and history, writes both forms."""
from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Optional

from runner.errors import EXIT_COMPLETE, EXIT_USAGE, UsageError
from runner.patient_stream import PatientStream
from runner.pictures import find_python
from runner.progress import make_progress
from runner.reports.files import check_writable, write_whole
from runner.reports.history import read_trends
from runner.reports.input import Material, is_comparison, read_material
from runner.reports.markdown import markdown
from runner.reports.model import Report, distinct
from runner.reports.options import ReportOptions, parse_report_options
from runner.reports.pictures import draw_pictures, link_to
from runner.reports.profiles import read_profiles

Need = Callable[["dict[str, str]"], None]

_PAGE = {"jinja2": "python3-jinja2"}
_COMPARISON = {"numpy": "python3-numpy"}
_WELCOME = {"numpy": "python3-numpy", "matplotlib": "python3-matplotlib"}
_MOVED = "HAKMEM_RUNNER_MOVED"  # set by tree_path for a Python that was moved to: none moves on from there
_STEPS = ("reading the results", "reading profiles and history", "drawing pictures", "writing")


def main(arguments: Sequence[str], need: Need) -> int:
    """Run with these arguments and return the exit status. `need` is tree_path's: it goes on with a
    Python that has the libraries, or ends the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    output = PatientStream.take("stdout")
    try:
        options = parse_report_options(arguments)
        _find_libraries(options, need)
        _write(options)
        output.flush()
    except SystemExit as end:  # after --help, or where a library is missing
        return int(end.code or 0)
    except UsageError as error:
        return _refuse(error)
    except MemoryError:
        return _refuse(UsageError("there is not enough memory for these results; report on fewer of them."))
    except KeyboardInterrupt:
        _say("Interrupted; no half-written report was left behind.")
        return 130
    if output.problem is not None:
        return _refuse(UsageError(f"standard output could not be written ({output.problem})."))
    return EXIT_COMPLETE


def _interrupt(_number: int, _frame: Optional[FrameType]) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _refuse(error: UsageError) -> int:
    _say(f"report.py: {error}")
    return EXIT_USAGE


def _find_libraries(options: ReportOptions, need: Need) -> None:
    """A comparison needs numpy, the page jinja2. What else is welcome is looked for, and done without if
    no Python has it."""
    required = dict(_PAGE) if options.html is not None else {}
    if is_comparison(options):
        required.update(_COMPARISON)
    everything = {**required, **_WELCOME}
    if not all(map(_has, everything)) and _MOVED not in os.environ:
        python = find_python(", ".join(everything))
        if python is not None and python != sys.executable:
            need(everything)
    need(required)


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _write(options: ReportOptions) -> None:
    for path, option in ((options.markdown, "--markdown FILE"), (options.html, "--html FILE")):
        if path is not None:
            check_writable(path, option)
    progress = make_progress(len(_STEPS), unit="steps")
    step = iter(range(len(_STEPS)))

    def begin() -> None:
        number = next(step)
        progress.update(number, None, _STEPS[number])

    try:
        begin()
        material = read_material(options)
        begin()
        report = material.report
        report.title = options.title or report.title
        report.profiles = read_profiles(options.profiles)
        with _pictures_folder(options) as folder:
            if options.history is not None:
                workloads = distinct(row.workload for row in report.rows)
                report.trends = read_trends(
                    options.history, workloads, material.product, folder, options.draw,
                    _wants_png(options),
                )
            begin()
            _draw(material, folder, options)
            begin()
            written = _write_both(report, options)
    finally:
        if sys.stderr.isatty():
            progress.finish(len(_STEPS))
    stream = sys.stderr if "-" in (str(options.markdown), str(options.html)) else sys.stdout
    print(f"{report.strong}{report.sentence}", *written, sep="\n", file=stream)


@contextmanager
def _pictures_folder(options: ReportOptions) -> Iterator[Path]:
    """Where pictures are drawn: beside the Markdown that shows them, else in a folder that goes away."""
    if options.pictures is not None:
        yield options.pictures
    elif options.markdown is not None and str(options.markdown) != "-" and options.draw:
        yield options.markdown.with_name(f"{options.markdown.stem}-pictures")
    else:
        with tempfile.TemporaryDirectory(prefix="hakmem-report-") as folder:
            yield Path(folder)


def _wants_png(options: ReportOptions) -> bool:
    """Markdown shows PNG files; the page has the SVG."""
    return options.pictures is not None or _shows_pictures(options)


def _shows_pictures(options: ReportOptions) -> bool:
    """True if there is Markdown whose pictures stay where they are drawn."""
    return options.markdown is not None and (
        str(options.markdown) != "-" or options.pictures is not None
    )


def _draw(material: Material, folder: Path, options: ReportOptions) -> None:
    if not options.draw:
        return
    report = material.report
    report.pictures, problem = draw_pictures(
        material.run, material.comparisons, folder, _wants_png(options)
    )
    if problem is not None:
        report.remarks.append(problem)


def _write_both(report: Report, options: ReportOptions) -> list[Path]:
    written: list[Path] = []
    if options.html is not None:
        from runner.reports.page import page

        write_whole(options.html, page(report), "--html FILE")
        if str(options.html) != "-":
            written.append(options.html)
    if options.markdown is not None:
        shown = report
        if not _shows_pictures(options):
            shown = replace(report, pictures=[], trends=[replace(t, pictures=[]) for t in report.trends])
        text = markdown(
            shown, lambda picture: link_to(picture, options.markdown, options.pictures_url),
            "the page" if options.html is not None else "",
        )
        write_whole(options.markdown, text, "--markdown FILE")
        if str(options.markdown) != "-":
            written.append(options.markdown)
    return written
