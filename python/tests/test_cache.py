"""The cache of what was computed from texts."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ravenwing._cache import _OVERHEAD_BYTES, LruCache, key_of

ENTRY_BYTES = 400 + _OVERHEAD_BYTES


def vector(value=0.0):
    return np.full(100, value, np.float32)


def test_keys_tell_model_options_and_text_apart():
    keys = {key_of(m, o, t) for m in ("a", "b") for o in ((1,), (2,)) for t in ("x", "y", "")}
    assert len(keys) == 12
    assert key_of("a", (), "é") == key_of("a", (), "é".encode()) and key_of("a", (), "\ud800")


def test_least_recently_used_goes_first():
    cache = LruCache(3 * ENTRY_BYTES)
    keys = [key_of("m", (), str(i)) for i in range(4)]
    for i in range(3):
        cache.put(keys[i], vector(i))
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], vector(3))
    assert cache.get(keys[1]) is None
    assert [cache.get(keys[i])[0] for i in (0, 2, 3)] == [0, 2, 3]
    use = cache.use()
    assert (use.hits, use.misses, use.n_entries, use.n_bytes) == (4, 1, 3, 3 * ENTRY_BYTES)
    assert use.hit_rate == pytest.approx(0.8)


def test_sizes():
    cache = LruCache(ENTRY_BYTES)
    cache.put(key_of("m", (), "large"), np.zeros(1000, np.float32))
    assert cache.use().n_entries == 0
    key = key_of("m", (), "x")
    cache.put(key, vector(1))
    cache.put(key, vector(2))
    assert cache.use().n_bytes == ENTRY_BYTES and cache.get(key)[0] == 2
    cache.clear()
    assert cache.use().n_bytes == 0 and cache.get(key) is None
    LruCache(0).put(key, vector())
    with pytest.raises(ValueError, match="max_bytes is -1"):
        LruCache(-1)


def test_values_are_read_only():
    cache = LruCache(10 * ENTRY_BYTES)
    with pytest.raises(ValueError):
        cache.get_or_make(key_of("m", (), "x"), vector)[0] = 1


def test_threads():
    cache = LruCache(10 * ENTRY_BYTES)
    wrong = []

    def work(seed):
        for i in range(2000):
            n = (i * 7 + seed) % 30
            if cache.get_or_make(key_of("m", (), str(n)), lambda n=n: vector(n))[0] != n:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    use = cache.use()
    assert not wrong and use.n_entries == 10 and use.n_bytes == 10 * ENTRY_BYTES and use.hits + use.misses == 8000
