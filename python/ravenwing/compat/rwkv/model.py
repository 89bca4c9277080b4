"""RWKV of `rwkv.model`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._model import Model
from ..._session import Session
from ..._state import State

_SUFFIXES = (".gguf", ".safetensors", ".st")


class RWKVState:
    """The state of one text; forward() advances it. On the GPU while it is the one in use, else on the host."""

    def __init__(self, owner: RWKV, state: State | None) -> None:
        self._owner = owner
        self._state = state  # None: no text yet, or on the GPU

    def numpy(self) -> State:
        """A copy on the host."""
        return self._owner._state_of(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> RWKVState:
        return RWKVState(self._owner, self.numpy())

    def __copy__(self) -> RWKVState:
        return self.__deepcopy__({})


class RWKV:
    """A model. `model` may lack its suffix; `strategy` is taken and has no effect: the GPU has one copy, as in the file."""

    def __init__(
        self,
        model: str | os.PathLike[str] | None,
        strategy: str = "",
        verbose: bool = True,
        convert_and_save_and_exit: str | None = None,
        **options: Any,
    ) -> None:
        if convert_and_save_and_exit is not None:
            raise ValueError("convert_and_save_and_exit: files are read as they are, there is nothing to convert")
        self.model = Model(_path_of(model), **options)
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._in_use: RWKVState | None = None

    def forward(
        self, tokens: Sequence[int], state: RWKVState | State | None, full_output: bool = False
    ) -> tuple[NDArray[np.float32], RWKVState]:
        """Logits after the tokens, [n_vocab], or after each, [n_tokens, n_vocab]; and the state, None for a new text."""
        with self._lock:
            handle = state if isinstance(state, RWKVState) else RWKVState(self, state)
            return self._use(handle).logits(list(tokens), each=full_output), handle

    def _use(self, handle: RWKVState) -> Session:
        """The session, which stands where `handle` does."""
        if handle._owner is not self:
            raise ValueError("the state belongs to another RWKV")
        if self._session is None:
            self._session = self.model.session()
        if self._in_use is not handle:
            if self._in_use is not None:
                self._in_use._state = self._session.state
            if handle._state is None:
                self._session.reset()
            else:
                self._session.restore(handle._state)
            handle._state = None
            self._in_use = handle
        return self._session

    def _state_of(self, handle: RWKVState) -> State:
        with self._lock:
            return self._use(handle).state


def _path_of(model: str | os.PathLike[str] | None) -> str | None:
    """With the suffix that a file of that name has."""
    if model is None:
        return None
    path = os.fspath(model)
    if os.path.exists(path):
        return path
    return next((path + suffix for suffix in _SUFFIXES if os.path.exists(path + suffix)), path)
