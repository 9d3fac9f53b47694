"""The steps of a pull request's comparison, one after the other; what a step leaves stays, whatever
happens to those after it."""
from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from runner.errors import EXIT_USAGE, UsageError
from runner.machine import cores_available
from runner.pull_request.fallback import write_fallback
from runner.pull_request.files import Files
from runner.pull_request.options import Settings
from runner.pull_request.steps import Relay, StepEnd, run_step
from runner.pull_request.verdict import (
    Change, Findings, failures_of_base, failures_of_head, first_line, parse_findings,
)
from runner.programs import PROGRAMS
from runner.results_file import Run, read_run

EXIT_SLOWER = 1
_ANSWERED = (0, EXIT_SLOWER, 3)  # what compare.py ends with when it has an answer; 3: undecided
_COMPARE_SECONDS = 300.0
_PROFILE_SECONDS = 240.0
_HISTORY_SECONDS = 120.0
_REPORT_SECONDS = 600.0


@dataclass
class Work:
    """One comparison while it is made."""

    settings: Settings
    files: Files
    root: Path
    relay: Relay
    _remembered: bool = False  # the history has these results

    def run(self) -> int:
        """Do all steps and return the exit status. Raises Interrupted, and UsageError."""
        measured = self._measure()
        run = self._samples(measured)
        if run is None:
            return self._nothing_measured(measured)
        self._complain("Not all could be measured", measured)
        for role, failures in (("HEAD", failures_of_head(run)), ("BASE", failures_of_base(run))):
            for reason in failures:
                self._say(f"Failed samples of {role}: {reason}")
        findings, compared = self._compare()
        if findings is not None:
            suspect = findings.to_profile(self.settings.profile == "always", PROGRAMS)
            done_before = (self.files.profiles / "profile.json").exists()
            if suspect is not None and self.settings.profile != "never" and not done_before:
                self._profile(suspect, run)
        if self.settings.history is not None:
            self._remember(self.settings.history)
        self._report(findings, compared)
        return self._conclude(findings, compared)

    # The steps

    def _measure(self) -> StepEnd:
        if self.files.results.exists():
            self._title("Measure: go on with what is there")
            return self._step("run.py", "--resume", str(self.files.results), "--no-plots")
        settings = self.settings
        self._title(f"Measure for {settings.time_budget}, to tell changes of {settings.effect}")
        arguments = ["--rev", settings.base, "--rev", settings.head, "--effect", settings.effect,
                     "--time-budget", settings.time_budget, "--output", str(self.files.results),
                     "--no-plots"]
        for name, values in (("--workloads", settings.workloads),
                             ("--matrix", settings.matrix or [self._threads()])):
            for value in values:
                arguments += [name, value]
        return self._step("run.py", *arguments)

    @staticmethod
    def _threads() -> str:
        """A small matrix that tells much: one thread, and a thread for each core."""
        cores = cores_available()
        return f"threads=1,{cores}" if cores > 1 else "threads=1"

    def _samples(self, measured: StepEnd) -> Optional[Run]:
        """Return what was measured, None if that was nothing."""
        if not self.files.results.exists():
            return None
        try:
            run = read_run(self.files.results)
        except UsageError as error:
            self._say(f"pr.py: {error}")
            return None
        return run if any(not sample.warmup for sample in run.samples) else None

    def _compare(self) -> tuple[Optional[Findings], StepEnd]:
        self._title("Compare")
        strict = ["--strict"] if self.settings.strict else []
        end = self._step("compare.py", str(self.files.results), "--effect", self.settings.effect,
                         "--json", *strict, limit=_COMPARE_SECONDS, capture=True)
        try:
            findings = parse_findings(end.answer) if end.status in _ANSWERED else None
        except ValueError as error:
            self._say(f"pr.py: what compare.py answered can't be read: {error}.")
            findings = None
        if findings is None:
            self._complain("The comparison failed", end)
        else:
            self._write(self.files.comparison, end.answer)
            print(findings.sentence)
        return findings, end

    def _profile(self, change: Change, run: Run) -> None:
        self._title(f"Profile where the change is largest: {change.cell}")
        arguments = [change.workload, f"rev:{self.settings.head}", "--against", f"rev:{self.settings.base}",
                     "--out", os.path.abspath(self.files.profiles)]
        calibrated = any(cell.id == change.cell and cell.calibrated for cell in run.header.cells)
        for name, value in change.parameters.items():
            if not (calibrated and name == "operations"):  # that was how long a sample took
                arguments += ["--matrix", f"{name}={value}"]
        end = self._step("hotspots.py", *arguments, limit=_PROFILE_SECONDS, folder=self.settings.folder)
        self._complain("There is no profile", end)

    def _remember(self, history: str) -> None:
        self._title(f"Add to the history {history}")
        end = self._step("history.py", "add", str(self.files.results), "--db", history,
                         limit=_HISTORY_SECONDS)
        self._complain("The history has not got these results", end)
        self._remembered = end.status == 0

    def _report(self, findings: Optional[Findings], compared: StepEnd) -> None:
        self._title("Report")
        least = [str(self.files.results), "--markdown", str(self.files.markdown), "--effect",
                 self.settings.effect]
        more = ["--html", str(self.files.page)]
        if (self.files.profiles / "profile.json").is_file():  # the last that hotspots.py writes
            more += ["--profiles", str(self.files.profiles)]
        if self.settings.history is not None and self._remembered:
            more += ["--history", self.settings.history]
        end = self._step("report.py", *least, *more, limit=_REPORT_SECONDS, capture=True)  # it says the verdict
        self._complain("There is no full report", end)
        if end.status not in _ANSWERED:
            self._title("Report, without the page")
            end = self._step("report.py", *least, limit=_REPORT_SECONDS, capture=True)
        if end.status not in _ANSWERED:
            sentence = findings.sentence if findings else "The comparison failed; what was measured is kept."
            self._fall_back(sentence, compared.said + end.said)

    # The end

    def _nothing_measured(self, measured: StepEnd) -> int:
        reason = measured.problem or "what stands below was said last."
        if measured.said.strip() and measured.problem is None:
            reason = measured.said.strip().splitlines()[-1]
            reason = reason.replace("run.py: ", "", 1).replace("stand above", "stand below")
        self._fall_back(f"Nothing could be measured: {reason}", measured.said)
        print(f"Report:  {self.files.markdown}")
        return EXIT_USAGE

    def _conclude(self, findings: Optional[Findings], compared: StepEnd) -> int:
        verdict = first_line(self.files.markdown) or (findings.sentence if findings else "")
        print()
        if verdict:
            print(verdict)
        for title, path in (("Report:", self.files.markdown), ("Page:", self.files.page),
                            ("Results:", self.files.results)):
            if path.exists():
                print(f"{title:<9}{path}")
        if findings is None:
            return EXIT_USAGE
        return compared.status or 0

    # What all steps share

    def _title(self, text: str) -> None:
        self.relay.check()
        print(f"\n== {text}", flush=True)

    def _step(
        self, script: str, *arguments: str, limit: Optional[float] = None, capture: bool = False,
        folder: Optional[str] = None,
    ) -> StepEnd:
        end = run_step([sys.executable, str(self.root / "runner" / script), *arguments], self.relay,
                       limit_seconds=limit, capture=capture, folder=folder)
        self.relay.check()
        return end

    def _complain(self, what: str, end: StepEnd) -> None:
        if end.problem is not None:
            self._say(f"{what}: {end.problem}. What came before is kept.")
        elif end.status not in _ANSWERED:
            self._say(f"{what}: see above; exit status {end.status}. What came before is kept.")

    def _fall_back(self, sentence: str, said: str) -> None:
        try:
            write_fallback(self.files.markdown, sentence, said)
        except OSError as error:
            self._say(f"The report could not be written: {error}.")

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_text(text, "utf-8")
            os.replace(temporary, path)
        except OSError as error:
            self._say(f"'{path}' could not be written: {error}.")

    @staticmethod
    def _say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
