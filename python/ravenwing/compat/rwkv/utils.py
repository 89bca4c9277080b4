"""PIPELINE and PIPELINE_ARGS of `rwkv.utils`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .model import RWKV, RWKVState

_BAN = -100.0  # added to a logit: the most that it may be


class PIPELINE_ARGS:
    """How PIPELINE.generate() draws. alpha_* are penalties; token_ban and token_stop are ids."""

    def __init__(
        self,
        temperature: float = 1.0,
        top_p: float = 0.85,
        top_k: int = 0,
        alpha_frequency: float = 0.2,
        alpha_presence: float = 0.2,
        alpha_decay: float = 0.996,
        token_ban: Sequence[int] = (),
        token_stop: Sequence[int] = (),
        chunk_len: int = 256,
    ) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self.top_k = top_k
        self.alpha_frequency = alpha_frequency
        self.alpha_presence = alpha_presence
        self.alpha_decay = alpha_decay
        self.token_ban = token_ban
        self.token_stop = token_stop
        self.chunk_len = chunk_len


class PIPELINE:
    """Text in, text out. The vocabulary is the model's own; WORD_NAME is taken and has no effect."""

    def __init__(self, model: RWKV, WORD_NAME: str = "") -> None:
        self.model = model
        self._random = np.random.default_rng()

    def refine_context(self, context: str) -> str:
        """Without blanks around its lines, without empty lines, and after one newline."""
        lines = [line.strip().strip("\u3000").strip("\r") for line in context.strip().split("\n")]
        text = "\n" + "\n".join(line for line in lines if line).strip()
        return "\n" if text == "" else text

    def encode(self, x: str) -> list[int]:
        """Token ids."""
        return self.model.model.tokenize(x)

    def decode(self, x: Sequence[int]) -> str:
        """Text; bytes that are no UTF-8 are U+FFFD."""
        return self.model.model.detokenize(x)

    def sample_logits(self, logits: Any, temperature: float = 1.0, top_p: float = 0.85, top_k: int = 0) -> int:
        """An id drawn from logits, by NumPy; temperature 0 or top_p 0: the most probable."""
        values = np.asarray(logits, np.float64).ravel()
        if temperature == 0 or top_p == 0:
            return int(values.argmax())
        p = np.exp(values - values.max())
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        if top_p < 1:
            cut = p[order[int(np.searchsorted(np.cumsum(p[order]), top_p))]]
            p[p < cut] = 0
        if 0 < top_k < len(p):
            p[order[top_k:]] = 0
        if temperature != 1:
            p **= 1 / temperature
        return int(self._random.choice(len(p), p=p / p.sum()))

    def generate(
        self,
        ctx: str,
        token_count: int = 100,
        args: PIPELINE_ARGS | None = None,
        callback: Callable[[str], object] | None = None,
        state: RWKVState | None = None,
    ) -> str:
        """Continues `ctx` after `state`, which is advanced; callback() is given each piece. Draws on the GPU."""
        args = args or PIPELINE_ARGS()
        with self.model._lock:
            session = self.model._use(state if state is not None else RWKVState(self.model, None))
            stream = session.generate(
                ctx,
                max_tokens=token_count,
                stream=True,
                temperature=args.temperature,
                top_p=args.top_p if args.top_p > 0 else 1e-6,
                top_k=args.top_k,
                order="rwkv",
                presence_penalty=args.alpha_presence,
                frequency_penalty=args.alpha_frequency,
                penalty_decay=args.alpha_decay,
                logit_bias={id: _BAN for id in args.token_ban},
                stop_tokens=list(args.token_stop),
                seed=int(self._random.integers(1 << 63)),
            )
            pieces = []
            for piece in stream:
                pieces.append(piece)
                if callback is not None:
                    callback(piece)
        return "".join(pieces)
