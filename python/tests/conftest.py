"""What the tests share: the demo model, on whatever adapter there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import ravenwing

BEGINNING = "Once upon a time"


@pytest.fixture(scope="session")
def model() -> Iterator[ravenwing.Model]:
    """Of three sessions, so that a list of four prompts is done in groups."""
    if not ravenwing.list_devices() and not os.environ.get("RAVENWING_REQUIRE_GPU"):
        pytest.skip("no adapter")
    with ravenwing.Model(max_sessions=3, exact=True, pipeline_cache=False) as opened:
        yield opened


@pytest.fixture
def session(model: ravenwing.Model) -> Iterator[ravenwing.Session]:
    with model.session() as opened:
        yield opened


def run_python(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a program of its own: its end is what is tested."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False, **options
    )
