"""Keyword arguments of a generation into the structs of the C++ library, which has their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from . import _ravenwing
from ._ravenwing import GenerateOptions, SamplerOrder, SamplerParams


class Sampling(TypedDict, total=False):
    """How a generation ends and how its tokens are chosen; docs/sampling.md has formulas and ranges."""

    stop: str | Sequence[str]  # the text ends before the first of these
    stop_tokens: Sequence[int]  # at most 16; default [0], the end of a text
    logprobs: int | None  # how many of the most probable tokens are listed, 0 to 20; None: no logprobs
    temperature: float
    top_k: int
    top_p: float
    seed: int
    order: Literal["rwkv", "llama"]
    min_p: float
    typical_p: float
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float
    penalty_decay: float
    logit_bias: Mapping[int, float]
    xtc_probability: float
    xtc_threshold: float
    mirostat_tau: float
    mirostat_eta: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_range: int
    dry_sequence_breakers: Sequence[str]


_OPTIONS = ("max_tokens", "stop", "stop_tokens", "logprobs")
_SAMPLER = tuple(name for name in Sampling.__annotations__ if name not in _OPTIONS)
_ORDERS = {"rwkv": SamplerOrder.rwkv, "llama": SamplerOrder.llama}


def generate_options(function: str, values: Mapping[str, Any]) -> GenerateOptions:
    """The options named by `values`; TypeError for a name or a type that there is not, ValueError for a value."""
    options = GenerateOptions()
    sampler = options.sampler
    for name, value in values.items():
        if name in _OPTIONS:
            _set(function, options, name, value)
        elif name in _SAMPLER:
            _set(function, sampler, name, value)
        else:
            known = ", ".join((*_OPTIONS, *_SAMPLER))
            raise TypeError(f"{function}() has no argument '{name}'; there are {known}")
    options.sampler = sampler
    sampler.validate()
    return options


def _set(function: str, target: GenerateOptions | SamplerParams, name: str, value: Any) -> None:
    if name == "order":
        if value not in _ORDERS:
            raise ValueError(f"{function}(): order is {value!r}, must be 'rwkv' or 'llama'")
        value = _ORDERS[value]
    elif name == "stop" and isinstance(value, str):
        value = [value]
    elif name in ("stop", "stop_tokens", "dry_sequence_breakers") and not isinstance(value, str):
        value = list(value)
    elif name == "logit_bias":
        value = dict(value)
    try:
        setattr(target, name, value)
    except TypeError:
        wanted = type(getattr(target, name)).__name__ if name != "logprobs" else "int or None"
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{function}(): {name} is {value}, must be at least 0") from None
        raise TypeError(f"{function}(): {name} is {value!r}, must be {wanted} (docs/sampling.md)") from None


def token_ids(tokenizer: _ravenwing.Tokenizer, text: Any) -> list[int]:
    """The ids of a text (str, bytes), or those given. TypeError for anything else."""
    if isinstance(text, str):
        return tokenizer.encode(text.encode())
    if isinstance(text, (bytes, bytearray, memoryview)):
        return tokenizer.encode(bytes(text))
    try:
        ids = text.tolist() if hasattr(text, "tolist") else list(text)
    except TypeError:
        ids = None
    # Loops of the interpreter's own: one of Python's takes longer than the rest of an embedding from the cache.
    if ids is None or not set(map(type, ids)) <= {int}:
        raise TypeError(f"a text is str, bytes or a sequence of token ids (int), not {type(text).__name__}")
    if ids and not 0 <= min(ids) <= max(ids) < 1 << 32:
        wrong = next(i for i in ids if not 0 <= i < 1 << 32)
        raise ValueError(f"{wrong} is no token id: they are at least 0 and below the model's n_vocab")
    return ids
