"""Tests of the report's Markdown: its verdict, its length, and names that mean something to Markdown."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_comparison import make_answer, make_comparison, many_answers

from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED, Comparison, Question
from runner.reports.comparison import report_of_comparisons
from runner.reports.markdown import LIMIT_BYTES, MARKER, escape, markdown, shorten
from runner.reports.model import Flame, Profile, Shown
from runner.reports.figures import change, interval, percent, quantity
from runner.table import Block

GITHUB_LIMIT = 65_536


def text_of(comparison: Comparison) -> str:
    return markdown(report_of_comparisons([comparison], []), lambda picture: picture.png.name)


def tables(text: str) -> list[list[str]]:
    """Return the lines of each table."""
    found: list[list[str]] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append(line)
        before = line
    return found


def test_the_first_line_is_the_verdict_and_the_marker_follows() -> None:
    text = text_of(make_comparison([
        make_answer(verdict=SAME), make_answer("larson threads=4", SLOWER, phase="handover", ratio=0.959,
                                               half_width=0.008),
        make_answer(verdict=SLOWER, metric="peak_rss_bytes", ratio=1.5),
    ]))
    lines = text.splitlines()
    assert lines[0].startswith("**HEAD (222222222) is slower than HEAD\\~1 (111111111)**")
    assert "4.1% lower throughput in larson threads=4, handover" in lines[0]  # speed before memory
    assert "Of 3 answers 2 are slower and 1 same." in lines[0]
    assert lines[1] == MARKER and text.count(MARKER) == 1


def test_what_got_slower_is_the_first_table_and_faster_the_second() -> None:
    text = text_of(make_comparison([
        make_answer("faster one", FASTER), make_answer("same one", SAME), make_answer("open one", UNDECIDED),
        make_answer("slow a bit", SLOWER, ratio=0.97), make_answer("slow a lot", SLOWER, ratio=0.80),
    ]))
    first, second = tables(text)[:2]
    assert [row.split("|")[1].strip() for row in first[2:]] == ["slow a lot", "slow a bit"]
    assert "**\u221220%**" in first[2] and "60.0 Mops/s" in first[2] and "48.0 Mops/s" in first[2]
    assert [row.split("|")[1].strip() for row in second[2:]] == ["faster one"]
    head = text[:text.index("<details>")]
    assert "slow a lot" in head and "faster one" in head and "open one" not in head
    assert text.count("<details>") == text.count("</details>") == 3  # undecided, same, machine
    assert text.index("Made Processor") > text.index("same one")
    assert "runner/run.py --rev 'HEAD~1' --rev HEAD" in text[text.index("Made Processor"):]


@pytest.mark.parametrize("answers, said", [
    ([make_answer(verdict=FASTER, ratio=1.1)], "faster than HEAD\\~1 (111111111)**: 10% higher throughput"),
    ([make_answer(verdict=SAME)], "is the same as HEAD\\~1 (111111111)** within \u00b12%"),
    ([make_answer(verdict=UNDECIDED), make_answer(verdict=SAME)],
     "**Undecided whether HEAD (222222222) is slower or faster"),
    ([], "**Undecided**: nothing of HEAD (222222222) could be compared"),
    ([make_answer(verdict=SLOWER, metric="instructions_per_op", ratio=1.005, half_width=0.0001)],
     "0.50% more instructions in larson threads=1"),
    ([make_answer(verdict=SLOWER, metric="malloc_p99", ratio=4.0)], "4 times the malloc, p99"),
], ids=["faster", "same", "undecided", "nothing", "instructions", "latency"])
def test_every_verdict_has_its_sentence(answers: list, said: str) -> None:
    assert said in text_of(make_comparison(answers)).splitlines()[0]


def test_remarks_stand_near_the_verdict_and_unanswered_questions_are_listed() -> None:
    question = Question("larson threads=1", "larson", {}, 1, "", "cycles_per_op")
    text = text_of(make_comparison(
        [make_answer(verdict=SLOWER)], remarks=["The machine was busy."],
        unanswered=[(question, "perf is not installed")],
    ))
    assert text.index("The machine was busy.") < text.index("| where |")
    assert "Not answered: 1" in text and "perf is not installed" in text


LONG = "larson \u4e2d\u6587 " + "a|b`c<d>*_" * 30 + " threads={}"


@pytest.mark.parametrize("cells", [0, 1, 30, 300, 3000])
@pytest.mark.parametrize(
    "name", ["larson threads={}", LONG, "\U0001f409" * 300 + " {}"], ids=["plain", "signs", "wide"]
)
def test_any_matrix_fits_into_a_comment(cells: int, name: str) -> None:
    report = report_of_comparisons([make_comparison(
        many_answers(cells, name=name), remarks=[LONG] * cells,
        unanswered=[(Question(name, name, {}, 1, "", "cycles_per_op"), LONG)] * cells,
        commands=[["runner/run.py", LONG]] * cells,
    )], [])
    report.pictures = [Shown("ratio", LONG, LONG, Path("x.svg"), Path("\u4e2d" * 80 + ".png"))] * cells
    report.profiles = [
        Profile(LONG, [LONG] * 20, [Block(LONG, ["a", "b"], [[LONG, LONG]] * 100)], [Flame("x", "<svg/>")])
    ] * min(cells, 20)
    report.machine += [(LONG, LONG)] * cells
    text = markdown(report, lambda picture: f"https://example.org/{LONG}/{picture.png}")
    assert len(text) < GITHUB_LIMIT and len(text.encode("utf-8")) <= LIMIT_BYTES < GITHUB_LIMIT
    assert text.count("<details>") == text.count("</details>")
    assert text.count("\n```") % 2 == 0
    for table in tables(text):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table}
        assert len(widths) == 1, "a row was cut, or its cells ran together"
    if cells == 3000:
        assert len(text.encode("utf-8")) > LIMIT_BYTES * 0.8, "room was left unused"
        counts = [int(n.replace(",", "")) for n in re.findall(r"\u2026 and ([\d,]+) more in the page", text)]
        assert counts and max(counts) > 1000


def test_what_is_cut_is_counted_right() -> None:
    text = text_of(make_comparison(many_answers(2000, shares={UNDECIDED: 1.0})))
    shown = sum(row.startswith("| larson") for row in text.splitlines())
    more = re.search(r"\u2026 and ([\d,]+) more", text)
    assert more is not None and shown + int(more.group(1).replace(",", "")) == 6000


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_a_cell_stays_one_cell_whatever_its_name(name: str) -> None:
    row = escape(name)
    assert "\n" not in row and "\r" not in row
    assert not re.search(r"(?<!\\)(\\\\)*\|", row), "an unescaped bar would end the cell"
    assert "<" not in row and ">" not in row
    assert not re.search(r"(?<!\\)(\\\\)*`", row)
    assert not re.search(r"@\w", row), "nobody is called"


def test_names_are_shown_as_they_are() -> None:
    text = text_of(make_comparison([make_answer("a|b `c` <img src=x> *d* @me #12 e_f _g_", SLOWER)]))
    row = tables(text)[0][2]
    assert "a\\|b \\`c\\` &lt;img src=x&gt; \\*d\\* @\u200bme #\u200b12 e_f \\_g\\_" in row
    assert "<img" not in text


def test_a_command_with_backticks_stays_in_its_fence() -> None:
    text = text_of(make_comparison([make_answer()], commands=[["run.py", "```"]]))
    assert "\n````sh\nrun.py '```'\n````\n" in text


def test_pictures_have_titles_and_addresses_without_spaces() -> None:
    report = report_of_comparisons([make_comparison([make_answer()])], [])
    report.pictures = [Shown("ratio", "a [b]", "", Path("x.svg"), Path("out put/x (1).png"))]
    text = markdown(report, lambda picture: picture.png.as_posix())
    assert "![a \\[b\\]](out%20put/x%20%281%29.png)" in text


def test_long_names_are_cut_in_the_middle() -> None:
    assert shorten("abcdefghij", 10) == "abcdefghij"
    cut = shorten("larson " + "x" * 200 + " threads=4", 60)
    assert len(cut) == 60 and cut.startswith("larson ") and cut.endswith(" threads=4")


@pytest.mark.parametrize("given_number, said", [
    (percent(0.0025), "+0.25%"), (percent(-0.041), "\u22124.1%"), (percent(-0.621), "\u221262%"),
    (percent(0.0), "0.00%"), (percent(-0.00001), "0.00%"), (percent(float("nan")), "\u2013"),
    (change(0.959), "\u22124.1%"), (change(3.21), "\u00d73.21"), (change(float("inf")), "\u2013"),
    (interval(0.951, 1.012), "\u22124.9% to +1.2%"), (percent(0.00996), "+1.0%"),
    (quantity(60.04e6, "ops/s"), "60.0 Mops/s"), (quantity(999.9e3, "ops/s"), "1.00 Mops/s"),
    (quantity(13 << 20, "bytes"), "13.0 MiB"), (quantity(512, "bytes"), "512 B"),
    (quantity(1250, "ns"), "1.25 \u00b5s"), (quantity(24.6, "ns"), "24.6 ns"),
    (quantity(61.2, "instructions/op"), "61.20/op"), (quantity(16.3, "ns/op"), "16.30 ns/op"),
    (quantity(2900, "faults"), "2,900"),
])
def test_numbers_have_the_digits_that_matter(given_number: str, said: str) -> None:
    assert given_number == said
