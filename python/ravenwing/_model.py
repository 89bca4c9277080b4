"""A loaded model."""

from __future__ import annotations

import asyncio
import math
import os
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _ravenwing
from ._cache import CacheUse, Key, LruCache, key_of
from ._options import Sampling, generate_options, token_ids
from ._ravenwing import Completion, DeviceInfo, ModelInfo
from ._session import Session, Text
from ._state import State
from ._stream import AsyncStream, Stream, cancellable

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": TEXT}
Pooling = Literal["last", "mean", "state"]
CLOSING = "\n\nThe"  # the C++ library's
_EMBEDDED_AT_ONCE = 4096  # texts: what a list of any length needs besides its vectors is bounded
Think = Literal["off", "fake", "on", "brief", "normal", "deep"]


class Prefix:
    """The beginning that several texts share, read once: Model.prefix()."""

    def __init__(self, state: State) -> None:
        self.state = state

    @property
    def n_tokens(self) -> int:
        """Of the beginning."""
        return self.state.n_tokens


class Model:
    """An RWKV-7 model on a GPU. Any number of threads may use it; their calls take turns.

    path         .gguf or .safetensors; None: the demo model
    device       None: the first GPU, else software; an index, part of a name, "software"
    tier         None: the best that a self-test finds right; "T0", "T1", "T2"
    exact        bit-equal results alone, in any batch and under any chunking
    max_sessions texts at a time, sessions and those of generate() together
    chunk        tokens of one step at most; None: as tuned
    states       "f32", or "f16": half the GPU memory, rounded after each step
    persistent   one token in a single dispatch, where that was tested to be right
    vocab        a vocabulary file instead of the model's own
    load         "stream", "full" or "lazy"
    profiling    opens the GPU's clock for profile()
    safe         keeps WebGPU's checks of calls and indices
    tuning       uses and makes measurements of which kernels are fastest
    embedding_cache  bytes of vectors that embed() keeps for texts that come again; 0: none
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        device: str | int | None = None,
        tier: Literal["T0", "T1", "T2"] | None = None,
        exact: bool = False,
        max_sessions: int = 8,
        chunk: int | None = None,
        states: Literal["f32", "f16"] = "f32",
        persistent: bool = True,
        vocab: str | os.PathLike[str] | None = None,
        load: Literal["stream", "full", "lazy"] = "stream",
        profiling: bool = False,
        safe: bool = False,
        tuning: bool = True,
        pipeline_cache: bool = True,
        embedding_cache: int = 64 << 20,
    ) -> None:
        for name, count in (("max_sessions", max_sessions), ("chunk", chunk)):
            if count is not None and type(count) is not int:
                raise TypeError(f"{name} is {count!r}, must be an int")
            if count is not None and not 0 <= count < 1 << 32:
                raise ValueError(f"{name} is {count}, must be at least 1")
        options = {
            "path": os.fspath(path) if path is not None else _ravenwing.demo_model_path(),
            "device": "" if device is None else str(device),
            "tier": tier or "",
            "exact": exact,
            "max_sessions": max_sessions,
            "chunk": chunk,
            "states": states,
            "persistent": persistent,
            "vocab": os.fspath(vocab) if vocab is not None else "",
            "load": load,
            "profiling": profiling,
            "safe": safe,
            "tuning": tuning,
            "pipeline_cache": pipeline_cache,
        }
        self._engine = _ravenwing.Engine.open(options)
        self._tokenizer = self._engine.tokenizer
        self._embeddings = LruCache(embedding_cache)

    @property
    def info(self) -> ModelInfo:
        """Name, shapes and weights: n_layer, n_embd, n_head, head_size, n_vocab, quantisation and more."""
        return self._engine.info

    @property
    def device(self) -> DeviceInfo:
        """The device in use."""
        return self._engine.device

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._engine.closed

    def close(self) -> None:
        """Cancels what runs and gives the GPU's memory back. Later use throws ClosedError; a second time does nothing."""
        self._engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a Model is memory of a GPU and cannot be pickled or copied: open its file where it is needed")

    def memory(self) -> dict[str, int]:
        """GPU memory in bytes: weights, state, scratch, and the peak."""
        return self._engine.memory()

    # ---- text and ids

    def tokenize(self, text: str | bytes) -> list[int]:
        """Token ids of a text; bytes need not be UTF-8."""
        if not isinstance(text, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"tokenize() takes str or bytes, not {type(text).__name__}")
        return token_ids(self._tokenizer, text)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8 are U+FFFD. ValueError for an id that the vocabulary has not."""
        return self.detokenize_bytes(ids).decode(errors="replace")

    def detokenize_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of ids."""
        return self._tokenizer.decode(token_ids(self._tokenizer, ids))

    # ---- generation

    def session(self, *, prefix: Prefix | State | None = None) -> Session:
        """An empty session, or one that goes on from a prefix. ValueError when max_sessions are in use."""
        session = Session(self._engine.session(), self._tokenizer)
        if prefix is not None:
            session.restore(_state_of(prefix))
        return session

    @overload
    def generate(
        self,
        prompt: Text,
        *,
        max_tokens: int = 256,
        stream: Literal[False] = False,
        prefix: Prefix | State | None = None,
        **sampling: Unpack[Sampling],
    ) -> Completion: ...
    @overload
    def generate(
        self,
        prompt: list[str] | list[bytes] | list[list[int]],
        *,
        max_tokens: int = 256,
        stream: Literal[False] = False,
        prefix: Prefix | State | None = None,
        **sampling: Unpack[Sampling],
    ) -> list[Completion]: ...
    @overload
    def generate(
        self,
        prompt: Text,
        *,
        max_tokens: int = 256,
        stream: Literal[True],
        prefix: Prefix | State | None = None,
        **sampling: Unpack[Sampling],
    ) -> Stream: ...
    def generate(
        self,
        prompt: Any,
        *,
        max_tokens: int = 256,
        stream: bool = False,
        prefix: Prefix | State | None = None,
        **sampling: Unpack[Sampling],
    ) -> Completion | list[Completion] | Stream:
        """Continues a text (str, bytes, token ids), or each of a list of texts, which then share the GPU's steps.

        stream=True gives the text piece by piece, of one prompt alone. A list may be of any length: as many texts run
        at a time as there are free sessions. The defaults are those of the C++ library (docs/sampling.md).
        """
        job = self._start(prompt, stream, prefix, max_tokens=max_tokens, **sampling)
        if stream:
            return Stream(job)
        completions = job.result()
        return completions if _is_batch(prompt) else completions[0]

    async def agenerate(self, prompt: Any, *, stream: bool = False, **options: Any) -> Any:
        """generate() for asyncio, with its arguments; with stream=True an asynchronous iterator.

        Cancelling the task ends the generation.
        """
        job = self._start(prompt, stream, **options)
        if stream:
            return AsyncStream(Stream(job))
        completions = await cancellable(job.cancel, job.result)
        return completions if _is_batch(prompt) else completions[0]

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 256,
        stream: bool = False,
        template: Literal["g1", "world"] = "g1",
        think: Think = "off",
        **sampling: Unpack[Sampling],
    ) -> Any:
        """The answer to a conversation: messages of role system (the first alone), user and assistant, the last a user's.

        Returns as generate() does. What the answer is made to begin with (docs/chat.md) is not part of its text.
        """
        text = chat_text(messages, template, think)
        return self.generate(text, max_tokens=max_tokens, stream=stream, **_with_stops(sampling))

    async def achat(
        self,
        messages: Sequence[Message],
        *,
        template: Literal["g1", "world"] = "g1",
        think: Think = "off",
        **options: Any,
    ) -> Any:
        """chat() for asyncio, with its arguments."""
        return await self.agenerate(chat_text(messages, template, think), **_with_stops(options))

    def _start(
        self, prompt: Any, stream: bool, prefix: Prefix | State | None = None, **values: Any
    ) -> _ravenwing.Job:
        options = generate_options("generate", values)
        if stream and _is_batch(prompt):
            raise ValueError("stream=True takes one prompt, not a list of them")
        prompts = prompt if _is_batch(prompt) else [prompt]
        texts = [token_ids(self._tokenizer, text) for text in prompts]
        state = None if prefix is None else _state_of(prefix)._core
        return self._engine.generate(texts, [options] * len(texts), state, stream)

    def _generate_each(self, texts: Sequence[Text], options: Sequence[Mapping[str, Any]]) -> list[Completion]:
        """generate() of texts that have options of their own each, for interfaces that ask so."""
        ids = [token_ids(self._tokenizer, text) for text in texts]
        each = [generate_options("generate", one) for one in options]
        return self._engine.generate(ids, each, None, False).result()

    # ---- states

    def state(self, text: Text) -> State:
        """The state after a text, computed in a session of its own."""
        with self.session() as session:
            session.feed(text)
            return session.state

    async def astate(self, text: Text) -> State:
        """state() for asyncio."""
        return await asyncio.to_thread(self.state, text)

    def prefix(self, text: Text) -> Prefix:
        """Reads a beginning that several texts share, for generate(prefix=...) and session(prefix=...)."""
        return Prefix(self.state(text))

    # ---- embeddings

    def embed(
        self,
        text: Text,
        *,
        pooling: Pooling = "last",
        layer: int = -1,
        normalize: bool = True,
        closing: str = CLOSING,
        prefix: Prefix | State | None = None,
        cache: bool = True,
    ) -> NDArray[np.float32]:
        """One vector for a text, [D] float32; read-only where it is kept for the next time.

        pooling    "last": the hidden vector of the last token, "mean": of all its tokens, [n_embd]; "state": the layer's
                   wkv state after the text, [n_embd * head_size], rows of one length
        layer      whose output, 0 is the first; -1: what the head reads. Layers after it are not computed
        normalize  to a length of 1
        closing    what "last" reads after the text, so that all texts end alike ("": nothing)
        prefix     the text goes on from there
        cache      whether the result may come from, and goes to, the model's cache (Model(embedding_cache=...))
        """
        return self.embed_batch(
            [text], pooling=pooling, layer=layer, normalize=normalize, closing=closing, prefix=prefix, cache=cache
        )[0]

    def embed_batch(
        self,
        texts: Sequence[Text],
        *,
        pooling: Pooling = "last",
        layer: int = -1,
        normalize: bool = True,
        closing: str = CLOSING,
        prefix: Prefix | State | None = None,
        cache: bool = True,
    ) -> NDArray[np.float32]:
        """A vector for each text, [B, D], computed together without padding: embed() of many.

        With Model(exact=True) the bits of each are those of embed() alone. ValueError when all sessions are in use.
        """
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
            raise TypeError(f"embed_batch() takes a list of texts, not {type(texts).__name__}")
        state = None if prefix is None else _state_of(prefix)
        options = (pooling, layer, normalize, closing)
        if len(texts) <= _EMBEDDED_AT_ONCE:
            return self._embed(texts, options, state, cache)
        n_values = self.info.n_embd * (self.info.head_size if pooling == "state" else 1)
        vectors = np.empty((len(texts), n_values), np.float32)
        for first in range(0, len(texts), _EMBEDDED_AT_ONCE):
            some = slice(first, first + _EMBEDDED_AT_ONCE)
            vectors[some] = self._embed(texts[some], options, state, cache)
        return vectors

    def _embed(
        self, texts: Sequence[Text], options: tuple[Any, ...], state: State | None, cache: bool
    ) -> NDArray[np.float32]:
        def compute(some: Sequence[Text]) -> NDArray[np.float32]:
            ids = [token_ids(self._tokenizer, text) for text in some]
            return self._engine.embed(ids, *options, None if state is None else state._core)

        # What a prefix was is not part of a key: its results are not kept.
        if not cache or state is not None or not self._embeddings.max_bytes:
            return compute(texts)
        keys = [self._embedding_key(text, options) for text in texts]
        found = [self._embeddings.get(key) for key in keys]
        missing = [i for i, vector in enumerate(found) if vector is None]
        if missing:
            for i, vector in zip(missing, compute([texts[i] for i in missing]), strict=True):
                found[i] = vector.copy()
                self._embeddings.put(keys[i], found[i])
        if not found:
            return compute([])
        return found[0][np.newaxis] if len(found) == 1 else np.stack(found)

    def _embedding_key(self, text: Text, options: tuple[object, ...]) -> Key:
        """Of the text as it was given: a text that is known is not cut into tokens again."""
        if isinstance(text, (str, bytes)):
            return key_of(type(text), options, text)
        return key_of(int, options, array("I", token_ids(self._tokenizer, text)).tobytes())

    async def aembed(self, text: Text, **options: Any) -> NDArray[np.float32]:
        """embed() for asyncio."""
        return await asyncio.to_thread(self.embed, text, **options)

    async def aembed_batch(self, texts: Sequence[Text], **options: Any) -> NDArray[np.float32]:
        """embed_batch() for asyncio."""
        return await asyncio.to_thread(self.embed_batch, texts, **options)

    def embedding_cache(self) -> CacheUse:
        """Hits, misses, entries and bytes of the cache of embeddings."""
        return self._embeddings.use()

    # ---- measures

    def logits(self, text: Text, *, each: bool = False) -> NDArray[np.float32]:
        """The logits after a text, [n_vocab]; each=True: after each of its tokens, [n_tokens, n_vocab]."""
        with self.session() as session:
            return session.logits(text, each=each)

    def score(self, texts: Sequence[Text]) -> list[NDArray[np.float64]]:
        """Of each text ln p of its tokens but the first, each given all before, [n_tokens - 1]."""
        if not isinstance(texts, (list, tuple)):
            raise TypeError(f"score() takes a list of texts, not {type(texts).__name__}")
        scores = []
        with self.session() as session:
            for text in texts:
                session.reset()
                scores.append(session.score(text))
        return scores

    def perplexity(self, text: Text) -> float:
        """exp of the mean of -ln p over the tokens of a text but the first. ValueError for less than two tokens."""
        scores = self.score([text])[0]
        if not len(scores):
            raise ValueError("the text has less than 2 tokens: the first is not scored")
        return math.exp(-float(scores.mean()))

    def profile(self, n_sequences: int = 1, n_tokens: int = 1) -> dict[str, Any]:
        """Where the time of a step goes on the GPU: its dispatches with `us`, `bytes` and `flops`. Needs profiling=True."""
        return self._engine.profile(n_sequences, n_tokens)


