"""Writes the Markdown summary of a run: headline, tables, pictures, machine, command."""
from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from runner.errors import UsageError, explain_os_error
from runner.estimate import FEW_SAMPLES, Analysis, mean_of, remarks
from runner.markdown_text import escape, section
from runner.records import Machine, RunHeader
from runner.schedule import in_words
from runner.table import MEBIBYTE, make_blocks, mean_text, table_remarks
from runner.tails import compared_tails, longer_tails, shorter_tails


def headline(analysis: Analysis) -> str:
    """Return the run's outcome in a few sentences."""
    cells = analysis.header.cells
    failed = sum(bool(result.failures) for result in analysis.results.values())
    ending = ""
    if failed:
        ending = f" {failed} of {len(analysis.results)} results failed."
    speed = analysis.speed_means.get(("", ""))
    memory = analysis.memory_means.get("")
    if speed is None or memory is None:
        return f"{len(cells)} cells, {len(analysis.allocators)} allocators.{ending}"
    compared = [(c.id, analysis.best[c.id]) for c in cells if c.id in analysis.best]
    intervals = [analysis.ratios[key].interval for key in compared if key in analysis.ratios]
    counts = [r.throughput.samples for r in analysis.results.values() if r.throughput]
    enough = bool(counts) and min(counts) >= FEW_SAMPLES  # one sample's interval has no width
    faster = sum(enough and interval.low > 1 for interval in intervals)
    slower = sum(enough and interval.high < 1 for interval in intervals)
    return (
        f"Against the fastest baseline of each cell {analysis.subject} is faster in {faster}, slower "
        f"in {slower} and not clearly either in {len(intervals) - faster - slower} of "
        f"{len(intervals)} cells; geometric mean {mean_text(speed)} of its {_what(analysis)}, and "
        f"{memory.value:.2f} of the smallest baseline's peak memory."
        f"{tail_sentence(analysis)}{ending}"
    )


def tail_sentence(analysis: Analysis) -> str:
    """Return where the subject's p99.9 stand, with a space before it; nothing where none was compared."""
    ratios = compared_tails(analysis)
    mean = mean_of(ratios)
    if mean is None:
        return ""
    lower, higher = len(shorter_tails(analysis)), len(longer_tails(analysis))
    return (
        f" The p99.9 of its malloc and free is below the best baseline's in {lower}, above it in {higher} and "
        f"not clearly either in {len(ratios) - lower - higher} of {len(ratios)}; geometric mean "
        f"{mean_text(mean)}."
    )


def _what(analysis: Analysis) -> str:
    """Return what the means are of."""
    programs = len(analysis.program_cells)
    if programs == len(analysis.header.cells):
        return "work per second of processor time"
    return "speed" if programs else "throughput"


def summary_path(results: Path) -> Path:
    """Return where the summary of a results file goes."""
    name = results.stem if results.suffix == ".jsonl" else results.name
    return results.with_name(f"{name}.md")


def write_summary(
    path: Path, analysis: Analysis, results: Path, pictures: Sequence[Path], complete: bool
) -> None:
    """Write the summary; pictures are linked relative to it. Raises UsageError."""
    header = analysis.header
    lines = [f"# {', '.join(header.workloads)}: {', '.join(analysis.allocators)}", ""]
    lines += [headline(analysis), ""]
    if not complete:
        lines += ["This run was not finished.", ""]
    for block in make_blocks(analysis):
        lines += section(block)
    notes = [*remarks(analysis), *table_remarks(analysis)]
    if notes:
        lines += ["## Notes", "", *(f"- {escape(note)}" for note in notes), ""]
    if pictures:
        lines += ["## Pictures", ""]
        for picture in pictures:
            target = quote(picture.relative_to(path.parent).as_posix())
            lines += [f"![{picture.stem.replace('-', ' ')}]({target})", ""]
    lines += _machine_lines(header)
    lines += [
        "## Measure it again", "", "```", shlex.join(repeat_command(header)), "```", "",
        f"All samples are in [{escape(results.name)}]({quote(results.name)}).", "",
    ]
    try:
        path.write_text("\n".join(lines), "utf-8")
    except OSError as error:
        raise UsageError(explain_os_error(error, path)) from error


def repeat_command(header: RunHeader) -> list[str]:
    """Return the command line that measures the same again, in the same order of samples."""
    command: list[str] = []
    words = iter(header.command)
    for word in words:
        if word == "--output":
            next(words, None)  # that file exists now
        elif not word.startswith("--output="):
            command.append(word)
    if not any(word.split("=")[0] == "--order-seed" for word in command):
        command += ["--order-seed", str(header.settings.order_seed)]
    return command


def _machine_lines(header: RunHeader) -> list[str]:
    settings, build = header.settings, header.build
    rounds = "as many rounds as fit" if settings.rounds is None else f"{settings.rounds} rounds"
    if settings.budget_seconds is not None:
        rounds += f" within {in_words(settings.budget_seconds)}"
    tree = "no git checkout"
    if header.git is not None:
        tree = header.git.commit[:12] + (", with changes not committed" if header.git.dirty else "")
    lines = ["## Machine and settings", "", *(
        f"- {name}: {value}" for name, value in machine_facts(header.machine)
    )]
    timed = any(not cell.is_program for cell in header.cells)
    length = f" of {settings.duration_seconds:g} s each" if timed else ""
    lines += [
        f"- Compiler: {build.compiler}, `{build.flags}` ({build.variant})",
        f"- Source: {tree}",
        f"- Samples: {rounds}{length}, in random order; seed {settings.workload_seed}; order "
        f"{settings.order_seed}",
    ]
    for cell in header.cells:
        if cell.is_program and cell.workload in header.programs:
            program = header.programs[cell.workload]
            lines.append(f"- {escape(cell.id)}: {cell.units} {program.units} a sample; "
                         f"{escape(program.version)}, `{program.path}`")
    for entry in header.allocators:
        if entry.library is not None:
            version = f" {entry.version}" if entry.version else ""
            lines.append(f"- {entry.name}{version}: `{entry.library.path}`")
    lines += [f"- {name}={value}" for name, value in header.environment.items()]
    return [*lines, ""]


def _cache_size(size: int) -> str:
    return f"{size / MEBIBYTE:g} MiB" if size >= MEBIBYTE else f"{size / 1024:g} KiB"


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """Return what is known about the machine, by name."""
    cores = f"{machine.cores_available} of {machine.cores_total}"
    if machine.cpu_quota_cores is not None:
        cores += f", limited to {machine.cpu_quota_cores:g}"
    facts = [("Processor", machine.cpu_model), ("Cores", cores)]
    if machine.memory_bytes is not None:
        facts.append(("Memory", f"{machine.memory_bytes / MEBIBYTE / 1024:.1f} GiB"))
    if machine.caches:
        facts.append(("Caches", ", ".join(
            f"L{cache.level} {_cache_size(cache.bytes)}" for cache in machine.caches
        )))
    facts += [
        ("Kernel", machine.kernel),
        ("System", machine.system or "unknown"),
        ("Governor", machine.governor or "unknown"),
        ("Transparent huge pages", machine.transparent_hugepages or "unknown"),
    ]
    if machine.virtualization is not None:
        facts.append(("Virtualization", machine.virtualization))
    return facts
