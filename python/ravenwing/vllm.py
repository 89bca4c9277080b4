"""vLLM's offline interface: LLM, SamplingParams, RequestOutput. Names and defaults are vLLM's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._model import Model
from ._ravenwing import Completion


@dataclass
class SamplingParams:
    """How to draw. top_k of 0 or -1: all; temperature 0: the most probable; seed None: another each time."""

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int = 16
    logprobs: int | None = None
    logit_bias: dict[int, float] | None = None

    def options(self, index: int) -> dict[str, Any]:
        """Of one of n texts, as Model.generate() takes them."""
        stop = [self.stop] if isinstance(self.stop, str) else list(self.stop or [])
        seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) if self.seed is None else self.seed + index
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": max(self.top_k, 0),
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "logit_bias": self.logit_bias or {},
            "stop": stop,
            "stop_tokens": [*(self.stop_token_ids or []), *([] if self.ignore_eos else [0])],
            "logprobs": self.logprobs,
            "seed": seed & (1 << 64) - 1,
        }


@dataclass
class CompletionOutput:
    """One continuation. logprobs: for each token, {id: ln p}."""

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, float]] | None
    finish_reason: str | None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    """A prompt and its continuations."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput] = field(default_factory=list)
    finished: bool = True


class LLM:
    """A model in vLLM's form; `options` are those of ravenwing.Model."""

    def __init__(self, model: str | None = None, **options: Any) -> None:
        self.model = Model(model, **options)
        self._ids = itertools.count()

    def generate(
        self,
        prompts: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> list[RequestOutput]:
        """Continues each prompt; all texts share the GPU's steps, n of each prompt."""
        texts = [prompts] if isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], int)) else list(prompts)
        params = sampling_params if isinstance(sampling_params, Sequence) else [sampling_params or SamplingParams()] * len(texts)
        if len(params) != len(texts):
            raise ValueError(f"{len(params)} sampling_params for {len(texts)} prompts, must be one, or one for each")
        ids = [self.model.tokenize(text) if isinstance(text, str) else list(text) for text in texts]
        jobs = [(i, index) for i, param in enumerate(params) for index in range(param.n)]
        completions = self.model._generate_each([ids[i] for i, _ in jobs], [params[i].options(index) for i, index in jobs])
        outputs = [
            RequestOutput(str(next(self._ids)), text if isinstance(text, str) else None, one)
            for text, one in zip(texts, ids, strict=True)
        ]
        for (i, index), completion in zip(jobs, completions, strict=True):
            outputs[i].outputs.append(_output(index, completion, params[i].logprobs))
        return outputs

    def chat(
        self, messages: Sequence[Mapping[str, str]], sampling_params: SamplingParams | None = None
    ) -> list[RequestOutput]:
        """The answer to a conversation (ravenwing.chat_text)."""
        from ._model import chat_stops, chat_text

        params = SamplingParams(**vars(sampling_params or SamplingParams()))
        params.stop = [*chat_stops(), *([params.stop] if isinstance(params.stop, str) else params.stop or [])]
        return self.generate([chat_text(messages)], params)

    def embed(self, prompts: str | Sequence[str], **options: Any) -> list[NDArray[np.float32]]:
        """A vector for each prompt; `options` are those of Model.embed_batch()."""
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        return list(self.model.embed_batch(texts, **options))


def _output(index: int, completion: Completion, n_logprobs: int | None) -> CompletionOutput:
    logprobs = None
    total = None
    if n_logprobs is not None:
        logprobs = [
            {one.id: one.logprob for one in (*token.top, token.token)} for token in completion.logprobs
        ]
        total = float(sum(token.token.logprob for token in completion.logprobs))
    return CompletionOutput(index, completion.text, completion.ids, total, logprobs, completion.finish_reason)
