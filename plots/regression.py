"""The pictures of what changed between two builds: a bar for each phase, with its interval, coloured by
its verdict. One picture for each family of metrics; at most MOST_BARS bars, the largest changes first."""
from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from plots.album import Album
from plots.style import save
from runner.verdict.comparison import FASTER, METRICS, SAME, SLOWER, UNDECIDED, WHOLE_RUN, Answer, Comparison

MOST_BARS = 30
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "throughput": ("throughput", ("ops_per_second",)),
    "processor": ("processor time", ("cpu_ns_per_op", "cycles_per_op")),
    "latency": ("time of single calls", ("malloc_p50", "malloc_p99", "malloc_p999",
                                         "free_p50", "free_p99", "free_p999")),
    "memory": ("memory", ("peak_rss_bytes", "minor_faults")),
    "instructions": ("instructions", ("instructions_per_op", "exact_instructions_per_op")),
}
# Colour, hatching and word of each verdict; colours differ in lightness too.
_LOOKS = {
    SLOWER: ("#D55E00", "", "slower"), FASTER: ("#0072B2", "", "faster"),
    UNDECIDED: ("#F0C75E", "////", "undecided"), SAME: ("#BBBBBB", "", "same"),
}
_WORDS = {"throughput": ("slower", "faster"), "processor": ("slower", "faster"),
          "latency": ("slower", "faster"), "memory": ("more", "less"), "instructions": ("more", "fewer")}
_FIRST = {SLOWER: 0, FASTER: 0, UNDECIDED: 1, SAME: 2}
_INCHES_A_BAR = 0.27
_LABEL_LENGTH = 46


@dataclass(frozen=True)
class Panel:
    """The bars of one workload and one metric."""

    title: str
    answers: list[Answer]


def draw_regression(comparison: Comparison, album: Album) -> None:
    """Draw a picture of each family of metrics that has answers."""
    known = {metric for _, metrics in _FAMILIES.values() for metric in metrics}
    others = tuple(name for name in METRICS if name not in known)
    further = re.fullmatch(r"new\d+", comparison.new.allocator)  # a third build of the same run
    role = f"-{comparison.new.allocator}" if further else ""
    for family, (title, metrics) in {**_FAMILIES, "other": ("other metrics", others)}.items():
        found = [answer for answer in comparison.answers if answer.question.metric in metrics]
        if found and album.wants("regression", f"regression-{family}{role}"):
            _draw(comparison, family, title, found, f"{family}{role}", album)


