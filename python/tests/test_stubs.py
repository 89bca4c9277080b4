"""The checked-in stubs are those of the module, and all that is public has hints."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ravenwing
from ravenwing import _ravenwing

COMMAND = "python -m nanobind.stubgen -m ravenwing._ravenwing -o python/ravenwing/_ravenwing.pyi"


def test_stubs_are_those_of_the_module(tmp_path):
    # In a process of its own: what other tests do leaves traces in the classes.
    made = tmp_path / "made.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "ravenwing._ravenwing", "-o", str(made)]
    subprocess.run(command, check=True)
    checked_in = (Path(ravenwing.__file__).parent / "_ravenwing.pyi").read_text()
    assert made.read_text() == checked_in, f"run: {COMMAND}"


@pytest.mark.parametrize("cls", [ravenwing.Model, ravenwing.Session, ravenwing.State, ravenwing.Stream, ravenwing.AsyncStream])
def test_public_methods_have_hints_and_words(cls):
    for name, member in vars(cls).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        hints = inspect.get_annotations(function)
        assert "return" in hints, f"{cls.__name__}.{name}"
        assert set(inspect.signature(function).parameters) - {"self", "cls"} <= set(hints), f"{cls.__name__}.{name}"
        assert member.__doc__, f"{cls.__name__}.{name} has no docstring"


def symbols(which):
    done = subprocess.run(["nm", "-D", which, _ravenwing.__file__], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [row[-1] for row in rows if row[-2] not in "wv"]  # a weak one need not be there


def test_nothing_is_mixed_with_the_webgpu_library():
    # That library exports a C++ runtime of its own and 218 000 other names.
    assert symbols("--defined-only") == ["PyInit__ravenwing"]
    own = ("Py", "_Py", "wgpu", "__tls_get_addr", "_ITM_", "__gmon_start__")
    assert [name for name in symbols("--undefined-only") if "@GLIBC" not in name and not name.startswith(own)] == []


def test_typed_marker():
    assert (Path(ravenwing.__file__).parent / "py.typed").exists()
