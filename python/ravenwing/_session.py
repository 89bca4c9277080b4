"""One text and its state on the GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, overload, Union, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _ravenwing
from ._options import Sampling, generate_options, token_ids
from ._ravenwing import Completion
from ._state import State
from ._stream import Stream

Text = Union[str, bytes, Sequence[int]]  # or token ids


class Session:
    """A text that grows: what is fed and generated stays in its state. Made by Model.session().

    Several threads may use it, one after another. After close(), or that of the model, ClosedError.
    """

    def __init__(self, core: _ravenwing.Session, tokenizer: _ravenwing.Tokenizer) -> None:
        self._core = core
        self._tokenizer = tokenizer

    def feed(self, text: Text) -> None:
        """Continues the text. May return before the GPU is done."""
        self._core.feed(token_ids(self._tokenizer, text))

    @overload
    def generate(
        self, text: Text = "", *, max_tokens: int = 256, stream: Literal[False] = False, **sampling: Unpack[Sampling]
    ) -> Completion: ...
    @overload
    def generate(
        self, text: Text = "", *, max_tokens: int = 256, stream: Literal[True], **sampling: Unpack[Sampling]
    ) -> Stream: ...
    def generate(
        self, text: Text = "", *, max_tokens: int = 256, stream: bool = False, **sampling: Unpack[Sampling]
    ) -> Completion | Stream:
        """Continues with `text`, then with what the model generates. However it ends, the session then stands after
        exactly what it gave. ValueError where there is no token to go on from."""
        options = generate_options("generate", {"max_tokens": max_tokens, **sampling})
        job = self._core.generate(token_ids(self._tokenizer, text), options, stream)
        return Stream(job) if stream else job.result()[0]

    def logits(self, text: Text, *, each: bool = False) -> NDArray[np.float32]:
        """Feeds `text` and returns the logits after it, [n_vocab]; each=True: after each token, [n_tokens, n_vocab]."""
        return self._core.logits(token_ids(self._tokenizer, text), each)

    def score(self, text: Text) -> NDArray[np.float64]:
        """Feeds `text` and returns ln p of its tokens but the first, each given all before, [n_tokens - 1]."""
        return self._core.score(token_ids(self._tokenizer, text))

    def fork(self) -> Session:
        """A second session that goes on from here; the state is copied on the GPU."""
        return Session(self._core.fork(), self._tokenizer)

    @property
    def state(self) -> State:
        """A copy of all that the session is."""
        return State(self._core.state())

    def restore(self, state: State) -> None:
        """Goes on from a state. ValueError for one of a model of other shapes."""
        if not isinstance(state, State):
            raise TypeError(f"restore() takes a ravenwing.State, not {type(state).__name__}")
        self._core.restore(state._core)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the session to a safetensors file, whole or not at all."""
        self._core.save(path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Restores what save() wrote. BadFileError for a damaged file or one made for another model."""
        self._core.load(path)

    @property
    def n_tokens(self) -> int:
        """Tokens fed so far; the token generated last is fed with the next call."""
        return self._core.n_tokens()

    def reset(self) -> None:
        """Back to the empty text."""
        self._core.reset()

    def wait(self) -> None:
        """Until the GPU has done all that it was given, a document fed for one. Nothing else needs it: what reads waits."""
        self._core.wait()

    def close(self) -> None:
        """Gives the session's place back; a second time does nothing."""
        self._core.close()

    def __reduce__(self) -> Any:
        raise TypeError("a Session is memory of a GPU and cannot be pickled: pickle its `state`; fork() copies it")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