def _draw(
    comparison: Comparison, family: str, what: str, found: Sequence[Answer], name: str, album: Album
) -> None:
    chosen = _largest(found)
    panels = _panels(chosen)
    heights = [len(panel.answers) + 1.2 for panel in panels]
    figure = Figure(figsize=(8.6, 1.5 + _INCHES_A_BAR * sum(heights) + 0.45 * len(panels)),
                    layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, panel in zip(grid.flat, panels):
        _draw_panel(axes, panel, family)
    title = f"{_clip(comparison.new.title)} against {_clip(comparison.base.title)}: {what}"
    more = f"\nthe largest {len(chosen)} of {len(found)} changes" if len(chosen) < len(found) else ""
    figure.suptitle(title + more, fontsize=12)
    words = [word for word in _LOOKS if any(answer.verdict == word for answer in chosen)]
    figure.legend(
        [Patch(facecolor=_LOOKS[word][0], hatch=_LOOKS[word][1], edgecolor="white") for word in words],
        [_LOOKS[word][2] for word in words], loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=4,
    )
    save(figure, album, "regression", name, title, _caption(comparison, found, chosen))


def _clip(text: str) -> str:
    return text if len(text) <= 34 else f"…{text[-33:]}"


def _largest(found: Sequence[Answer]) -> list[Answer]:
    """Return the answers to show, in their own order: what is sure comes before what is not."""
    ordered = sorted(found, key=lambda a: (_FIRST[a.verdict], -abs(math.log(max(a.ratio, 1e-9)))))
    kept = {id(answer) for answer in ordered[:MOST_BARS]}
    return [answer for answer in found if id(answer) in kept]


def _panels(answers: Sequence[Answer]) -> list[Panel]:
    groups: dict[tuple[str, str], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((answer.question.workload, answer.question.metric), []).append(answer)
    return [Panel(f"{workload}: {METRICS[metric].title}", group)
            for (workload, metric), group in groups.items()]


def _caption(
    comparison: Comparison, found: Sequence[Answer], chosen: Sequence[Answer]
) -> str:
    counts = ", ".join(
        f"{count} {word}" for word in _LOOKS
        for count in [sum(answer.verdict == word for answer in found)] if count
    )
    text = (f"{counts}. Bars are the change of the median, lines its {100 * comparison.confidence:g}% interval; "
            "the light ground is the effect from which on a change counts.")
    if len(chosen) < len(found):
        text += f" The largest {len(chosen)} of {len(found)} changes are shown."
    return text


def _labels(answers: Sequence[Answer]) -> list[str]:
    """Return a label for each bar: the cell, without what it shares with all others, and the phase."""
    cells: list[list[str]] = []
    for question in (answer.question for answer in answers):
        words = question.cell.split()
        cells.append(words[1:] if words[:1] == [question.workload] else words)
    shared = set.intersection(*map(set, cells)) if len({tuple(words) for words in cells}) > 1 else set()
    labels: list[str] = []
    for answer, words in zip(answers, cells):
        phase = "whole run" if answer.question.phase == WHOLE_RUN else answer.question.phase
        cell, room = " ".join(word for word in words if word not in shared), _LABEL_LENGTH - len(phase)
        if len(cell) > room:
            cell = f"{cell[:room - 1]}…"
        labels.append(f"{cell} · {phase}" if cell else phase)
    return labels


def _draw_panel(axes: Axes, panel: Panel, family: str) -> None:
    answers = panel.answers
    reach = _reach(answers)
    effect = max(answer.effect for answer in answers) * 100
    axes.axvspan(-effect, effect, color="#000000", alpha=0.05, linewidth=0, zorder=0)
    for place, answer in enumerate(answers):
        colour, hatch, _ = _LOOKS[answer.verdict]
        change, low, high = (100 * (ratio - 1) for ratio in (answer.ratio, answer.low, answer.high))
        shown = min(max(change, -reach), reach)
        axes.barh(place, shown, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        left, right = max(low, -reach), min(high, reach)
        axes.plot([left, right], [place, place], color="#222222", linewidth=1.3, solid_capstyle="butt")
        for end, cut, arrow in ((left, low < -reach, "<"), (right, high > reach, ">")):
            axes.plot([end], [place], color="#222222", linestyle="none", marker=arrow if cut else "|",
                      markersize=5)
        text = f"{change:+.{_digits(change)}f}%" if change else "0%"
        axes.annotate(text, (1.0, place),
                      xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
                      va="center", ha="left", fontsize=8.5,
                      weight="bold" if answer.verdict in (SLOWER, FASTER) else "normal")
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks(range(len(answers)), _labels(answers), fontsize=8.5)
    axes.set_ylim(len(answers) - 0.4, -0.6)
    axes.set_xlim(-reach * 1.04, reach * 1.04)
    axes.yaxis.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:+g}%" if place else "0%"))
    axes.set_title(panel.title, loc="left")
    worse, better = _WORDS.get(family, ("worse", "better"))
    if METRICS[answers[0].question.metric].higher_is_better:
        axes.set_xlabel(f"← {worse}     change     {better} →", fontsize=9)
    else:
        axes.set_xlabel(f"← {better}     change     {worse} →", fontsize=9)


def _reach(answers: Sequence[Answer]) -> float:
    """Return how far the axis goes, in per cent: bars fit, and intervals unless they are far wider."""
    changes = [abs(100 * (answer.ratio - 1)) for answer in answers]
    ends = [abs(100 * (bound - 1)) for answer in answers for bound in (answer.low, answer.high)]
    ends = [end for end in ends if math.isfinite(end)]
    effect = 100 * max(answer.effect for answer in answers)
    widest = max(ends, default=0.0)
    return max(min(widest, 2.5 * max([*changes, effect])), *changes, 1.25 * effect, 0.01) * 1.05


def _digits(change: float) -> int:
    return 0 if abs(change) >= 99.5 else 1 if abs(change) >= 0.095 else 2
