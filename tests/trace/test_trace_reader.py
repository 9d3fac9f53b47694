"""What the reader says of files that are damaged, foreign or newer; it never fails otherwise."""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
from pathlib import Path

import pytest

from tracing import Tracer

SEGMENT = 4096  # where the first one begins


@pytest.fixture
def trace(tracer: Tracer) -> Path:
    done = tracer.run(tracer.compiled("known"), 2, 20)
    assert done.returncode == 0
    return tracer.only()


@pytest.mark.parametrize(("at", "form", "value", "message"), [
    (0, "<B", 0x7F, 'is no trace: it does not begin with "haktrace"'),
    (8, "<I", 2, "has version 2 of the format (byte 8), and this program knows up to 1; use a newer one"),
    (8, "<I", 0, "is damaged at byte 8: no version"),
    (12, "<I", 0x04030201, "was recorded on a machine of the other byte order (byte 12)"),
    (12, "<I", 7, "is damaged at byte 12"),
    (16, "<I", 4097, "is damaged at byte 16"),
    (20, "<I", 0, "is damaged at byte 20"),
    (24, "<I", 9, "is damaged at byte 24"),
    (128, "<Q", 4097, "is damaged at byte 128"),
    (136, "<I", 0xFFFFFFFF, "is damaged at byte 136"),
    (140, "<I", 77, "is damaged at byte 140"),
    (SEGMENT, "<I", 77, f"is damaged at byte {SEGMENT}: no segment begins here"),
    (SEGMENT + 4, "<I", 77, f"is damaged at byte {SEGMENT + 4}: a thread that the file does not have"),
    (SEGMENT + 8, "<I", 5, f"is damaged at byte {SEGMENT + 8}: a segment's number is out of order"),
    (SEGMENT + 12, "<I", 0xFFFFF000, f"is damaged at byte {SEGMENT + 12}"),
    (SEGMENT + 16, "<I", 5000, f"is damaged at byte {SEGMENT + 16}"),
    (SEGMENT + 64, "<B", 0x0F, f"is damaged at byte {SEGMENT + 64}: a record of a kind that is not known"),
    (SEGMENT + 65, "<B", 0x9A, f"is damaged at byte {SEGMENT + 64}: a record with a number of more than 8 bytes"),
    (SEGMENT + 64, "<B", 0x00, f"is damaged at byte {SEGMENT + 64}: no record begins here"),
])
def test_damage_is_named(tracer: Tracer, trace: Path, at: int, form: str, value: int, message: str) -> None:
    data = bytearray(trace.read_bytes())
    struct.pack_into(form, data, at, value)
    trace.write_bytes(data)
    done = tracer.show(trace)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"trace_info: {trace} ") and message in done.stderr and done.stderr.count("\n") == 1


def test_what_is_no_trace(tracer: Tracer, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(b"haktrace" + bytes(100))
    (tmp_path / "broken").write_bytes(gzip.compress(b"haktrace" + bytes(9000))[:30])
    for name, message in (("empty", "is empty"), ("text", "does not begin with"), ("cut", "cut off at byte 108"),
                          ("none", "there is neither a file"), (".", "is a directory"), ("broken", "is damaged")):
        done = tracer.show(tmp_path / name)
        assert (done.returncode, done.stdout) == (2, "") and message in done.stderr
        assert str(tmp_path / name) in done.stderr and done.stderr.count("\n") == 1
    for words in ([], ["a", "b"], ["--events"], ["--what"], [""]):
        done = tracer.show(*words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert tracer.show("--help").returncode == 0


def test_compressed_and_piped(tracer: Tracer, trace: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed trace"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    for words in ([], ["--events"]):
        plain = tracer.show(*words, trace)
        assert plain.returncode == 0 and tracer.show(*words, packed).stdout == plain.stdout
        with open(packed, "rb") as stream:
            piped = subprocess.run([str(tracer.viewer), *words, "-"], stdin=stream, capture_output=True, text=True,
                                   timeout=60)
        assert piped.stdout == plain.stdout, piped.stderr
    assert "program    " in tracer.show("redis").stdout


def test_any_bytes_are_survived(tracer: Tracer, trace: Path) -> None:
    """Whatever is changed, cut or repeated: events or one sentence, and no crash."""
    original = trace.read_bytes()
    dice = random.Random(7)
    refused = 0
    for _ in range(200):
        data = bytearray(original)
        for _ in range(dice.choice((1, 1, 3, 50))):
            at = dice.choice((dice.randrange(len(data)), dice.randrange(260), SEGMENT + dice.randrange(300)))
            data[at % len(data)] = dice.choice((0, 255, dice.randrange(256)))
        if dice.random() < 0.2:
            del data[dice.randrange(len(data)):]
        trace.write_bytes(data)
        done = tracer.show("--events", trace)
        assert done.returncode in (0, 2), (done.returncode, done.stderr)
        assert done.returncode == 0 or (done.stderr.count("\n") == 1 and done.stdout == "")
        refused += done.returncode == 2
    assert 25 < refused < 200
