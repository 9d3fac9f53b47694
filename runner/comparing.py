"""What is different about a run that compares builds: its builds' folder, exact counts, and its end."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from runner import pictures
from runner.adaptive import NARROW, confidence_for, first_rounds
from runner.allocators import Allocator
from runner.verdict.comparison import DEFAULT_EFFECT
from runner.errors import EXIT_COMPLETE, EXIT_FAILED_SAMPLES, EXIT_USAGE, UsageError
from runner.exact import MISSING, ExactCounter, countable, find_valgrind
from runner.interrupts import Interrupts
from runner.measure import Laboratory
from runner.options import Options
from runner.records import Cell, ExactCount, RunHeader
from runner.results_file import ResultsWriter, Run
from runner.revisions import RevisionBuild, build_revisions
from runner.schedule import in_words
from runner.summary import summary_path

EXIT_INTERRUPTED = 130

NEEDS_NUMPY = (
    "no Python with numpy was found, which the verdicts need: install Debian's package python3-numpy"
)
_EXACT_SHARE = 0.25  # of the time budget


def builds_folder(results: Path) -> Path:
    """Return where the libraries of a comparison lie: beside its results, so that it can go on."""
    return results.with_name(f"{summary_path(results).stem}-builds")


def check_folder(results: Path) -> None:
    """Raise UsageError if there are builds of another run where those of this one would go."""
    folder = builds_folder(results)
    if os.path.lexists(folder):
        raise UsageError(
            f"--output {results}: '{folder}' exists, where its builds would go; choose another name, or "
            "move that folder away."
        )


def make_builds(
    options: Options, results: Path, root: Path, say: Callable[[str], None], interrupts: Interrupts
) -> list[RevisionBuild]:
    """Build what --rev names into the folder beside the results; nothing where it is not given."""
    if not options.rev:
        return []
    judge = pictures.find_python("numpy")
    interrupts.check()
    if judge is None:
        say(f"This will be measured, but not judged: {NEEDS_NUMPY}.")
    return build_revisions(options.rev, root, builds_folder(results), say, interrupts)


def remove_builds(results: Path) -> None:
    """Remove the builds of a run that came to nothing."""
    shutil.rmtree(builds_folder(results), ignore_errors=True)


def plan_in_words(header: RunHeader) -> str:
    """Return what a comparison is going to do, in a sentence."""
    settings = header.settings
    others = len(header.allocators) - len(header.builds)
    what = f"{len(header.builds)} builds" + (f" and {others} other allocators" if others else "")
    timed = any(not cell.is_program for cell in header.cells)
    text = f"{len(header.cells)} cells x {what}"
    if timed:
        text += f", samples of {settings.duration_seconds:g} s"
    if settings.rounds is not None:
        text += f", {settings.rounds} rounds"
    else:
        sure = confidence_for(len(header.cells) * (len(header.builds) - 1))
        text += (
            f", at least {first_rounds(len(header.cells), len(header.builds))} rounds and then more for "
            "each cell until its ratio is known "
            f"to \N{PLUS-MINUS SIGN}{100 * NARROW * (settings.effect or DEFAULT_EFFECT):.3g}% at "
            f"{100 * sure:.4g}% confidence"
        )
    if settings.budget_seconds is not None:
        text += f", within {in_words(settings.budget_seconds)}"
    return text + "."


def count_exactly(
    header: RunHeader, known: Sequence[ExactCount], allocators: Sequence[Allocator],
    laboratory: Laboratory, writer: ResultsWriter, say: Callable[[str], None],
) -> None:
    """Count the instructions of each cell and build that `known` does not have, as far as a quarter of
    the time budget lasts, and write the records. Raises Interrupted, and UsageError as the writer does."""
    wanted = _uncounted(header, known, allocators)
    if not wanted:
        return
    valgrind = find_valgrind()
    if valgrind is None:
        say(MISSING)
        return
    counter, began = ExactCounter(laboratory, valgrind), time.monotonic()
    more = [cell for cell in header.cells if not countable(cell)]
    skipped = f"; not of {len(more)} that would not repeat to the digit" if more else ""
    say(f"Counting instructions of {len(wanted)} cells with valgrind{skipped}.")
    budget = header.settings.budget_seconds
    for number, (cell, missing) in enumerate(wanted):
        spent = time.monotonic() - began
        if budget is not None and number and spent * (number + 1) / number > _EXACT_SHARE * budget:
            say(f"Counting stops after {in_words(spent)}: the rest of the time is for samples.")
            return
        for allocator in missing:
            count = counter.count(cell, allocator, header.settings)
            writer.write(count)
            if count.failure is not None:
                say(f"Not counted: {cell.id} {allocator.name}: {count.failure.reason}")


def _uncounted(
    header: RunHeader, known: Sequence[ExactCount], allocators: Sequence[Allocator]
) -> list[tuple[Cell, list[Allocator]]]:
    done = {(count.cell, count.allocator) for count in known}
    names = {build.allocator for build in header.builds}
    missing = [
        (cell, [a for a in allocators if a.name in names and (cell.id, a.name) not in done])
        for cell in header.cells if countable(cell)
    ]
    return [(cell, found) for cell, found in missing if found]


def failures_in_words(run: Run, most: int = 8) -> list[str]:
    """Return a line for each cell and build with failed samples, and how many were left out."""
    found: dict[tuple[str, str], list[str]] = {}
    for sample in run.samples:
        if sample.failure is not None:
            found.setdefault((sample.cell, sample.allocator), []).append(sample.failure.reason)
    lines = [
        f"Failed: {cell} {name}, {len(reasons)} samples: {reasons[0]}"
        for (cell, name), reasons in found.items()
    ]
    return lines[:most] + ([f"and {len(lines) - most} more."] if len(lines) > most else [])


def show_comparison(run: Run, root: Path) -> int:
    """Show the verdicts on each new build, by runner/compare.py, and return the worst exit status;
    EXIT_USAGE with a sentence where it could not judge."""
    python = pictures.find_python("numpy")
    again = f"runner/compare.py '{run.path}'"
    if python is None:
        print(f"Not judged: {NEEDS_NUMPY}, and then run {again}.")
        return EXIT_USAGE
    effect = run.header.settings.effect or DEFAULT_EFFECT
    command = [python, str(root / "runner" / "compare.py"), str(run.path), "--effect",
               f"{100 * effect:.6g}%"]
    return max(
        _judged(python, [*command, "--new-allocator", build.allocator], again)
        for build in run.header.builds[1:]
    )


def _judged(python: str, command: list[str], again: str) -> int:
    sys.stdout.flush()
    status: Optional[int] = None
    try:
        status = subprocess.run(
            command, env=pictures.environment_for(python), stdin=subprocess.DEVNULL, check=False
        ).returncode
    except OSError as error:
        print(f"runner/compare.py did not run ({(error.strerror or str(error)).lower()}).")
    if status in (EXIT_COMPLETE, EXIT_FAILED_SAMPLES):
        return status
    if status == EXIT_INTERRUPTED:
        print(f"Interrupted while judging; the samples are complete; see {again}.")
        return status
    print(f"Not judged: runner/compare.py ended with status {status}; the samples are kept; see {again}.")
    return EXIT_USAGE
