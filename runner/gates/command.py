"""The kind `command`: a program of the tree must end with exit status 0 within its time."""
from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from runner.gates.kinds import Finding, Kind, Workshop, fits
from runner.gates.values import Parameter, time_span, words
from runner.schedule import in_words


def _asked(values: Mapping[str, Any]) -> str:
    return f"'{shlex.join(values['command'])}' ends with 0 within {in_words(values['time_limit'])}"


def _judge(values: Mapping[str, Any], workshop: Workshop) -> Finding:
    limit = in_words(values["time_limit"])
    ended = workshop.follow(
        list(values["command"]), values["time_limit"], lambda last: workshop.tell(f"at most {limit}; {last}")
    )
    last = f": {ended.lines[-1]}" if ended.lines else ""
    if ended.problem is None:
        return Finding(True, f"exit status 0 after {in_words(ended.seconds)}{last}")
    return Finding(False, f"{ended.problem} after {in_words(ended.seconds)}{last}", lines=ended.lines)


COMMAND = Kind(
    "command", {"command": Parameter(words), "time_limit": Parameter(time_span, 600.0)}, fits, _asked, _judge,
)
