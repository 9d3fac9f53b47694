"""The whole of pr.py: measure, compare, profile, remember, report, and the exit status."""
from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import EXIT_USAGE, UsageError, explain_os_error
from runner.interrupts import Interrupted
from runner.paths import TREE
from runner.patient_stream import PatientStream
from runner.pull_request.ends import build_the_same, find_ends
from runner.pull_request.fallback import write_fallback
from runner.pull_request.files import Files, make_folder
from runner.pull_request.options import Options, Settings, parse_options, read_settings, write_settings
from runner.pull_request.steps import Relay
from runner.pull_request.work import Work

ROOT = TREE


def main(arguments: Sequence[str]) -> int:
    """Run with these arguments and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a locale without the signs
    streams = [PatientStream.take("stdout"), PatientStream.take("stderr")]
    relay = Relay()
    try:
        relay.install()
        return _run(parse_options(arguments), relay)
    except SystemExit as end:  # after --help
        return int(end.code or 0)
    except UsageError as error:
        _say(f"pr.py: {error}")
        return EXIT_USAGE
    except Interrupted:
        _say("Interrupted before anything was measured.")
        return relay.exit_status
    finally:
        for patient in streams:
            patient.flush()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run(options: Options, relay: Relay) -> int:
    if options.resume is not None:
        files = Files(options.resume)
        settings = read_settings(options.resume)
    else:
        assert options.settings is not None
        ends = find_ends(options.settings.ends, ROOT)
        relay.check()
        print(ends.remark)
        settings = dataclasses.replace(
            options.settings, base=ends.base, head=ends.head, folder=os.getcwd(),
            history=options.settings.history and os.path.abspath(options.settings.history))
        if not settings.always and build_the_same(ends, ROOT):
            return _nothing_to_measure(options)
        files = make_folder(options.out, ROOT)
        write_settings(settings, files.folder)
    return _work(settings, files, relay)


def _nothing_to_measure(options: Options) -> int:
    sentence = (
        "The same: nothing that the library is built from differs between the two, so there is nothing to "
        "measure."
    )
    print(f"{sentence} To measure all the same: --always")
    if options.out is not None:
        files = make_folder(options.out, ROOT)
        try:
            write_fallback(files.markdown, sentence, "")
        except OSError as error:
            raise UsageError(explain_os_error(error, files.markdown, "--out DIR")) from error
        print(f"Report:  {files.markdown}")
    return 0


def _work(settings: Settings, files: Files, relay: Relay) -> int:
    work = Work(settings, files, ROOT, relay)
    try:
        return work.run()
    except Interrupted:
        if not files.results.exists():
            _say("Interrupted before anything was measured.")
        else:
            again = shlex.join(["runner/pr.py", "--resume", str(files.folder)])
            _say(f"Interrupted; what was measured is kept in '{files.results}'. Go on with: {again}")
        return relay.exit_status
