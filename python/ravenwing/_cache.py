"""A cache of what was computed from texts: the least recently used goes first, and the size is in bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OVERHEAD_BYTES = 400  # of an entry's key, its array object and its place in the table

Key = tuple[Hashable, Hashable, bytes]


@dataclass(frozen=True)
class CacheUse:
    """What a cache has and gave so far."""

    hits: int
    misses: int
    n_entries: int
    n_bytes: int
    max_bytes: int

    @property
    def hit_rate(self) -> float:
        """0 to 1; 0 before the first look."""
        looks = self.hits + self.misses
        return self.hits / looks if looks else 0.0


def key_of(model_id: Hashable, options: Hashable, text: str | bytes) -> Key:
    """Equal for equal texts, model and options; as long for a long text as for a short one."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return model_id, options, hashlib.blake2b(data, digest_size=16).digest()


class LruCache:
    """Arrays by key, for any number of threads. They are kept and given out read-only, and never copied."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}, must be at least 0")
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()
        self._n_bytes = 0
        self._hits = 0
        self._misses = 0

    def get(self, key: Key) -> NDArray[np.float32] | None:
        """What put() was given, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return found

    def put(self, key: Key, value: NDArray[np.float32]) -> None:
        """Keeps an array, which becomes read-only. One that is larger than the cache is not kept."""
        value.flags.writeable = False
        n_bytes = value.nbytes + _OVERHEAD_BYTES
        with self._lock:
            former = self._entries.pop(key, None)
            if former is not None:
                self._n_bytes -= former.nbytes + _OVERHEAD_BYTES
            if n_bytes > self.max_bytes:
                return
            while self._n_bytes + n_bytes > self.max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._n_bytes -= oldest.nbytes + _OVERHEAD_BYTES
            self._entries[key] = value
            self._n_bytes += n_bytes

    def get_or_make(self, key: Key, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The array of `key`; make() where there is none, without the lock: two threads may make the same."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def clear(self) -> None:
        """Drops all entries; the counts of hits and misses go on."""
        with self._lock:
            self._entries.clear()
            self._n_bytes = 0

    def use(self) -> CacheUse:
        """Hits, misses, entries and bytes."""
        with self._lock:
            return CacheUse(self._hits, self._misses, len(self._entries), self._n_bytes, self.max_bytes)
