"""Fixtures of the tests of traces: the recorder and what shows its files, and programs compiled once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tracing import Tracer, build  # noqa: E402


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tracer:
    return build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def tracer(built: Tracer, tmp_path: Path) -> Tracer:
    """Each test's files in a folder of its own, with a space and a percent sign in its name."""
    folder = tmp_path / "50% mine"
    folder.mkdir()
    return built.inside(folder)
