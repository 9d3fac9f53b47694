"""Finds the pull request and its comment through GitHub's command gh, and writes the comment."""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from runner.errors import EXIT_USAGE, UsageError
from runner.pull_request.comment_body import comment_body, read_report
from runner.pull_request.fallback import MARKER
from runner.sentence_parser import SentenceParser

EXIT_REFUSED = 1
_SECONDS = 120
_DEFAULT_AUTHOR = "github-actions[bot]"


class Refused(Exception):
    """GitHub did not do what it was asked for; the text is a sentence."""


def main(arguments: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    try:
        return _run(_parser().parse_args(list(arguments)))
    except UsageError as error:
        print(f"pr_comment.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Refused as error:
        print(f"pr_comment.py: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print("pr_comment.py: interrupted; run it again to post or update the comment.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = SentenceParser(
        prog="pr_comment.py", allow_abbrev=False,
        description="Posts a report as a comment on a pull request, or updates the one that is there. "
        "Needs GitHub's command gh, with the right to write comments.",
        epilog="exit status: 0 the comment is there, or there is no pull request to comment on; 1 GitHub "
        "refused; 2 wrong usage",
    )
    parser.add_argument("report", type=Path, help="the report in Markdown, as pr.py writes it")
    parser.add_argument("--repository", default=os.environ.get("GITHUB_REPOSITORY", ""),
                        metavar="OWNER/NAME", help="default: $GITHUB_REPOSITORY")
    parser.add_argument("--pull-request", metavar="N", help="its number; or, to have it found:")
    parser.add_argument("--head", metavar="OWNER:BRANCH", help="the branch that it is from")
    parser.add_argument("--commit", default="", metavar="SHA", help="the commit that was measured: one that "
                        "is no longer the branch's last gets no comment")
    parser.add_argument("--link", default="", metavar="URL", help="of the run that measured")
    parser.add_argument("--author", default=_DEFAULT_AUTHOR, metavar="LOGIN",
                        help=f"whose comment may be updated (default {_DEFAULT_AUTHOR})")
    return parser


def _run(given: argparse.Namespace) -> int:
    _check(given)
    body = comment_body(read_report(given.report), given.commit, given.link)
    repository = Repository(given.repository)
    number = int(given.pull_request) if given.pull_request else _number(repository, given.head, given.commit)
    if number is None:
        return 0
    found = repository.comment(number, given.author)
    if found is None:
        repository.create(number, body)
        print(f"Posted the report on pull request {number}.")
    else:
        repository.update(found, body)
        print(f"Updated the report on pull request {number}.")
    return 0


def _check(given: argparse.Namespace) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", given.repository):
        raise UsageError(f"--repository '{given.repository}' is no repository; write OWNER/NAME.")
    if given.pull_request is not None and not re.fullmatch(r"[1-9][0-9]{0,9}", given.pull_request):
        raise UsageError(f"--pull-request '{given.pull_request}' is no number of a pull request.")
    if given.commit and not re.fullmatch(r"[0-9a-f]{40,64}", given.commit):
        raise UsageError(f"--commit '{given.commit}' is no full commit; give all 40 digits.")
    if given.pull_request is None and not (given.head and ":" in given.head and given.commit):
        raise UsageError("it can't be told which pull request is meant; give --pull-request N, or --head "
                         "OWNER:BRANCH and --commit SHA.")
    if given.link and not re.fullmatch(r"https://[^\s<>()\[\]]+", given.link):
        raise UsageError(f"--link '{given.link}' is no address that begins with https://.")


def _number(repository: Repository, head: str, commit: str) -> Optional[int]:
    """Return the open pull request whose last commit was measured; None, and a sentence, if none is."""
    owner, _, branch = head.partition(":")
    if not owner or not branch:
        print("The repository that the branch came from is gone; there is nothing to comment on.")
        return None
    numbers = repository.pull_requests(head, commit)
    if not numbers:
        print(f"No open pull request of {head} ends with {commit[:9]}: it was closed, or has newer commits, "
              "whose own run comments.")
        return None
    if len(numbers) > 1:
        print(f"Several pull requests end with {commit[:9]}: the first gets the comment.")
    return min(numbers)


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub. Everything raises Refused when GitHub does not answer as it should."""

    name: str

    def pull_requests(self, head: str, commit: str) -> list[int]:
        """Return the numbers of the open pull requests from a branch that end with this commit."""
        found = self._list("pulls", "-f", "state=open", "-f", f"head={head}")
        return [pull["number"] for pull in found if pull["head"]["sha"] == commit]

    def comment(self, number: int, author: str) -> Optional[int]:
        """Return the first comment with the report's marker that `author` wrote; somebody else's is never
        touched. None if there is none."""
        for comment in self._list(f"issues/{number}/comments"):
            login = (comment.get("user") or {}).get("login")
            if login == author and (comment.get("body") or "").lstrip().startswith(MARKER):
                return int(comment["id"])
        return None

    def create(self, number: int, body: str) -> None:
        """Add a comment to a pull request."""
        self._call("--method", "POST", f"repos/{self.name}/issues/{number}/comments", "--input", "-",
                   body=body)

    def update(self, comment: int, body: str) -> None:
        """Give a comment another text."""
        self._call("--method", "PATCH", f"repos/{self.name}/issues/comments/{comment}", "--input", "-",
                   body=body)

    def _list(self, what: str, *arguments: str) -> list[dict[str, Any]]:
        """Return all pages of a list; gh prints them as one JSON array, or one after the other."""
        text = self._call("--method", "GET", "--paginate", f"repos/{self.name}/{what}",
                          "-f", "per_page=100", *arguments)
        decoder, at, found = json.JSONDecoder(), 0, []
        try:
            while text[at:].strip():
                at += len(text[at:]) - len(text[at:].lstrip())
                page, at = decoder.raw_decode(text, at)
                found += [entry for entry in page if isinstance(entry, dict)]
        except (ValueError, TypeError) as error:
            raise Refused(f"what GitHub answered about {what} can't be read ({error}).") from error
        return found

    @staticmethod
    def _call(*arguments: str, body: Optional[str] = None) -> str:
        text = None if body is None else json.dumps({"body": body})
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        try:
            done = subprocess.run(["gh", "api", *arguments], capture_output=True, text=True, check=False,
                                  encoding="utf-8", errors="replace", timeout=_SECONDS, **source)
        except FileNotFoundError as error:
            raise Refused("GitHub's command gh is not installed; install Debian's package gh.") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"GitHub's command gh did not answer ({error}).") from error
        if done.returncode != 0:
            words = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            raise Refused(f"GitHub refused ({words}); the report itself is kept with the run.")
        return done.stdout
