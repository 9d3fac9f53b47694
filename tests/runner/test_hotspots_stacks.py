"""What hotspots.py makes of samples: reading, naming, adding up, comparing; without running perf."""
from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.profiles import profiling
from runner.profiles.annotation import find_functions
from runner.profiles.code_map import read_code_map
from runner.errors import UsageError
from runner.execute import Outcome
from runner.profiles.folded_stacks import Served, add_up, differences, folded_text, merged
from runner.profiles.perf_script import Frame, Names, RawFrame, StackSample, name_frames, plain_name, read_script
from runner.profiles.profiling import MAX_SAMPLES, Sampling, choose_frequency

SCRIPT = """\
larson_mine 77     333444
\tffffffff81c3a5f1 clear_page ([kernel.kallsyms])
\t           105c3 take (/opt/a (b)/lib mine.so)
\t            39ad replace<int>(int (*)(char)) (/opt/larson_mine)
\t          1098eb clone3 (/usr/lib/libc.so.6)

a b c  7
\t            39ad replace (/opt/larson_mine (deleted))
\t    7fd9ccd5bb80 [unknown] ([unknown])

this is no sample
perf-exec  9
\tffffffff81c3a5f1 execve ([kernel.kallsyms])
"""


def test_a_script_is_read_whatever_names_are_in_it() -> None:
    first, second, third = read_script(SCRIPT.splitlines(keepends=True))
    assert (first.command, first.period) == ("larson_mine 77", 333444)
    assert first.frames == (
        RawFrame(0xFFFFFFFF81C3A5F1, "clear_page", "[kernel.kallsyms]"),
        RawFrame(0x105C3, "take", "/opt/a (b)/lib mine.so"),
        RawFrame(0x39AD, "replace<int>(int (*)(char))", "/opt/larson_mine"),
        RawFrame(0x1098EB, "clone3", "/usr/lib/libc.so.6"),
    )
    assert second.command == "a b c" and second.frames[0].object == "/opt/larson_mine (deleted)"
    assert second.frames[1].object == "[unknown]"
    assert third.command == "perf-exec"


@pytest.mark.parametrize("symbol, name", [
    ("malloc@@GLIBC_2.2.5", "malloc"), ("cfree@GLIBC_2.2.5", "free"), ("__libc_malloc", "malloc"),
    ("__GI___libc_free", "free"), ("_int_malloc", "_int_malloc"), ("a::b@c", "a::b"),
])
def test_functions_get_the_name_that_everyone_knows(symbol: str, name: str) -> None:
    assert plain_name(symbol) == name


LIBRARY = """
#include <stddef.h>
static __attribute__((noinline)) int hidden_one(int n) { volatile int i = n; return i * 3; }
int known(int n) { return hidden_one(n) + 1; }
void *mine_malloc(size_t n) { return (void *)(n + (size_t)known(7)); }
void *malloc(size_t n) __attribute__((alias("mine_malloc")));
"""


def test_functions_of_a_stripped_library_are_found(compile_library: Callable[..., Path]) -> None:
    library = compile_library("libstripped.so", LIBRARY, "-O2", "-fno-builtin")
    table = subprocess.run(["nm", str(library)], capture_output=True, text=True, check=True).stdout
    address = {line.split()[2]: int(line.split()[0], 16) for line in table.splitlines() if len(line.split()) == 3}
    subprocess.run(["strip", str(library)], check=True)
    code = read_code_map(library)
    assert code is not None
    hidden = code.function_at(address["hidden_one"] + 1)
    assert hidden is not None and hidden.start == address["hidden_one"] and hidden.name is None
    known, served = code.function_at(address["known"]), code.function_at(address["mine_malloc"])
    assert known is not None and known.name == "known"
    assert served is not None and served.name == "malloc"  # not its other name
    assert code.function_at(0) is None
    names = Names()
    unknown = RawFrame(address["hidden_one"], "[unknown]", str(library))
    assert names.name_of(unknown) == f"libstripped.so+{address['hidden_one']:#x}"
    assert names.name_of(RawFrame(address["mine_malloc"], "mine_malloc", str(library))) == "malloc"
    assert names.name_of(RawFrame(5, "[unknown]", "[kernel.kallsyms]")) == "[kernel.kallsyms]"


