"""Every example of the documents runs, one after another."""

from __future__ import annotations

import asyncio

import pytest

import ravenwing

from blocks import ROOT, python_blocks


@pytest.mark.parametrize(("document", "n_blocks"), [("README.md", 1), ("docs/python.md", 10)])
def test_examples_run(document, n_blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(document)
    assert len(blocks) == n_blocks
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{document}, example {number + 1}", "exec"), names)
    if "main" in names:
        asyncio.run(names["main"]())
    if "model" in names:
        names["model"].close()
    assert capsys.readouterr().out


def test_the_wheel_asks_for_the_library_that_the_build_links():
    project = (ROOT / "pyproject.toml").read_text()
    pinned = (ROOT / "third_party/webgpu-library.txt").read_text().split()[0]
    assert f'"{pinned}"' in project
    assert f'version = "{ravenwing.__version__}"' in project
    assert f"project(ravenwing VERSION {ravenwing.__version__} " in (ROOT / "CMakeLists.txt").read_text()
