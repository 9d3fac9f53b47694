"""The command line of report.py."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import UsageError
from runner.sentence_parser import SentenceParser

_EXAMPLES = """examples:
  runner/report.py results/X.jsonl                       X-report.md and X-report.html beside it
  runner/report.py results/X.jsonl --html page.html      the page alone
  runner/report.py before.jsonl after.jsonl --markdown - two runs, Markdown on standard output
  runner/report.py new/ --base old/ --html page.html     folders of files: sessions of each side

exit status: 0 the report was written, whatever its verdict; 2 bad input, or it could not be written;
130 interrupted, nothing was written
"""


@dataclass(frozen=True)
class ReportOptions:
    """What the user asked for."""

    results: list[Path]
    base: list[Path]
    markdown: Optional[Path]
    html: Optional[Path]
    pictures: Optional[Path]
    draw: bool
    pictures_url: Optional[str]
    profiles: list[Path]
    history: Optional[Path]
    title: Optional[str]
    effect: Optional[str]
    false_discovery: Optional[str]
    confidence: Optional[str]
    base_allocator: Optional[str]
    new_allocator: Optional[str]
    across_machines: bool


def _parser() -> SentenceParser:
    parser = SentenceParser(
        prog="report.py",
        description="Writes a report: Markdown for a pull request, and an HTML page that holds everything.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    parser.add_argument("results", nargs="+", metavar="RESULTS",
                        help="a comparison of builds, one run, or two files BASE NEW; a folder stands for "
                        "all results files in it")
    parser.add_argument("--base", action="append", default=[], metavar="FILE",
                        help="compare all RESULTS with this file or folder; repeatable")
    out = parser.add_argument_group("what is written")
    out.add_argument("--markdown", metavar="FILE", help="Markdown, short enough for a comment (- for "
                     "standard output)")
    out.add_argument("--html", metavar="FILE", help="one page that needs no network")
    out.add_argument("--pictures", metavar="DIR", help="where the pictures go that the Markdown shows "
                     "(default: NAME-pictures beside it)")
    out.add_argument("--pictures-url", metavar="PREFIX", help="address under which the pictures will be "
                     "found (default: links relative to the Markdown)")
    out.add_argument("--no-pictures", action="store_true", help="draw none")
    out.add_argument("--title", metavar="TEXT", help="title of the page")
    more = parser.add_argument_group("what is added")
    more.add_argument("--profiles", action="append", default=[], metavar="DIR",
                      help="a folder of hotspots.py, or one that holds such folders; repeatable")
    more.add_argument("--history", metavar="FILE", help="a history of history.py")
    how = parser.add_argument_group("how is compared (see compare.py)")
    how.add_argument("--effect", metavar="SHARE", help="change that counts, such as 2%%")
    how.add_argument("--false-discovery", metavar="SHARE", help="of all that is called slower or faster")
    how.add_argument("--confidence", metavar="SHARE", help="of the intervals")
    how.add_argument("--base-allocator", metavar="NAME", help="whose samples are the base's")
    how.add_argument("--new-allocator", metavar="NAME", help="whose samples are the new one's")
    how.add_argument("--across-machines", action="store_true",
                     help="compare although the machines differ; the report says so")
    return parser


def parse_report_options(arguments: Sequence[str]) -> ReportOptions:
    """Return the checked options; raises UsageError, and SystemExit(0) after --help."""
    given = _parser().parse_args(list(arguments))
    results, base = _paths(given.results, "RESULTS"), _paths(given.base, "--base")
    if not base and len(results) > 2:
        raise UsageError(
            f"{len(results)} results were given; give one, two (BASE NEW), or name the base's with --base."
        )
    if not base and len(results) == 2:
        base, results = results[:1], results[1:]
    markdown, page = _path(given.markdown, "--markdown"), _path(given.html, "--html")
    if markdown is None and page is None:
        stem = results[-1].with_name(f"{results[-1].stem}-report")
        markdown, page = stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.html")
    _check_apart(markdown, page, [*results, *base])
    return ReportOptions(
        results=results, base=base, markdown=markdown, html=page,
        pictures=_path(given.pictures, "--pictures"), draw=not given.no_pictures,
        pictures_url=given.pictures_url, profiles=_paths(given.profiles, "--profiles"),
        history=_path(given.history, "--history"), title=given.title, effect=given.effect,
        false_discovery=given.false_discovery, confidence=given.confidence,
        base_allocator=given.base_allocator, new_allocator=given.new_allocator,
        across_machines=given.across_machines,
    )


def _check_apart(
    markdown: Optional[Path], page: Optional[Path], inputs: Sequence[Path]
) -> None:
    """Raise UsageError where the report would replace what it is made of, or one half the other."""
    written = [(option, path) for option, path in (("--markdown", markdown), ("--html", page)) if path]
    for option, path in written:
        if str(path) == "-":
            continue
        if any(path.resolve() == other.resolve() for other in inputs):
            raise UsageError(f"{option} {path}: that is the results file itself; choose another name.")
    if markdown is not None and page is not None and str(markdown) != "-" and (
            markdown.resolve() == page.resolve()):
        raise UsageError(f"--html {page}: the Markdown goes there already; choose another name.")
    if page is not None and str(page) == "-" and markdown is not None and str(markdown) == "-":
        raise UsageError("--html -: the Markdown goes to standard output already; name a file.")


def _path(text: Optional[str], option: str) -> Optional[Path]:
    if text is None:
        return None
    if not text.strip() or "\0" in text:
        raise UsageError(f"{option}: the name is empty; name a file.")
    return Path(text)


def _paths(texts: Sequence[str], option: str) -> list[Path]:
    return [path for path in (_path(text, option) for text in texts) if path is not None]