def test_what_is_no_library_has_no_functions(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF" + bytes(range(100)))
    assert read_code_map(broken) is None and read_code_map(tmp_path / "missing") is None


DRIVER, MINE, LIBC = "/opt/larson_mine", "/opt/libmine.so", "/usr/lib/libc.so.6"


def sample(weight: int, *frames: tuple[str, str], command: str = "larson", offset: int = 0) -> StackSample:
    """A sample; frames from the innermost outwards."""
    return StackSample(command, weight, tuple(Frame(name, place) for name, place in frames), offset)


START = (("start_thread", LIBC), ("clone3", LIBC))
SAMPLES = [
    sample(50, ("malloc", MINE), ("replace", DRIVER), *START, offset=0x10),
    sample(20, ("malloc", MINE), ("fill", DRIVER), *START, offset=0x20),
    sample(20, ("clear_page", "[kernel.kallsyms]"), ("malloc", MINE), ("replace", DRIVER), *START),
    sample(10, ("replace", DRIVER), *START),
    sample(99, ("execve", "[kernel.kallsyms]"), command="perf-exec"),
]


def test_costs_are_added_up_by_function_part_and_caller() -> None:
    profile = add_up(SAMPLES, Served("mine", MINE, Path(DRIVER)))
    profile.per_operation = 30.0
    assert (profile.samples, profile.weight, profile.whole) == (4, 100, 4)
    hot = {function.place.name: function for function in profile.functions}
    assert (hot["malloc"].own, hot["malloc"].total, hot["malloc"].samples) == (70, 90, 2)
    assert hot["malloc"].callers == {"replace": 50, "fill": 20}
    assert hot["malloc"].offsets == {0x10: 50, 0x20: 20}
    assert (hot["replace"].own, hot["replace"].total) == (10, 80)
    assert profile.by_role() == {"allocator": 70, "driver": 10, "libc": 0, "kernel": 20, "other": 0}
    assert profile.cost(hot["malloc"].own) == pytest.approx(21)
    assert folded_text(profile).splitlines() == [
        "fill;malloc 20", "replace 10", "replace;malloc 50", "replace;malloc;clear_page_[k] 20",
    ]


def test_recursion_counts_once() -> None:
    profile = add_up([sample(5, ("f", DRIVER), ("f", DRIVER), ("f", DRIVER))], Served("m", MINE, Path(DRIVER)))
    assert [(f.own, f.total) for f in profile.functions] == [(5, 5)]


def test_what_the_c_library_does_for_its_own_malloc_is_the_allocators() -> None:
    samples = [
        sample(6, ("_int_malloc", LIBC), ("malloc", LIBC), ("replace", DRIVER), *START),
        sample(4, ("memset", LIBC), ("replace", DRIVER), *START),
    ]
    assert add_up(samples, Served("system", LIBC, Path(DRIVER))).by_role()["allocator"] == 6
    assert add_up(samples, Served("mine", MINE, Path(DRIVER))).by_role()["libc"] == 10


def test_a_stack_that_is_lost_keeps_what_is_sure() -> None:
    lost = [sample(5, ("malloc", MINE), ("[unknown]", "[unknown]"), ("nonsense", DRIVER))]
    profile = add_up(lost, Served("mine", MINE, Path(DRIVER)))
    assert profile.whole == 0
    assert [f.place.name for f in profile.functions] == ["malloc"]
    assert folded_text(profile) == "[callers unknown];malloc 5\n"


def test_inlined_functions_are_in_the_stack_and_not_in_the_table() -> None:
    raw = list(read_script(["larson 5\n", "\t 10 malloc (/opt/libmine.so)\n", "\t 20 replace (/opt/larson)\n"]))
    named = list(name_frames(raw, Names(), {("/opt/libmine.so", 0x10): ("innermost", "inner")}))
    assert [frame.name for frame in named[0].frames] == ["innermost", "inner", "malloc", "replace"]
    profile = add_up(named, Served("mine", MINE, Path("/opt/larson")))
    assert profile.functions[0].place.name == "malloc" and profile.functions[0].own == 5
    assert folded_text(profile) == "[callers unknown];replace;malloc;inner_[i];innermost_[i] 5\n"


def test_parts_of_a_profile_make_one() -> None:
    served = Served("mine", MINE, Path(DRIVER))
    whole, parts = add_up(SAMPLES, served), [add_up(SAMPLES[:2], served), add_up(SAMPLES[2:], served)]
    assert folded_text(merged(parts)) == folded_text(whole)
    assert merged(parts).by_role() == whole.by_role() and merged(parts).samples == whole.samples


def test_differences_are_of_costs_with_the_samples_noise() -> None:
    def profile(malloc: int, free: int, per_operation: float) -> object:
        made = add_up(
            [sample(1, ("malloc.part.0" if malloc > 500 else "malloc", MINE))] * malloc
            + [sample(1, ("free", MINE))] * free, Served("mine", MINE, Path(DRIVER)))
        made.per_operation = per_operation
        return made

    base, new = profile(500, 500, 10.0), profile(750, 250, 20.0)
    first, second = differences(base, new)
    assert (first.name, first.base, first.new, first.sure) == ("malloc", 5.0, 15.0, True)
    assert (second.name, second.change, second.sure) == ("free", 0.0, False)
    assert first.half_width == pytest.approx(1.96 * (10**2 * .25 / 1000 + 20**2 * .1875 / 1000) ** .5)


def test_what_to_annotate_is_the_hottest_and_the_allocators_hottest() -> None:
    profile = add_up([*SAMPLES, sample(900, ("replace", DRIVER))], Served("mine", MINE, Path(DRIVER)))
    assert [f.place.name for f in find_functions(profile, "")] == ["replace", "malloc"]
    assert [f.place.name for f in find_functions(profile, "malloc")] == ["malloc"]
    with pytest.raises(UsageError, match="did you mean 'malloc'"):
        find_functions(profile, "maloc")


def test_samples_are_never_more_than_can_be_read() -> None:
    for seconds in (0.05, 1, 3, 60, 200):
        for threads in (1, 2, 64):
            frequency = choose_frequency(seconds, threads)
            assert frequency * seconds * threads <= MAX_SAMPLES or frequency == 49
    assert choose_frequency(3, 1) == 2999


@pytest.mark.parametrize("event, kernel", [
    ("cycles", True), ("cycles:u", False), ("cpu-clock", True), ("cpu-clock:u", False), ("cycles:ppp", True),
    ("cpu_core/cycles/,cpu_atom/cycles/", True), ("cpu_core/cycles/u,cpu_atom/cycles/u", False),
])
def test_an_event_says_whether_the_kernel_is_in_it(event: str, kernel: bool) -> None:
    assert Sampling(event, "fp", "ns").with_kernel is kernel


def test_who_may_not_sample_hears_which_setting_to_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused = Outcome(255, None, None, False, b"", False, ["Error:", "Access refused."], 0.1)
    level = tmp_path / "perf_event_paranoid"
    level.write_text("4\n", "ascii")
    monkeypatch.setattr(profiling, "_PARANOID", level)
    monkeypatch.setattr(profiling.os, "geteuid", lambda: 1000)
    sentence = profiling._why_not(refused, "/usr/bin/perf")
    assert "kernel.perf_event_paranoid is 4" in sentence and "sysctl kernel.perf_event_paranoid=2" in sentence
    assert "CAP_PERFMON" in sentence
    level.write_text("2\n", "ascii")
    assert "Access refused" in profiling._why_not(refused, "/usr/bin/perf")