def chat_text(messages: Sequence[Message], template: str = "g1", think: str = "off") -> str:
    """A conversation as the text that models are trained on (docs/chat.md), up to where the answer begins."""
    text = ""
    last = "assistant"
    for i, message in enumerate(messages):
        try:
            role, content = message["role"], message["content"]
        except (KeyError, TypeError):
            raise ValueError(f"message {i} is {message!r}, must be a dict of role and content") from None
        if not isinstance(content, str):
            raise TypeError(f"the content of message {i} is {type(content).__name__}, must be str")
        if role == "system" and i == 0:
            text += _ravenwing.system_turn(content)
        elif role == "user" and last == "assistant":
            text += _ravenwing.user_turn(template, think, content)
            last = role
        elif role == "assistant" and last == "user":
            text += f" {_ravenwing.clean_turn(content)}\n\n"
            last = role
        else:
            raise ValueError(f"message {i} has role {role!r}: after system, the first alone, user and assistant take turns")
    if last != "user":
        raise ValueError("the last message must be the user's: there is nothing to answer")
    return text + _ravenwing.answer_lead(template, think)


def chat_stops() -> list[str]:
    """What ends an answer in a conversation, as GenerateOptions.stop."""
    return list(_ravenwing.chat_stops())


def _with_stops(options: Mapping[str, Any]) -> dict[str, Any]:
    stop = options.get("stop", [])
    return {**options, "stop": [*chat_stops(), *([stop] if isinstance(stop, str) else stop)]}


def _is_batch(prompt: Any) -> bool:
    """A list of texts, other than a text that is a list of ids."""
    if not isinstance(prompt, (list, tuple)):
        return False
    return not prompt or not isinstance(prompt[0], int)


def _state_of(prefix: Prefix | State) -> State:
    state = prefix.state if isinstance(prefix, Prefix) else prefix
    if not isinstance(state, State):
        raise TypeError(f"prefix is a {type(prefix).__name__}, must be what Model.prefix() gave, or a State")
    return state
