"""Flame graphs: what they show, that any name can stand in them, and that they work in a browser."""
from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_page import MISSING, WebPage, find_chromium

from runner.profiles.flame_graph import MOST_BYTES, Heading, difference_graph, figure, flame_graph
from runner.profiles.folded_stacks import Place, Profile

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("larson: <mine> & \"yours\"", "10 ns/op", "ns/op")
HOSTILE = 'std::map<K, "V">::operator&&(int) const; ]]></script>\x01\ud800'


def profile_of(stacks: dict[tuple[str, ...], int], per_operation: float = 10.0) -> Profile:
    """A profile with these stacks; what is called malloc is the allocator's."""
    made = {
        tuple(Place(name, "allocator" if name == "malloc" else "driver", "larson") for name in stack): weight
        for stack, weight in stacks.items()
    }
    weight = sum(stacks.values())
    return Profile(weight, weight, per_operation, made, [], weight)


SIMPLE = {("main", "replace", "malloc"): 60, ("main", "replace", "free"): 30, ("main", "drain"): 10}


def frames(text: str) -> dict[str, tuple[float, float, int]]:
    """Return left end, width (both in per cent) and height of each frame, by name."""
    found = {}
    for frame in ET.fromstring(text).iter(f"{SVG}svg"):
        if frame.get("class") == "hakflame-frame":
            name = (frame.findtext(f"{SVG}title") or "").split("\n")[0]
            found[name] = (float(frame.get("x", "")[:-1]), float(frame.get("width", "")[:-1]),
                           int(frame.get("y", "")))
    return found


def test_widths_are_shares_and_frames_lie_on_their_callers() -> None:
    shown = frames(flame_graph(profile_of(SIMPLE), HEADING))
    widths = {name: width for name, (_, width, _) in shown.items()}
    assert widths == {"all": 100, "main": 100, "replace": 90, "malloc": 60, "free": 30, "drain": 10}
    for above, below in (("malloc", "replace"), ("free", "replace"), ("replace", "main"), ("main", "all")):
        x, width, y = shown[above]
        assert shown[below][0] <= x and x + width <= shown[below][0] + shown[below][1] + 1e-3
        assert y < shown[below][2]
    assert shown["malloc"][0] >= shown["free"][0] + 30 - 1e-3  # neighbours, not one over the other


def test_titles_say_share_and_cost() -> None:
    text = flame_graph(profile_of(SIMPLE), HEADING)
    assert "malloc\n60.00%, 6.00 ns/op\nlarson, allocator" in text
    assert 'class="hakflame-allocator"' in text and 'class="hakflame-driver"' in text


def test_any_name_can_stand_in_it() -> None:
    text = flame_graph(profile_of({(HOSTILE, "a<b>&"): 5, (HOSTILE,): 5}), HEADING)
    shown = frames(text)
    assert HOSTILE.replace("\x01", "\ufffd").replace("\ud800", "\ufffd") in shown and "a<b>&" in shown
    text.encode("utf-8")
    assert text.count("</script>") == 1


def test_many_and_deep_stacks_stay_small() -> None:
    generator = random.Random(1)
    stacks = {}
    for _ in range(3_000):
        depth = generator.randint(1, 150)
        stacks[tuple(f"function_number_{generator.randint(0, 1) + 7 * level}" for level in range(depth))] = 1
    text = flame_graph(profile_of(stacks), HEADING)
    assert len(text.encode()) <= MOST_BYTES
    assert "frames too narrow to show" in text
    smallest = min(width for _, width, _ in frames(text).values())
    assert smallest >= 0.1 - 1e-9


def test_a_profile_without_stacks_is_a_picture_too() -> None:
    assert list(frames(flame_graph(profile_of({}), HEADING))) == ["all"]


def look_of(text: str, name: str) -> str:
    match = re.search(rf"<title>{name}\n[^<]*</title><rect ([^>]*)", text)
    assert match is not None
    return match[1]


def test_a_difference_shows_what_grew_what_shrank_and_what_is_gone() -> None:
    base = profile_of({("main", "malloc"): 50, ("main", "gone"): 30, ("main", "same"): 20}, 10.0)
    new = profile_of({("main", "malloc"): 80, ("main", "same"): 20}, 10.0)
    text = difference_graph(base, new, HEADING)
    assert "hakflame-grew" in look_of(text, "malloc")
    assert "hakflame-shrank" in look_of(text, "gone")
    assert "hakflame-other" in look_of(text, "same") and "hakflame-other" in look_of(text, "main")
    assert "malloc\n5.00 to 8.00 ns/op (+3.00, +60.0%)" in text
    assert frames(text)["gone"][1] == 15  # the mean of both


def test_a_difference_is_of_costs_and_not_of_shares() -> None:
    stacks = {("main", "malloc"): 50, ("main", "free"): 50}
    text = difference_graph(profile_of(stacks, 10.0), profile_of(stacks, 20.0), HEADING)
    assert "hakflame-grew" in look_of(text, "malloc") and "hakflame-grew" in look_of(text, "main")


def test_what_a_compiler_appends_to_a_name_makes_no_difference() -> None:
    text = difference_graph(
        profile_of({("main", "hak_free.part.0"): 10}), profile_of({("main", "hak_free.constprop.1"): 10}),
        HEADING,
    )
    assert "hakflame-other" in look_of(text, "hak_free")


def test_three_digits_matter() -> None:
    assert [figure(v) for v in (1234.5, 99.94, 9.99, 0.1234, 0.01234)] == ["1234", "99.9", "9.99", "0.12", "0.012"]
    assert figure(0.5, sign=True) == "+0.50" and figure(0.0) == "0"


