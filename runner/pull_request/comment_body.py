"""Makes the text of a comment out of a report that is trusted with nothing: not with its length, not with
the names it calls, not with being a file of its own."""
from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from runner.errors import UsageError, explain_os_error
from runner.pull_request.fallback import MARKER

MOST_UNITS = 65_000  # GitHub takes 65,536; counted in UTF-16, of which a sign has one unit or two
_MOST_BYTES = 256 << 10
_MENTION = re.compile(r"(?:@|&(?:#0*64|#[xX]0*40|commat);?)(?=[A-Za-z0-9])")
_NO_MENTION = "@\N{ZERO WIDTH SPACE}"
# A picture that lies beside the report, and what folded nothing but such pictures.
_PICTURE = re.compile(r"^!\[[^\n]*?\]\((?!https://)[^)\n]*\)[ \t]*\n*", re.M)
_EMPTY_FOLD = re.compile(r"<details>\n<summary>[^\n]*</summary>\s*</details>\n*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def read_report(path: Path) -> str:
    """Return the text of a report; raises UsageError. A link is not followed: it may lead to what the
    report's author must not see."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise UsageError(f"'{path}' is a link, and is not followed; give the report itself.") from error
        raise UsageError(explain_os_error(error, path)) from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"'{path}' is no file; give the report that pr.py wrote.")
        data = stream.read(_MOST_BYTES)
    text = data.decode("utf-8", "replace").replace("\0", "").replace("\r\n", "\n")
    if not text.strip():
        raise UsageError(f"'{path}' is empty; there is nothing to post.")
    return text


def comment_body(report: str, commit: str, link: str) -> str:
    """Return the comment: the marker by which it is found again, the report, and where it is from. It
    calls nobody, leaves out pictures that a comment can't show, and is cut where it would be longer than
    a comment may be."""
    text = _EMPTY_FOLD.sub("", _PICTURE.sub("", re.sub(f"{MARKER}\n?", "", report)))
    text = _MENTION.sub(_NO_MENTION, MARKER + "\n" + text.strip("\n"))
    run = f"[this run]({link}), which keeps the page and every sample" if link else "a run without a link"
    measured = f"Measured at {commit[:9]} " if commit else "Measured "
    foot = f"\n\n<sub>{measured}by {run}.</sub>\n"
    if units(text) + units(foot) <= MOST_UNITS:
        return text + foot
    where = "The page and the file report.md of the run below have" if link else "The file has"
    cut = f"\n\n*The report is longer than a comment may be, and was cut here. {where} all of it.*"
    return _cut(text, MOST_UNITS - units(foot) - units(cut)) + cut + foot


def units(text: str) -> int:
    """Return the length of a text as GitHub may count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut(text: str, most: int) -> str:
    """Return as many whole lines as fit, with what they left open closed."""
    most -= 2_000  # to close blocks of code and details
    kept: list[str] = []
    length = 0
    for line in text.split("\n"):
        length += units(line) + 1
        if length > most:
            break
        kept.append(line)
    if len(kept) < 2:  # one line without an end
        return text[: most // 2]
    return "\n".join([*kept, *_closing(kept)])


def _closing(lines: list[str]) -> list[str]:
    fence, details = "", 0
    for line in lines:
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and line.strip() == match[1]:
                fence = ""
        elif match:
            fence = match[1]
        else:
            details = max(0, details + line.count("<details") - line.count("</details>"))
    return [*([fence] if fence else []), *(["", "</details>"] * min(details, 50))]
