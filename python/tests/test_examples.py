"""The programs of examples/python run, on the model that is open already."""

from __future__ import annotations

import builtins
import functools
import runpy
import sys

import pytest

import ravenwing

from blocks import ROOT

FOLDER = ROOT / "examples/python"


@pytest.fixture
def run(model, monkeypatch, tmp_path, capsys):
    """Runs a program as by hand, in a folder of its own; returns what it prints."""
    chat = functools.partial(model.chat)
    monkeypatch.setattr(ravenwing, "Model", lambda path=None: model)
    monkeypatch.setattr(model, "close", lambda: None, raising=False)
    monkeypatch.setattr(model, "chat", lambda messages, **options: chat(messages, **{**options, "max_tokens": 4}), raising=False)
    monkeypatch.chdir(tmp_path)

    def run_program(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return run_program


def test_every_example_has_a_test():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names and all(f"test_{name}" in globals() for name in names)


def test_document_state(run, tmp_path):
    out = run("document_state.py")
    assert "state of the same document: 0.000" in out and "Nell cried," in out
    assert ravenwing.State.load(tmp_path / "document.safetensors").n_tokens == 83


def test_field_analysis(run):
    out = run("field_analysis.py")
    assert "seller      1.00" in out and "nats a token: Name of the ship: Petrel" in out


def test_chat(run, monkeypatch):
    lines = iter(["Hello", "A story?", ""])
    monkeypatch.setattr(builtins, "input", lambda prompt: next(lines))
    assert run("chat.py").count("model:") == 2
    monkeypatch.setattr(builtins, "input", lambda prompt: (_ for _ in ()).throw(EOFError))
    assert run("chat.py") == ""


def test_embeddings_map(run, tmp_path):
    pytest.importorskip("matplotlib")
    out = run("embeddings_map.py", str(tmp_path / "map.png"))
    own = int(out.split("% have their nearest neighbour")[0].split()[-1])
    assert own >= 95, out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "docs/embeddings_map.png").stat().st_size < 100_000
