from collections.abc import Mapping, Sequence
import enum
import os
import pathlib
from typing import Annotated

import numpy
from numpy.typing import NDArray


def close_all() -> None: ...

class ModelInfo:
    """What a model file holds."""

    @property
    def path(self) -> pathlib.Path: ...

    @property
    def container(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def file_bytes(self) -> int: ...

    @property
    def n_parameters(self) -> int: ...

    @property
    def n_layer(self) -> int: ...

    @property
    def n_embd(self) -> int: ...

    @property
    def n_head(self) -> int: ...

    @property
    def head_size(self) -> int: ...

    @property
    def n_ffn(self) -> int: ...

    @property
    def n_vocab(self) -> int: ...

    @property
    def state_bytes(self) -> int: ...

    @property
    def bytes_by_type(self) -> dict[str, int]: ...

    @property
    def metadata(self) -> dict[str, str]: ...

    @property
    def warnings(self) -> list[str]: ...

    @property
    def quantisation(self) -> str:
        """The type that most bytes of the weights have."""

    def __repr__(self) -> str: ...

class DeviceInfo:
    """An adapter, or the device in use."""

    @property
    def name(self) -> str: ...

    @property
    def driver(self) -> str: ...

    @property
    def vendor(self) -> str: ...

    @property
    def backend(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def software(self) -> bool: ...

    @property
    def tier(self) -> str: ...

    @property
    def fallback(self) -> str: ...

    @property
    def features(self) -> list[str]: ...

    def __repr__(self) -> str: ...

class Tokenizer:
    """Bytes to token ids and back; for any number of threads."""

    @staticmethod
    def world() -> Tokenizer: ...

    @staticmethod
    def from_file(path: str | os.PathLike) -> Tokenizer: ...

    def encode(self, text: bytes) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> bytes: ...

    @property
    def size(self) -> int: ...

def system_turn(text: str) -> str: ...

def user_turn(template: str, think: str, text: str) -> str: ...

def answer_lead(template: str, think: str) -> str: ...

def without_thought(answer: str) -> str: ...

def clean_turn(text: str) -> str: ...

def chat_stops() -> list[str]: ...

def list_devices() -> list[DeviceInfo]: ...

def inspect(path: str | os.PathLike) -> ModelInfo: ...

def demo_model_path() -> pathlib.Path: ...

def write_synthetic_model(spec: str, path: str | os.PathLike) -> None:
    """
    Writes a model of random weights, for measuring: SHAPE:QUANT, 2.9b:q4_k_m for one.
    """

class State:
    """A text's state; its arrays are views of this object's memory."""

    def __init__(self, time_shift: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')], wkv: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')], channel_shift: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')], copy: bool) -> None: ...

    @property
    def time_shift(self) -> NDArray[numpy.float32]: ...

    @property
    def wkv(self) -> NDArray[numpy.float32]: ...

    @property
    def channel_shift(self) -> NDArray[numpy.float32]: ...

    @property
    def n_tokens(self) -> int: ...

    @n_tokens.setter
    def n_tokens(self, arg: int, /) -> None: ...

    @property
    def pending(self) -> int | None: ...

    @pending.setter
    def pending(self, arg: int | None, /) -> None: ...

    @property
    def undecoded(self) -> bytes: ...

    @undecoded.setter
    def undecoded(self, arg: bytes, /) -> None: ...

    @property
    def counts(self) -> list[float]: ...

    @counts.setter
    def counts(self, arg: Sequence[float], /) -> None: ...

    @property
    def mirostat_mu(self) -> float: ...

    @mirostat_mu.setter
    def mirostat_mu(self, arg: float, /) -> None: ...

    @property
    def history(self) -> list[int]: ...

    @history.setter
    def history(self, arg: Sequence[int], /) -> None: ...

class SamplerOrder(enum.Enum):
    rwkv = 0

    llama = 1

class SamplerParams:
    """How the next token is chosen: docs/sampling.md."""

    def __init__(self) -> None: ...

    def validate(self) -> None: ...

    @property
    def temperature(self) -> float: ...

    @temperature.setter
    def temperature(self, arg: float, /) -> None: ...

    @property
    def top_k(self) -> int: ...

    @top_k.setter
    def top_k(self, arg: int, /) -> None: ...

    @property
    def top_p(self) -> float: ...

    @top_p.setter
    def top_p(self, arg: float, /) -> None: ...

    @property
    def seed(self) -> int: ...

    @seed.setter
    def seed(self, arg: int, /) -> None: ...

    @property
    def order(self) -> SamplerOrder: ...

    @order.setter
    def order(self, arg: SamplerOrder, /) -> None: ...

    @property
    def min_p(self) -> float: ...

    @min_p.setter
    def min_p(self, arg: float, /) -> None: ...

    @property
    def typical_p(self) -> float: ...

    @typical_p.setter
    def typical_p(self, arg: float, /) -> None: ...

    @property
    def presence_penalty(self) -> float: ...

    @presence_penalty.setter
    def presence_penalty(self, arg: float, /) -> None: ...

    @property
    def frequency_penalty(self) -> float: ...

    @frequency_penalty.setter
    def frequency_penalty(self, arg: float, /) -> None: ...

    @property
    def repetition_penalty(self) -> float: ...

    @repetition_penalty.setter
    def repetition_penalty(self, arg: float, /) -> None: ...

    @property
    def penalty_decay(self) -> float: ...

    @penalty_decay.setter
    def penalty_decay(self, arg: float, /) -> None: ...

    @property
    def logit_bias(self) -> dict[int, float]: ...

    @logit_bias.setter
    def logit_bias(self, arg: Mapping[int, float], /) -> None: ...

    @property
    def xtc_probability(self) -> float: ...

    @xtc_probability.setter
    def xtc_probability(self, arg: float, /) -> None: ...

    @property
    def xtc_threshold(self) -> float: ...

    @xtc_threshold.setter
    def xtc_threshold(self, arg: float, /) -> None: ...

    @property
    def mirostat_tau(self) -> float: ...

    @mirostat_tau.setter
    def mirostat_tau(self, arg: float, /) -> None: ...

    @property
    def mirostat_eta(self) -> float: ...

    @mirostat_eta.setter
    def mirostat_eta(self, arg: float, /) -> None: ...

    @property
    def dry_multiplier(self) -> float: ...

    @dry_multiplier.setter
    def dry_multiplier(self, arg: float, /) -> None: ...

    @property
    def dry_base(self) -> float: ...

    @dry_base.setter
    def dry_base(self, arg: float, /) -> None: ...

    @property
    def dry_allowed_length(self) -> int: ...

    @dry_allowed_length.setter
    def dry_allowed_length(self, arg: int, /) -> None: ...

    @property
    def dry_range(self) -> int: ...

    @dry_range.setter
    def dry_range(self, arg: int, /) -> None: ...

    @property
    def dry_sequence_breakers(self) -> list[str]: ...

    @dry_sequence_breakers.setter
    def dry_sequence_breakers(self, arg: Sequence[str], /) -> None: ...

class GenerateOptions:
    def __init__(self) -> None: ...

    def copy(self) -> GenerateOptions: ...

    @property
    def max_tokens(self) -> int: ...

    @max_tokens.setter
    def max_tokens(self, arg: int, /) -> None: ...

    @property
    def stop_tokens(self) -> list[int]: ...

    @stop_tokens.setter
    def stop_tokens(self, arg: Sequence[int], /) -> None: ...

    @property
    def stop(self) -> list[str]: ...

    @stop.setter
    def stop(self, arg: Sequence[str], /) -> None: ...

    @property
    def logprobs(self) -> int | None: ...

    @logprobs.setter
    def logprobs(self, arg: int | None, /) -> None: ...

    @property
    def sampler(self) -> SamplerParams: ...

    @sampler.setter
    def sampler(self, arg: SamplerParams, /) -> None: ...

class TokenLogprob:
    """ln p(id), before bias, penalties and filters."""

    @property
    def id(self) -> int: ...

    @property
    def logprob(self) -> float: ...

class TokenLogprobs:
    @property
    def token(self) -> TokenLogprob:
        """the one generated"""

    @property
    def top(self) -> list[TokenLogprob]:
        """the most probable ones, descending"""

class Timings:
    @property
    def prefill_tokens(self) -> int: ...

    @property
    def decode_tokens(self) -> int: ...

    @property
    def prefill_ms(self) -> float: ...

    @property
    def decode_ms(self) -> float: ...

class Completion:
    """What a generation gave."""

    @property
    def text(self) -> str:
        """bytes that are no UTF-8 are U+FFFD"""

    @property
    def bytes(self) -> bytes: ...

    @property
    def ids(self) -> list[int]:
        """without the stop token"""

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        """one for each of ids, if asked for"""

    @property
    def finish_reason(self) -> str:
        """'stop', 'length' or 'cancelled'"""

    @property
    def timings(self) -> Timings: ...

    def __str__(self) -> str: ...

    def __repr__(self) -> str: ...

class Job:
    """A generation that runs in a thread of its own."""

    def next(self) -> str | None:
        """The next piece of text; None at the end."""

    def result(self) -> list[Completion]:
        """Waits for the end."""

    def cancel(self) -> None: ...

class Session:
    """One text and its state on the GPU."""

    def feed(self, ids: Sequence[int]) -> None: ...

    def logits(self, ids: Sequence[int], each: bool) -> NDArray[numpy.float32]: ...

    def score(self, ids: Sequence[int]) -> NDArray[numpy.float64]:
        """ln p(ids[i + 1] | all before)"""

    def generate(self, ids: Sequence[int], options: GenerateOptions, streaming: bool) -> Job: ...

    def fork(self) -> Session: ...

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...

    def save(self, path: str | os.PathLike) -> None: ...

    def load(self, path: str | os.PathLike) -> None: ...

    def n_tokens(self) -> int: ...

    def reset(self) -> None: ...

    def wait(self) -> None: ...

    def close(self) -> None: ...

class Engine:
    """A model on a GPU."""

    @staticmethod
    def open(options: dict) -> Engine: ...

    @property
    def info(self) -> ModelInfo: ...

    @property
    def device(self) -> DeviceInfo: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def close(self) -> None: ...

    @property
    def closed(self) -> bool: ...

    def session(self) -> Session: ...

    def generate(self, texts: Sequence[Sequence[int]], options: Sequence[GenerateOptions], prefix: State | None, streaming: bool) -> Job: ...

    def embed(self, texts: Sequence[Sequence[int]], pooling: str, layer: int, normalize: bool, closing: str, prefix: State | None) -> NDArray[numpy.float32]:
        """A vector for each text: [n_texts, D]"""

    def profile(self, n_sequences: int, n_tokens: int) -> dict: ...

    def memory(self) -> dict: ...
