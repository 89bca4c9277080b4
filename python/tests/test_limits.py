"""Much at once, and memory that ends. A random model of one layer keeps it short; huge.py has the sizes of RELIABILITY 80."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import ravenwing
from ravenwing._cache import LruCache

import small


@pytest.fixture(scope="module")
def small_model(model, tmp_path_factory):
    """Steps of 64 tokens. `model` is asked for first: where there is no adapter, all is skipped."""
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    small.write_small_model(path)
    with ravenwing.Model(path, vocab=small.VOCAB, max_sessions=40, chunk=64, exact=True, pipeline_cache=False) as opened:
        yield opened


@pytest.mark.parametrize("pooling", ["last", "mean", "state"])
def test_texts_longer_than_a_step(small_model, pooling):
    texts = ["The raven. " * 100, "A", "", "The cat sat on the mat. " * 40, *(f"{i} ravens" for i in range(100))]
    assert len(small_model.tokenize(texts[0])) > 3 * 64
    together = small_model.embed_batch(texts, pooling=pooling, cache=False)
    for i in (0, 1, 2, 3, 50, 103):
        assert np.array_equal(small_model.embed(texts[i], pooling=pooling, cache=False), together[i])
    assert np.isfinite(together).all()


def test_embedding_of_no_text(model):
    """RELIABILITY 80: that of the closing, or of id 0."""
    assert np.array_equal(model.embed("", cache=False), model.embed("\n\nThe", closing="", cache=False))
    for pooling in ("mean", "state"):
        assert np.array_equal(model.embed("", pooling=pooling, cache=False), model.embed([0], pooling=pooling, cache=False))
    assert np.array_equal(model.embed("", closing="", cache=False), model.embed([0], closing="", cache=False))


class OfZeros:
    """An engine that takes no time; notes how many texts it is given at once."""

    def __init__(self):
        self.most = 0

    def embed(self, texts, *options):
        self.most = max(self.most, len(texts))
        return np.zeros((len(texts), 64), np.float32)


@pytest.mark.parametrize(("n", "cache"), [(100_000, False), (20_000, True)])
def test_many_texts_need_little_besides_their_vectors(small_model, n, cache):
    """RELIABILITY 80, on the side of Python: 10^5 texts."""
    borrowed = object.__new__(ravenwing.Model)
    borrowed._engine, borrowed._tokenizer, borrowed._embeddings = OfZeros(), small_model._tokenizer, LruCache(1 << 20)
    borrowed.__class__ = type("Borrowed", (ravenwing.Model,), {"info": small_model.info})
    texts = [f"text {i}" for i in range(n)]
    tracemalloc.start()
    vectors = borrowed.embed_batch(texts, cache=cache)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert vectors.shape == (n, 64) and borrowed._engine.most <= 4096
    assert peak < vectors.nbytes + 8e6, f"{peak / 1e6:.1f} MB"


def test_a_list_longer_than_is_done_at_once(small_model, monkeypatch):
    monkeypatch.setattr("ravenwing._model._EMBEDDED_AT_ONCE", 7)
    texts = [f"text {i}" for i in range(20)]
    expected = np.stack([small_model.embed(text, cache=False) for text in texts])
    assert np.array_equal(small_model.embed_batch(texts), expected)
    assert np.array_equal(small_model.embed_batch(texts[5:15]), expected[5:15])  # from the cache
    prefix = small_model.prefix("The ")
    after = small_model.embed_batch(texts, prefix=prefix)
    assert np.array_equal(after[-1], small_model.embed(texts[-1], prefix=prefix))


def test_a_text_of_a_million_bytes_as_ids(model):
    text = "The raven said: никогда! " * 31_250
    assert len(text.encode()) == 1_000_000
    ids = model.tokenize(text)
    assert model.detokenize(ids) == text
    assert model.tokenize(text.encode()) == ids


def memory_of(path, n_bytes, monkeypatch, **options):
    """A model on a GPU of so many bytes."""
    monkeypatch.setenv("RAVENWING_TEST_MEMORY", str(n_bytes))
    return ravenwing.Model(path, vocab=small.VOCAB, exact=True, pipeline_cache=False, **options)


def test_no_memory_to_open(small_model, monkeypatch):
    with pytest.raises(ravenwing.OutOfMemoryError, match="has no room for .*: it needs") as caught:
        memory_of(small_model.info.path, 1 << 20, monkeypatch)
    assert isinstance(caught.value, MemoryError) and caught.value.code == "out_of_memory"


def test_no_memory_for_a_call_and_the_model_goes_on(small_model, monkeypatch):
    def use(model):
        return model.generate("The", max_tokens=3, temperature=0).ids

    def in_use(model):
        return sum(bytes for name, bytes in model.memory().items() if name != "peak")

    prompts = ["The"] * 6
    with memory_of(small_model.info.path, 1 << 40, monkeypatch, chunk=64) as free:
        expected = use(free)
        needed = in_use(free)
        together = [completion.ids for completion in free.generate(prompts, max_tokens=3)]
        assert in_use(free) > needed, "many prompts need no more memory: the test needs another call"
    with memory_of(small_model.info.path, needed, monkeypatch, chunk=64) as tight:
        assert use(tight) == expected
        for _ in range(2):
            with pytest.raises(ravenwing.OutOfMemoryError, match="has no room for"):
                tight.generate(prompts, max_tokens=3)
        assert use(tight) == expected and in_use(tight) <= needed
        assert [tight.generate("The", max_tokens=3).ids for _ in prompts] == together


def test_more_sessions_than_memory(small_model, monkeypatch):
    with pytest.raises(ravenwing.OutOfMemoryError):
        memory_of(small_model.info.path, 64 << 20, monkeypatch, max_sessions=60_000)
