"""RWKV-7 models on any GPU that WebGPU reaches.

    import ravenwing
    with ravenwing.Model("model.gguf") as model:
        print(model.generate("The raven said", max_tokens=50).text)
"""

import atexit as _atexit

from . import _ravenwing
from ._cache import CacheUse, LruCache
from ._errors import (
    BadFileError,
    BadRequestError,
    CancelledError,
    ClosedError,
    DeviceLostError,
    Error,
    NoDeviceError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._model import Model, Prefix, chat_text
from ._options import Sampling
from ._ravenwing import Completion, DeviceInfo, ModelInfo, Tokenizer, inspect, list_devices, write_synthetic_model
from ._session import Session
from ._state import State
from ._stream import AsyncStream, Stream
from .vllm import LLM, CompletionOutput, RequestOutput, SamplingParams

__all__ = [
    "AsyncStream",
    "BadFileError",
    "BadRequestError",
    "CacheUse",
    "CancelledError",
    "ClosedError",
    "Completion",
    "CompletionOutput",
    "DeviceInfo",
    "DeviceLostError",
    "Error",
    "LLM",
    "LruCache",
    "Model",
    "ModelInfo",
    "NoDeviceError",
    "OutOfMemoryError",
    "Prefix",
    "RequestOutput",
    "Sampling",
    "SamplingParams",
    "Session",
    "State",
    "Stream",
    "Tokenizer",
    "UnsupportedError",
    "chat_text",
    "inspect",
    "list_devices",
    "write_synthetic_model",
]
__version__ = "0.1.0"

# Threads of the GPU's driver must not meet a process that is half gone.
_atexit.register(_ravenwing.close_all)
