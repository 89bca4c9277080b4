"""A text's state on the host: three float32 arrays that NumPy sees where the C++ library keeps them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _ravenwing
from ._errors import BadFileError

_PARTS = ("time_shift", "wkv", "channel_shift")
_KIND = "ravenwing state"
_HEADER_BYTES_MAX = 100_000_000
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


class State:
    """The state after a text: what restore() takes, and what can be kept, sent, averaged and compared.

    Arrays are float32, in C order. `wkv[layer, head, i, j]`: i value channel, j key channel.
    """

    __slots__ = ("_core",)
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # so that numpy leaves `np.float32(2) * state` to this class

    def __init__(self, core: _ravenwing.State) -> None:
        self._core = core

    @property
    def time_shift(self) -> NDArray[np.float32]:
        """[n_layer, n_embd], a writable view."""
        return self._core.time_shift

    @property
    def wkv(self) -> NDArray[np.float32]:
        """[n_layer, n_head, head_size, head_size], a writable view."""
        return self._core.wkv

    @property
    def channel_shift(self) -> NDArray[np.float32]:
        """[n_layer, n_embd], a writable view."""
        return self._core.channel_shift

    @property
    def n_tokens(self) -> int:
        """Tokens fed so far. Arithmetic keeps the left operand's."""
        return self._core.n_tokens

    @property
    def pending(self) -> int | None:
        """The token that was generated last, if it is yet to be fed: the arrays stand before it."""
        return self._core.pending

    @property
    def nbytes(self) -> int:
        """Of the three arrays."""
        return sum(array.nbytes for array in self.numpy().values())

    def numpy(self) -> dict[str, NDArray[np.float32]]:
        """The three arrays as views, by name."""
        return {part: getattr(self._core, part) for part in _PARTS}

    @classmethod
    def from_numpy(cls, arrays: Mapping[str, Any] | Sequence[Any], *, copy: bool = True) -> State:
        """A state of three arrays: a dict as numpy() gives it, or time_shift, wkv, channel_shift in that order.

        Takes NumPy arrays and whatever has __dlpack__ on the CPU. With copy=False the state uses the caller's memory, which
        must be writable and in C order. TypeError for another dtype, ValueError for another shape, order or device.
        """
        if isinstance(arrays, Mapping):
            missing = [part for part in _PARTS if part not in arrays]
            if missing:
                raise ValueError(f"the arrays of a state are {', '.join(_PARTS)}; there is no {', '.join(missing)}")
            values = [arrays[part] for part in _PARTS]
        else:
            values = list(arrays)
        if len(values) != len(_PARTS):
            raise ValueError(f"a state has {len(_PARTS)} arrays ({', '.join(_PARTS)}), not {len(values)}")
        checked = [_as_array(part, value, copy) for part, value in zip(_PARTS, values)]
        _check_shapes(*checked)
        return cls(_ravenwing.State(*checked, copy))

    @classmethod
    def from_time_state(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> State:
        """A tuned state of RWKV-LM: `blocks.N.att.time_state` [n_head, head_size, head_size], axes (key, value).

        From a dict of arrays or tensors, a .safetensors or .st file, or a .pth file where PyTorch is installed. The
        shift states are 0, as they are where such a state was tuned.
        """
        tensors = source if isinstance(source, Mapping) else _read_tensors(Path(source))
        name = "a dict" if isinstance(source, Mapping) else str(source)
        found = {}
        for key, value in tensors.items():
            words = key.split(".")
            if len(words) == 4 and words[0] == "blocks" and words[1].isdigit() and words[2:] == ["att", "time_state"]:
                found[int(words[1])] = _to_float32(key, value)
        if not found or sorted(found) != list(range(len(found))):
            raise ValueError(f"{name} has time_state of layers {sorted(found)}, must have blocks.0.att.time_state and so on")
        shapes = {value.shape for value in found.values()}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[1] != shape[2]:
            raise ValueError(f"{name} has time_state of shapes that are not one [n_head, head_size, head_size]")
        wkv = np.ascontiguousarray(np.stack([found[layer].transpose(0, 2, 1) for layer in range(len(found))]))
        shift = np.zeros((wkv.shape[0], wkv.shape[1] * wkv.shape[2]), np.float32)
        return cls.from_numpy([shift, wkv, shift])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file, whole or not at all: the arrays, and in the metadata all else that a session is."""
        tensors: dict[str, NDArray[np.float32]] = self.numpy()
        core = self._core
        for name, values in (("penalty_counts", core.counts), ("history", core.history)):
            if len(values):
                tensors[name] = np.asarray(values, np.float32)
        tensors["mirostat_mu"] = np.asarray([core.mirostat_mu], np.float32)
        metadata = {
            "kind": _KIND,
            "version": "1",
            "tokens_seen": str(core.n_tokens),
            "pending_token": "none" if core.pending is None else str(core.pending),
            "undecoded_bytes": core.undecoded.hex(),
        }
        _write_safetensors(Path(path), tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Reads what save() or Session.save() wrote. Throws BadFileError."""
        path = Path(path)
        tensors, metadata = _read_safetensors(path)
        if any(part not in tensors for part in _PARTS):
            raise BadFileError(f"{path} is no state: it has no tensors {', '.join(_PARTS)}")
        try:
            state = cls.from_numpy(tensors)
            core = state._core
            core.n_tokens = int(metadata.get("tokens_seen", 0))
            pending = metadata.get("pending_token", "none")
            core.pending = None if pending == "none" else int(pending)
            core.undecoded = bytes.fromhex(metadata.get("undecoded_bytes", ""))
            core.counts = tensors.get("penalty_counts", np.zeros(0)).tolist()
            core.history = [int(i) for i in tensors.get("history", np.zeros(0)).tolist()]
            core.mirostat_mu = float(tensors["mirostat_mu"][0]) if "mirostat_mu" in tensors else 0.0
        except (TypeError, ValueError, IndexError) as error:
            raise BadFileError(f"{path} is damaged or no state: {error}") from error
        return state

    def copy(self) -> State:
        """A state of its own memory."""
        return self._with(array.copy() for array in self.numpy().values())._take_rest(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        core = self._core
        rest = (core.n_tokens, core.pending, core.undecoded, core.counts, core.history, core.mirostat_mu)
        return _unpickle, (list(self.numpy().values()), rest)

    def distance(self, other: State) -> float:
        """How far the wkv states lie apart: |a - b| / max(|a|, |b|), Euclidean norms over all layers; 0 to 2."""
        a, b = self.wkv.ravel(), _like(self, other).wkv.ravel()
        largest = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
        return float(np.linalg.norm(a - b)) / largest if largest > 0 else 0.0

    def __add__(self, other: State) -> State:
        if not isinstance(other, State):
            return NotImplemented
        _like(self, other)
        return self._with(a + b for a, b in zip(self.numpy().values(), other.numpy().values()))

    def __sub__(self, other: State) -> State:
        if not isinstance(other, State):
            return NotImplemented
        _like(self, other)
        return self._with(a - b for a, b in zip(self.numpy().values(), other.numpy().values()))

    def __mul__(self, factor: float) -> State:
        try:
            scale = np.float32(float(factor))
        except TypeError:
            return NotImplemented
        return self._with(array * scale for array in self.numpy().values())

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        same = all(np.array_equal(a, b) for a, b in zip(self.numpy().values(), other.numpy().values()))
        return same and self.pending == other.pending

    def __repr__(self) -> str:
        layers, heads, size, _ = self.wkv.shape
        return f"<ravenwing.State after {self.n_tokens} tokens: {layers} layers, {heads} heads of {size}>"

    def _with(self, arrays: Any) -> State:
        """New arrays; of the rest only n_tokens, as a mixture of texts has no last token."""
        state = State(_ravenwing.State(*arrays, False))
        state._core.n_tokens = self._core.n_tokens
        return state

    def _take_rest(self, other: State) -> State:
        mine, its = self._core, other._core
        for name in ("n_tokens", "pending", "undecoded", "counts", "history", "mirostat_mu"):
            setattr(mine, name, getattr(its, name))
        return self


def _unpickle(arrays: list[NDArray[np.float32]], rest: tuple[Any, ...]) -> State:
    state = State.from_numpy(arrays)
    names = ("n_tokens", "pending", "undecoded", "counts", "history", "mirostat_mu")
    for name, value in zip(names, rest):
        setattr(state._core, name, value)
    return state


def _like(state: State, other: State) -> State:
    if not isinstance(other, State):
        raise TypeError(f"a State is wanted, not {type(other).__name__}")
    if state.wkv.shape != other.wkv.shape:
        raise ValueError(f"states of different models: wkv is {state.wkv.shape} here and {other.wkv.shape} there")
    return other


def _as_array(part: str, value: Any, copy: bool) -> NDArray[np.float32]:
    array = _import_array(part, value)
    if array.dtype != np.float32:
        raise TypeError(f"{part} has dtype {array.dtype}, must be float32 in this machine's byte order: use .astype('float32')")
    if copy:
        return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")
    if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
        raise ValueError(f"{part} is read-only or not in C order: copy=False takes writable arrays in C order, copy=True any")
    return array


def _import_array(part: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__dlpack__"):
        raise TypeError(f"{part} is a {type(value).__name__}, must be a NumPy array or have __dlpack__")
    device = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else (1, 0)
    if device[0] != 1:
        raise ValueError(f"{part} lies on another device (DLPack type {int(device[0])}), must be on the CPU: copy it there first")
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{part} cannot be read through DLPack: {error}; a float32 array is wanted") from error


def _check_shapes(time_shift: NDArray[Any], wkv: NDArray[Any], channel_shift: NDArray[Any]) -> None:
    if wkv.ndim != 4 or wkv.shape[2] != wkv.shape[3]:
        raise ValueError(f"wkv has shape {wkv.shape}, must be [n_layer, n_head, head_size, head_size]")
    shift = (wkv.shape[0], wkv.shape[1] * wkv.shape[2])
    for part, array in (("time_shift", time_shift), ("channel_shift", channel_shift)):
        if array.shape != shift:
            raise ValueError(f"{part} has shape {array.shape}, must be [n_layer, n_embd], {shift} beside a wkv of {wkv.shape}")


def _to_float32(name: str, value: Any) -> NDArray[np.float32]:
    if hasattr(value, "detach"):  # of PyTorch, perhaps in bfloat16, which NumPy has not
        value = value.detach().float().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} has dtype {array.dtype}, must be floating point")
    return array.astype(np.float32)


def _read_tensors(path: Path) -> dict[str, Any]:
    if path.suffix in (".safetensors", ".st"):
        return _read_safetensors(path)[0]
    try:
        import torch
    except ImportError:
        raise BadFileError(
            f"{path} needs PyTorch to be read, which is not installed: install it, or save the tensors as .safetensors"
        ) from None
    return torch.load(path, map_location="cpu", weights_only=True)


def _write_safetensors(path: Path, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    try:
        # Beside the file, so that it takes its place in one step.
        descriptor, temporary = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                for array in tensors.values():
                    file.write(np.ascontiguousarray(array, "<f4").data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise BadFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        n_header = int.from_bytes(data[:8], "little")
        if len(data) < 8 or n_header > min(len(data) - 8, _HEADER_BYTES_MAX):
            raise ValueError("the header is longer than the file")
        header = json.loads(data[8 : 8 + n_header])
        metadata = header.pop("__metadata__", {})
        body = memoryview(data)[8 + n_header :]
        return {name: _tensor(name, entry, body) for name, entry in header.items()}, dict(metadata)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadFileError(f"{path} is no safetensors file, or damaged: {error}") from error


def _tensor(name: str, entry: Mapping[str, Any], body: memoryview) -> NDArray[np.float32]:
    begin, end = entry["data_offsets"]
    shape = tuple(int(n) for n in entry["shape"])
    if not 0 <= begin <= end <= len(body):
        raise ValueError(f"tensor '{name}' ends beyond the file")
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (np.frombuffer(body[begin:end], "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"tensor '{name}' has type {entry['dtype']}, known are BF16, {', '.join(_DTYPES)}")
    return np.frombuffer(body[begin:end], _DTYPES[entry["dtype"]]).astype(np.float32).reshape(shape)
