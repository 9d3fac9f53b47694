"""Tests of the report's page in headless Chromium: no errors, no requests, sorting, filters, pictures, and a
phone's width."""
from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_comparison import make_answer, make_comparison, many_answers

from runner.verdict.comparison import FASTER, SAME, SLOWER, UNDECIDED, Question
from runner.reports.comparison import report_of_comparisons
from runner.reports.model import Flame, Profile, Report, Shown, Table, Trend
from runner.table import Block

pytest.importorskip("jinja2")

from runner.reports.page import leading_number, page, picture_data, scale_end, scripts_of  # noqa: E402
from web_page import MISSING, WebPage, find_chromium  # noqa: E402

NASTY = '<img src=x onerror=alert(1)> "quoted" & {{ 7 * 7 }} </script><script>alert(2)</script>'
FLAME = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="321"><style>rect{fill:red}</style>'
    '<rect width="100%" height="20"/><text y="15">hot</text><script><![CDATA[\n'
    'parent.postMessage("drawn " + (1 < 2) + window.origin, "*");\n]]></script></svg>'
)


def png(path: Path) -> Path:
    """Write the smallest of pictures."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (8).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * 8) * 4)) + chunk(b"IEND", b""))
    return path


def pictures(folder: Path) -> list[Shown]:
    svg = folder / "a.svg"
    svg.write_text(
        '<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="http://www.w3.org/2000/svg" width="200pt" '
        'height="100pt" viewBox="0 0 200 100">\n<path d="M 1.123456 2.5 L 199.987654 99" stroke="#D55E00"/>'
        '<text x="10.5" y="20.25">100% "so" &amp; #5 0.123456</text>\n</svg>', "utf-8",
    )
    return [Shown("ratio", "With an SVG", "What it shows.", svg, png(folder / "a.png")),
            Shown("ratio", NASTY, NASTY, folder / "missing.svg", folder / "a.png")]


def full_report(folder: Path) -> Report:
    answers = [
        make_answer("larson threads=10", SLOWER, ratio=0.95), make_answer("larson threads=9", FASTER, ratio=1.05),
        make_answer("larson threads=9", SLOWER, ratio=0.2, phase="handover"),
        make_answer("larson threads=9", SAME, ratio=1.0, phase="churn"),
        make_answer("larson threads=10", UNDECIDED, ratio=0.99, phase="churn"),
        make_answer("xmalloc threads=2", SLOWER, ratio=1.5, metric="peak_rss_bytes", notes=["one drifted"]),
        make_answer("xmalloc threads=2", SLOWER, ratio=12.5, metric="malloc_p99"),
        make_answer(NASTY, SAME), make_answer("x" * 300, SAME),
    ]
    question = Question(NASTY, "larson", {}, 1, "", "cycles_per_op")
    report = report_of_comparisons([make_comparison(
        answers, remarks=["The machine was busy.", NASTY], unanswered=[(question, "perf " + "y" * 200)],
        commands=[["runner/run.py", "z" * 300, NASTY]],
    )], [])
    report.pictures = pictures(folder)
    block = Block("functions", ["function", "share"], [["malloc", "61%"], [NASTY, "7.5%"], ["free", "12%"]])
    report.profiles = [Profile("larson threads=9", ["Hot."], [block], [Flame("Difference", FLAME)])]
    report.trends = [Trend("larson", ["It fell."], Table(["commit", "ops/s"], [["abc", "12 M"]], frozenset({1})),
                           [])]
    report.blocks = [Block("wide", [f"column {n}" for n in range(12)], [[f"{n}.5 \u00b13%" for n in range(12)]])]
    return report


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report that has everything, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("the report")
    path = folder / "re port.html"
    path.write_text(page(full_report(folder)), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[WebPage]:
    if find_chromium() is None:
        pytest.skip(MISSING)
    with WebPage() as opened:
        yield opened


@pytest.fixture
def opened(browser: WebPage, written: Path) -> Iterator[WebPage]:
    """The page as on a desk; nothing may have gone wrong in the end, and nothing been asked for."""
    browser.open("about:blank")  # what the page before was still at has ended
    browser.problems.clear()
    browser.requests.clear()
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(written)
    yield browser
    assert browser.problems == []
    outside = [a for a in browser.requests if not a.startswith("data:") and a != "about:srcdoc"]
    assert outside == [written.resolve().as_uri()]


def column(opened: WebPage, name: str) -> list[str]:
    """Return the texts of a column, of the rows that are shown."""
    found: list[str] = opened.script(
        "[...document.querySelectorAll('#rows tbody tr')].filter(r => r.getClientRects().length)"
        f".map(r => r.querySelector('.is-{name}').textContent)"
    )
    return found


def click_heading(opened: WebPage, name: str) -> str:
    opened.click(f"#rows th[data-column={name}] button")
    found: str = opened.script(f"document.querySelector('#rows th[data-column={name}]').getAttribute('aria-sort')")
    return found


def test_it_opens_without_errors_and_requests_with_the_worst_first(opened: WebPage) -> None:
    assert "is slower than" in opened.script("document.querySelector('h1').textContent")
    assert opened.script("document.title").startswith("Slower: ")
    verdicts = column(opened, "verdict")
    assert verdicts == ["slower"] * 4 + ["faster", "undecided"] + ["same"] * 3
    assert column(opened, "change")[0] == "\u221280%", "throughput comes before larger changes of others"


def test_names_are_text_and_never_markup(opened: WebPage) -> None:
    text = opened.script("document.body.textContent")
    assert NASTY in text and "49" not in re.sub(r"[\s\S]*7 \* 7 }}", "", text)[:5]
    assert opened.script("document.querySelectorAll('img[src=x]').length") == 0


def test_sorting_goes_by_the_number_and_says_so(opened: WebPage) -> None:
    assert click_heading(opened, "change") == "descending"
    assert column(opened, "change")[:3] == ["\u00d712.5", "\u221280%", "+50%"]  # by how much it got worse
    assert click_heading(opened, "change") == "ascending"
    assert column(opened, "change")[0] == "+5.0%"
    assert click_heading(opened, "new") == "descending"
    assert column(opened, "new")[0] == "63.0 Mops/s" and column(opened, "new")[-1].endswith("ns")
    assert click_heading(opened, "cell") == "ascending"
    cells = column(opened, "cell")
    assert cells.index("larson threads=9") < cells.index("larson threads=10"), "numbers in names count as such"
    sorted_columns = opened.script("document.querySelectorAll('#rows th[aria-sort]').length")
    assert sorted_columns == 1


def test_sorting_works_by_keyboard_and_in_every_table(opened: WebPage) -> None:
    opened.script("document.querySelector('#rows th[data-column=pairs] button').focus()")
    opened.press("Enter")
    place = "document.querySelector('#rows th[data-column=pairs]').getAttribute('aria-sort')"
    assert opened.script(place) == "descending"
    opened.script("document.querySelectorAll('#profiles th button')[1].click()")
    shares = opened.script("[...document.querySelectorAll('#profiles tbody td:nth-child(2)')].map(c => c.textContent)")
    assert shares == ["61%", "12%", "7.5%"]


@pytest.mark.parametrize("choice, expected", [
    ({"workload": "xmalloc"}, 2), ({"verdict": "same"}, 3), ({"metric": "throughput", "verdict": "slower"}, 2),
    ({"phase": "churn"}, 2), ({"text": "THREADS=9 hand"}, 1), ({"text": "no such words"}, 0), ({}, 9),
])
def test_filters(opened: WebPage, choice: dict[str, str], expected: int) -> None:
    for name, value in choice.items():
        opened.script(
            f"(() => {{ const e = document.querySelector('.filters').elements[{json.dumps(name)}];"
            f" e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
    assert len(column(opened, "cell")) == expected
    assert opened.script("document.querySelector('output').textContent") == f"{expected} of 9 lines"
    opened.click(".filters button[type=reset]")
    opened.wait_for("document.querySelector('output').textContent === '9 of 9 lines'")


def test_a_tile_shows_its_verdict_alone_and_then_all_again(opened: WebPage) -> None:
    opened.click(".tile[data-verdict=faster]")
    assert column(opened, "verdict") == ["faster"]
    assert opened.script("document.querySelector('.tile[data-verdict=faster]').getAttribute('aria-pressed')") == "true"
    opened.click(".tile[data-verdict=faster]")
    assert len(column(opened, "verdict")) == 9


def test_every_picture_is_shown(opened: WebPage) -> None:
    sizes = opened.script("[...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])")
    assert len(sizes) == 2 and all(done and width > 0 and height > 0 for done, width, height in sizes)


def test_a_flame_graph_is_built_when_it_is_opened_and_its_script_runs(opened: WebPage) -> None:
    assert opened.script("document.querySelectorAll('iframe').length") == 0
    opened.script("window.addEventListener('message', event => { window.heard = event.data; })")
    opened.click("details.flame summary")
    # A frame of no origin: it can't reach the page that holds it.
    assert opened.wait_for("window.heard") == "drawn truenull"
    frame = "document.querySelector('iframe')"
    assert opened.script(f"[{frame}.clientHeight >= 321, {frame}.clientWidth > 600]") == [True, True]


def test_phases_are_bars_on_one_scale(opened: WebPage) -> None:
    cards = opened.script(
        "[...document.querySelectorAll('.card')].map(c => [c.querySelector('h3').textContent,"
        " c.querySelectorAll('.phase').length])"
    )
    assert ["larson threads=9", 3] in cards and ["larson threads=10", 2] in cards
    widths = opened.script("[...document.querySelectorAll('.card:first-of-type .phase b')].map(b => b.clientWidth)")
    assert max(widths) > 5 and min(widths) >= 0
    assert opened.script("document.querySelectorAll('.out-left').length") > 0, "what passes the scale is marked"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(opened: WebPage, scheme: str) -> None:
    opened.prefer(scheme)
    for width in (390, 320):
        opened.resize(width, 844, phone=True)
        opened.script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        found = opened.script("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert found[0] <= width and found[1] == width
    assert len(column(opened, "cell")) == 9
    assert opened.script("getComputedStyle(document.querySelector('.phone')).display") != "none"
    opened.script(
        "(() => { const s = document.querySelector('[name=sort]'); s.value = [...s.options].find(o =>"
        " o.text === 'change').value; s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    assert column(opened, "change")[0] == "\u00d712.5"


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.1)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_their_ground(opened: WebPage, scheme: str) -> None:
    opened.prefer(scheme)
    pairs: list[Any] = opened.script(
        "['body', '.lead', '.slower .chip', '.faster .chip', '.undecided .chip', '.same .chip', '.word', 'td.n',"
        " 'th button', 'dt', '.remarks li'].map(s => { let e = document.querySelector(s);"
        " const colour = getComputedStyle(e).color; let ground;"
        " for (; e; e = e.parentElement) { ground = getComputedStyle(e).backgroundColor;"
        " if (!/, 0\\)$|transparent/.test(ground)) break; } return [s, colour, ground]; })"
    )
    for name, colour, ground in pairs:
        high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, name, colour, ground)
    assert (luminance(pairs[0][2]) < 0.1) == (scheme == "dark")


def test_the_theme_can_be_chosen(opened: WebPage) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    opened.script("localStorage.removeItem('hakmem-report-theme')")
    light = opened.script(ground)
    opened.click("#theme")  # from auto to light, then dark
    opened.click("#theme")
    assert opened.script("document.getElementById('theme').textContent") == "Theme: dark"
    assert opened.script(ground) != light
    opened.click("#theme")
    assert opened.script(ground) == light


def test_printing_shows_everything_on_white(opened: WebPage) -> None:
    opened.prefer("dark")
    opened.command("Emulation.setEmulatedMedia", media="print",
                   features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        opened.script("window.dispatchEvent(new Event('beforeprint'))")
        assert opened.script("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        ink = opened.script("getComputedStyle(document.body).color")
        assert luminance(ink) < 0.1, "dark letters on white paper"
        assert opened.script("getComputedStyle(document.querySelector('.filters')).display") == "none"
        assert opened.script("[...document.querySelectorAll('details:not(.flame)')].every(d => d.open)")
    finally:
        opened.command("Emulation.setEmulatedMedia", media="")


def test_a_table_of_thousands_of_lines_is_drawn_in_parts(browser: WebPage, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_text(page(report_of_comparisons([make_comparison(many_answers(200))], [])), "utf-8")
    browser.resize(1280, 900)
    browser.open(path)
    assert len(column(browser, "cell")) == 250
    assert browser.script("document.getElementById('more').textContent") == "Show all 600 lines"
    browser.script("document.getElementById('more').click()")
    assert len(column(browser, "cell")) == 600


def test_the_policy_allows_nothing_from_elsewhere(written: Path) -> None:
    text = written.read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None and policy.group(1).startswith("default-src &#39;none&#39;; img-src data:;")
    assert "unsafe-eval" not in policy.group(1) and "http" not in policy.group(1)
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


def test_scripts_are_found_as_the_page_runs_them() -> None:
    assert scripts_of("<svg><script>a &lt; b</script></svg>") == ["a < b"]
    assert scripts_of("<svg><script type='x'><![CDATA[\na < b]]></script></svg>") == ["\na < b"]
    assert scripts_of("<svg/>") == []


def test_a_picture_keeps_its_words_and_loses_digits_nobody_sees(tmp_path: Path) -> None:
    data = picture_data(pictures(tmp_path)[0])
    assert data.startswith("data:image/svg+xml,%3C") and '"' not in data and "made" not in data
    assert "M 1.12 2.5 L 199.98 99" in data and "0.123456" in data and "%26amp; %235".replace("%26amp;", "%26amp;") in data


@pytest.mark.parametrize("text, number", [
    ("88.7 \u00b19%", "88.7"), ("1,234 x", "1234"), ("\u22124.1%", "-4.1"), ("-", ""), ("", ""), ("malloc 3", "3"),
])
def test_a_tables_number_is_its_first(text: str, number: str) -> None:
    assert leading_number(text) == number


def test_the_scale_suits_most_intervals() -> None:
    rows = report_of_comparisons([make_comparison(many_answers(30))], []).rows
    assert 0.05 <= scale_end(rows) <= 0.3
    assert scale_end([]) > 0
