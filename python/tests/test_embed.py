"""Vectors of texts."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import ravenwing

TEXTS = ["The king", "", "Once upon a time there was a little girl who lived by the sea", "A red cap", "The queen \u2603"]


@pytest.mark.parametrize("pooling", ["last", "mean", "state"])
def test_many_are_each_alone(model, pooling):
    together = model.embed_batch(TEXTS, pooling=pooling, cache=False)
    info = model.info
    assert together.dtype == np.float32
    assert together.shape == (len(TEXTS), info.n_embd * (info.head_size if pooling == "state" else 1))
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, row in zip(TEXTS, together, strict=True):
        assert np.array_equal(model.embed(text, pooling=pooling, cache=False), row)
    assert len({row.tobytes() for row in together}) == len(TEXTS)


def test_what_a_vector_is(model):
    text = "The king and the queen"
    state = model.embed(text, pooling="state", layer=2, normalize=False)
    with model.session() as session:
        session.feed(text)
        assert np.array_equal(state, session.state.wkv[2].ravel())
    ids = model.tokenize(text)
    rows = [model.embed(ids[:n], closing="", normalize=False) for n in range(1, len(ids) + 1)]
    assert np.allclose(model.embed(ids, pooling="mean", normalize=False), np.mean(rows, axis=0), rtol=1e-3, atol=1e-4)
    assert np.array_equal(model.embed(text, closing=" and so"), model.embed(text + " and so", closing=""))
    assert np.array_equal(model.embed(text.encode()), model.embed(text))


def test_prefix(model):
    prefix = model.prefix("The king")
    after = model.embed_batch([" and the queen", " was old"], prefix=prefix, closing="")
    for rest, row in zip([" and the queen", " was old"], after, strict=True):
        ids = model.tokenize("The king") + model.tokenize(rest)
        assert np.array_equal(row, model.embed(ids, closing=""))


def test_cache(model):
    before = model.embedding_cache()
    first = model.embed("a text that nobody else embeds")
    again = model.embed_batch(["a text that nobody else embeds", "nor this"])
    use = model.embedding_cache()
    assert np.array_equal(first, again[0])
    assert (use.hits - before.hits, use.misses - before.misses) == (1, 2)
    assert use.n_entries == before.n_entries + 2
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    assert model.embed("a text that nobody else embeds", pooling="mean").tobytes() != first.tobytes()
    assert model.embed("nor this", cache=False).flags.writeable
    ids = model.tokenize("these are ids")
    vector = model.embed(ids)
    for same in (list(ids), tuple(ids), np.array(ids, np.int64)):  # a hit copies nothing
        assert np.shares_memory(model.embed(same), vector)


def test_threads_and_asyncio(model):
    expected = model.embed_batch(TEXTS, cache=False)
    found = {}

    def work(i):
        found[i] = model.embed(TEXTS[i], cache=False)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], expected[i]) for i in range(len(TEXTS)))

    async def both():
        return await asyncio.gather(model.aembed(TEXTS[0]), model.aembed_batch(TEXTS))

    one, all_of_them = asyncio.run(both())
    assert np.array_equal(one, expected[0]) and np.array_equal(all_of_them, expected)


def test_what_cannot_be(model):
    assert model.embed_batch([]).shape == (0, model.info.n_embd)
    with pytest.raises(ValueError, match="layer is 99"):
        model.embed("a", layer=99)
    with pytest.raises(ValueError, match="pooling is 'max'"):
        model.embed("a", pooling="max")
    with pytest.raises(TypeError, match="list of texts"):
        model.embed_batch("a text")
    with pytest.raises(TypeError):
        model.embed(3.5)
    with pytest.raises(ValueError, match="max_sessions"):
        sessions = [model.session() for _ in range(3)]
        try:
            model.embed("a", cache=False)
        finally:
            for session in sessions:
                session.close()
    with pytest.raises(ravenwing.ClosedError):
        with ravenwing.Model(pipeline_cache=False) as closed:
            pass
        closed.embed("a")