@pytest.fixture(scope="module")
def page() -> Iterator[WebPage]:
    if find_chromium() is None:
        pytest.skip(MISSING)
    with WebPage(1000, 700) as opened:
        yield opened


@pytest.fixture
def opened(page: WebPage, tmp_path: Path) -> WebPage:
    """A flame graph in a window of 1000 pixels."""
    file = tmp_path / "flame graph.svg"
    file.write_text(flame_graph(profile_of(SIMPLE), HEADING), "utf-8")
    page.problems.clear()
    page.requests.clear()
    page.resize(1000, 700)
    page.prefer("light")
    page.open(file)
    return page


FRAME = "[...document.querySelectorAll('.hakflame-frame')].find(f => f.querySelector('title').textContent" \
        ".startsWith('%s\\n'))"


def box(page: WebPage, name: str) -> list[float]:
    """Return left end, top and width of a frame on the screen; the width is 0 if it is not shown."""
    found: list[float] = page.script(
        f"(() => {{ const r = ({FRAME % name}).getBoundingClientRect(); return [r.left, r.top, r.width]; }})()"
    )
    return found


def click(page: WebPage, name: str) -> None:
    x, y, width = box(page, name)
    page.click_at(x + width / 2, y + 9)


def test_it_opens_without_errors_and_asks_for_nothing(opened: WebPage) -> None:
    assert opened.problems == []
    assert all(address.startswith("file:") for address in opened.requests) and len(opened.requests) == 1
    assert box(opened, "malloc")[2] == pytest.approx(600, abs=3)


def test_a_click_zooms_and_the_button_resets(opened: WebPage) -> None:
    click(opened, "free")
    assert box(opened, "free")[2] == pytest.approx(1000, abs=3)
    assert box(opened, "main")[2] == pytest.approx(1000, abs=3)  # what it stands on stays, at full width
    assert box(opened, "malloc")[2] == 0 and box(opened, "drain")[2] == 0
    click(opened, "replace")  # one step back: click on what is below
    assert box(opened, "free")[2] == pytest.approx(333, abs=3)
    opened.click(".hakflame-tools button")
    assert box(opened, "malloc")[2] == pytest.approx(600, abs=3)
    assert opened.script("document.querySelector('.hakflame-tools button').disabled") is True
    click(opened, "drain")
    opened.press("Escape") if opened.script("document.querySelector('input').focus()") is None else None
    assert box(opened, "malloc")[2] == pytest.approx(600, abs=3)
    assert opened.problems == []


def test_pointing_at_a_frame_tells_of_it(opened: WebPage) -> None:
    x, y, width = box(opened, "malloc")
    opened.command("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 2, y=y + 9)
    told = opened.script("document.querySelector('.hakflame-detail').textContent")
    assert "malloc" in told and "60.00%" in told and "6.00 ns/op" in told


def test_search_marks_what_it_finds_and_says_how_much(opened: WebPage) -> None:
    opened.click(".hakflame-tools input")
    opened.type("R")
    marked = opened.script("[...document.querySelectorAll('.hakflame-found title')].map(t => "
                           "t.textContent.split('\\n')[0]).sort()")
    assert marked == ["drain", "free", "replace"]
    # free lies over replace and counts once
    assert opened.script("document.querySelector('.hakflame-tools span').textContent") == "100.0% found"
    opened.type("nothing like it")
    assert opened.script("document.querySelectorAll('.hakflame-found').length") == 0
    assert opened.script("document.querySelector('.hakflame-tools span').textContent") == "nothing found"
    opened.press("Escape")
    assert opened.script("document.querySelectorAll('.hakflame-missed').length") == 0


def test_it_can_be_read_on_a_phone_and_in_the_dark(opened: WebPage, tmp_path: Path) -> None:
    light = opened.script("getComputedStyle(document.querySelector('.hakflame-back')).fill")
    opened.resize(390, 700, phone=True)
    opened.prefer("dark")
    opened.open(tmp_path / "flame graph.svg")
    opened.wait_for("document.documentElement.getBoundingClientRect().width === 390")
    assert box(opened, "malloc")[2] == pytest.approx(234, abs=3)
    size = opened.script(f"parseFloat(getComputedStyle(({FRAME % 'malloc'}).querySelector('text')).fontSize)")
    assert size >= 11
    rights = "[...document.querySelectorAll('.hakflame > text, .hakflame-tools > *')].map(" \
             "e => e.getBoundingClientRect().right)"
    assert max(opened.script(rights)) <= 390
    dark = opened.script("getComputedStyle(document.querySelector('.hakflame-back')).fill")
    assert light == "rgb(255, 255, 255)" and dark == "rgb(22, 24, 27)"
    # A long name is cut where its frame ends.
    assert opened.script(f"({FRAME % 'drain'}).querySelector('text')?.textContent ?? ''") in ("", "dr…", "dra…")


def test_two_in_one_page_do_not_meddle_with_each_other(page: WebPage, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    svg = flame_graph(profile_of(SIMPLE), HEADING)
    file.write_text(f"<!doctype html><meta charset=utf-8><title>two</title><p>text</p>{svg}<hr>{svg}", "utf-8")
    page.problems.clear()
    page.resize(1000, 1200)
    page.open(file)
    before = page.script("Object.keys(window).filter(n => !(n in document.createElement('iframe')))")
    assert not [name for name in before if name in ("frames_", "picture", "zoomed", "lay", "zoom", "look")]
    assert page.script("document.querySelectorAll('[id]').length") == 0
    click(page, "free")
    widths = page.script("[...document.querySelectorAll('.hakflame')].map(p => [...p.querySelectorAll("
                         "'.hakflame-frame')].find(f => f.textContent.startsWith('free')).getAttribute('width'))")
    assert widths == ["100%", "30%"]
    assert page.problems == []
