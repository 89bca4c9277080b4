"""The calls of PyPI `web-rwkv-py` (0.2.3) on Ravenwing.

    import ravenwing.compat.web_rwkv as wrp  # import web_rwkv_py as wrp

Files are .gguf or .safetensors (.st) of RWKV-7. `quant` and `quant_nf4` are taken and have no effect: weights are
computed with as the file has them.
"""

from __future__ import annotations

import enum
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import _model, _ravenwing, _state


class StateDevice(enum.Enum):
    """Where a state is kept. Both are the host here: a copy takes some 2 ms for a model of 2.9B."""

    Cpu = 0
    Gpu = 1


class State:
    """The state of a text; None stands for that of no text."""

    def __init__(self, state: _state.State | None, device: StateDevice) -> None:
        self._state = state
        self._device = device

    def device(self) -> StateDevice:
        """What to() or back_state() was given."""
        return self._device

    def to(self, device: StateDevice) -> State:
        """The same state, said to be there."""
        return State(self._state, device)

    def deep_clone(self) -> State:
        """A copy."""
        return State(None if self._state is None else self._state.copy(), self._device)


class Model:
    """A model and the state of one text."""

    def __init__(self, path: str | os.PathLike[str], quant: int = 0, quant_nf4: int = 0, **options: Any) -> None:
        self.model = _model.Model(path, **options)
        self._session = self.model.session()

    def info(self) -> _ravenwing.ModelInfo:
        """Shapes and weights, by Ravenwing's names."""
        return self.model.info

    def init_state(self) -> State:
        """The state of no text."""
        return State(None, StateDevice.Cpu)

    def clear_state(self) -> None:
        """Begins a new text."""
        self._session.reset()

    def load_state(self, state: State) -> None:
        """Goes on from a state."""
        if state._state is None:
            self._session.reset()
        else:
            self._session.restore(state._state)

    def back_state(self, device: StateDevice = StateDevice.Cpu) -> State:
        """The state after all that was run."""
        return State(self._session.state, device)

    def run(self, tokens: Sequence[int], token_chunk_size: int = 128) -> list[float]:
        """Feeds ids; the logits after the last, [n_vocab]. ValueError for none."""
        return self._run(tokens, each=False)

    def run_full(self, tokens: Sequence[int], token_chunk_size: int = 128) -> list[float]:
        """The same after each, one row after another: [n_tokens * n_vocab]."""
        return self._run(tokens, each=True)

    def _run(self, tokens: Sequence[int], each: bool) -> list[float]:
        if len(tokens) == 0:
            raise ValueError("there are no tokens to run")
        return self._session.logits(list(tokens), each=each).ravel().tolist()


class Tokenizer:
    """Of a vocabulary file: JSON of {id: text, or bytes as numbers}, or in World's own format."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = Path(path).read_text(encoding="utf-8")
        if not text.lstrip().startswith("{"):
            self._tokenizer = _ravenwing.Tokenizer.from_file(os.fspath(path))
            return
        lines = []
        for id, token in sorted((int(id), token) for id, token in json.loads(text).items()):
            data = token.encode() if isinstance(token, str) else bytes(token)
            literal = repr(token if isinstance(token, str) else data)
            lines.append(f"{id} {literal} {len(data)}\n")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "vocab.txt")
            file.write_text("".join(lines), encoding="utf-8")
            self._tokenizer = _ravenwing.Tokenizer.from_file(os.fspath(file))

    def encode(self, text: str) -> list[int]:
        """Token ids."""
        return self._tokenizer.encode(text.encode())

    def decode(self, tokens: Sequence[int]) -> list[int]:
        """Bytes, as numbers."""
        return list(self._tokenizer.decode(list(tokens)))
