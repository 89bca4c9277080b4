"""RELIABILITY 80 as it stands: 10^5 texts, and a text of a million bytes. Slow: a minute or two each without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ravenwing

import small


def status_bytes(name: str) -> int:
    """VmRSS, or VmHWM, the most that it was."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


def growth_of(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call returns, and by how many bytes the process was larger meanwhile than before."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM begins anew
    before = status_bytes("VmRSS")
    result = call()
    return result, status_bytes("VmHWM") - before


@pytest.fixture(scope="module")
def small_model(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    small.write_small_model(path)
    with ravenwing.Model(path, vocab=small.VOCAB, max_sessions=2048, chunk=2048, exact=True, pipeline_cache=False) as opened:
        # All kernels and buffers of steps of many texts and of one: compiled, 67 MB with a software driver.
        opened.embed_batch(["The raven"] * 3000, cache=False)
        opened.state([5] * 5000)
        yield opened


@pytest.mark.parametrize("cache", [True, False])
def test_many_texts(small_model, cache):
    texts = [[1 + i % 8191, 1 + i // 8191] for i in range(100_000)]
    vectors, grown = growth_of(lambda: small_model.embed_batch(texts, pooling="mean", cache=cache))
    assert grown < vectors.nbytes + small_model.embedding_cache().n_bytes + 64e6, f"{grown / 1e6:.0f} MB"
    assert len(np.unique(vectors, axis=0)) == len(texts)
    for i in (0, 4095, 4096, 77_777, 99_999):
        assert np.array_equal(vectors[i], small_model.embed(texts[i], pooling="mean", cache=False))


def test_a_text_of_a_million_bytes(small_model):
    text = "The raven said never more. " * 37_500
    assert len(text) > 1e6
    ids = small_model.tokenize(text)
    state, grown = growth_of(lambda: small_model.state(text))
    assert state.n_tokens == len(ids)
    assert grown < 16 * len(ids) + 16e6, f"{grown / 1e6:.0f} MB"
    assert np.array_equal(small_model.embed(ids, pooling="state", normalize=False, cache=False), state.wkv[0].ravel())
