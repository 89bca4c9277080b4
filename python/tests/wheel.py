"""The wheel in a new virtual environment with nothing but pip runs the README's example. Slow: builds the library anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blocks import ROOT, python_blocks


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT)
    (made,) = folder.glob("ravenwing-*.whl")
    return made


def test_what_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    for name in ("__init__.py", "py.typed", "_ravenwing.pyi", "share/ravenwing/models/demo/tiny-rwkv7-Q4_K_M.gguf"):
        assert f"ravenwing/{name}" in names
    assert not [name for name in names if "litert" in name or name.endswith((".cpp", ".hpp", ".a"))]
    assert wheel.stat().st_size < 30e6
    # A wheel that says abi3 is installed by later versions of Python, which find no extension made for one of them.
    (extension,) = (name for name in names if name.endswith(".so"))
    abi3 = sys.version_info >= (3, 12)
    assert (wheel.name.split("-")[3] == "abi3", extension.endswith(".abi3.so")) == (abi3, abi3)


def test_wheel_in_a_new_environment(wheel, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--disable-pip-version-check", wheel)
    # Nothing of this clone is found there but the software driver, which a machine without a GPU has of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAVENWING", "PYTHON"))}
    environment |= {
        "RAVENWING_SELF_TEST": "never",
        "RAVENWING_CACHE_DIR": "",
        "VK_DRIVER_FILES": str(ROOT / "third_party/mesa/lvp_icd.json"),
        "LD_LIBRARY_PATH": str(ROOT / "third_party/mesa/lib"),
    }
    out = run(venv / "bin/python", "-c", python_blocks("README.md")[0], cwd=tmp_path, env=environment)
    text, vector = out.rstrip().rsplit("[", 1)
    assert len(text.split()) > 5
    numbers, shape = vector.split("] ", 1)
    assert len([float(number) for number in numbers.split()]) == 4 and shape == "(6, 8, 64, 64)"

    measured = tmp_path / "measured.json"
    demo = next(venv.glob("lib/python*/site-packages/ravenwing/share/ravenwing/models/demo/*.gguf"))
    bench = ["-m", demo, "--texts", 3, "--singly", 2, "--repeat", 1, "--sessions", 2, "--no-tuning", "--json", measured]
    table = run(venv / "bin/python", ROOT / "tools/bench_python.py", *bench, cwd=tmp_path, env=environment)
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    figures = json.loads(measured.read_text())["figures"]
    assert len({figure["name"] for figure in figures}) == len(figures) == len(rows) == 16
    assert all(figure["min_ms"] <= figure["median_ms"] <= figure["max_ms"] for figure in figures)
