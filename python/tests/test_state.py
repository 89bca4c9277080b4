"""State: views, arithmetic, files, and arrays of others (RELIABILITY: wrong dtype, shape, order, device, lifetime)."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import ravenwing
from ravenwing import State


@pytest.fixture(scope="module")
def states(model):
    return model.state("The raven said"), model.state("A cat")


def arrays(n_layer=2, n_head=3, size=4):
    random = np.random.default_rng(0)
    shift = (n_layer, n_head * size)
    return {
        "time_shift": random.standard_normal(shift, np.float32),
        "wkv": random.standard_normal((n_layer, n_head, size, size), np.float32),
        "channel_shift": random.standard_normal(shift, np.float32),
    }


def address(array):
    return array.__array_interface__["data"][0]


def test_views_share_memory(model, states):
    state = copy.copy(states[0])
    info = model.info
    assert state.wkv.shape == (info.n_layer, info.n_head, info.head_size, info.head_size)
    assert state.time_shift.shape == state.channel_shift.shape == (info.n_layer, info.n_embd)
    for name, view in state.numpy().items():
        assert view.dtype == np.float32 and view.flags.c_contiguous and view.flags.writeable
        assert address(view) == address(getattr(state, name)) == address(np.asarray(getattr(state, name)))
        assert address(np.from_dlpack(view)) == address(view)
    state.wkv[0, 0, 0, 0] = 42
    assert state.wkv[0, 0, 0, 0] == 42 and states[0].wkv[0, 0, 0, 0] != 42


def test_views_outlive_the_state(model):
    view = model.state("The raven said").wkv
    kept = view.copy()
    gc.collect()
    filler = [np.full(view.shape, 7, np.float32) for _ in range(20)]
    assert np.array_equal(view, kept) and len(filler) == 20


def test_round_trip_through_numpy(model, states, session):
    for source in (states[0].numpy(), list(states[0].numpy().values())):
        again = State.from_numpy(source)
        assert again == states[0] and address(again.wkv) != address(states[0].wkv)
        session.restore(again)
        restored = session.state
        assert all(np.array_equal(a, b) for a, b in zip(restored.numpy().values(), states[0].numpy().values()))


def test_from_numpy_without_a_copy(session, model):
    mine = {name: array.copy() for name, array in model.state("A cat").numpy().items()}
    state = State.from_numpy(mine, copy=False)
    assert all(address(mine[name]) == address(view) for name, view in state.numpy().items())
    expected = mine["wkv"].copy()
    del mine
    gc.collect()
    assert np.array_equal(state.wkv, expected)
    session.restore(state)
    assert np.array_equal(session.state.wkv, expected)


class OfElsewhere:
    """An array that has nothing but DLPack."""

    def __init__(self, array, device=(1, 0)):
        self.array = array
        self.device = device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_dlpack_in():
    mine = arrays()
    state = State.from_numpy({name: OfElsewhere(array) for name, array in mine.items()})
    assert np.array_equal(state.wkv, mine["wkv"])
    with pytest.raises(ValueError, match="wkv lies on another device .*copy it there first"):
        State.from_numpy({**mine, "wkv": OfElsewhere(mine["wkv"], (2, 0))})


def test_dlpack_in_without_a_copy():
    """RELIABILITY 78: the memory is shared, and lives as long as the state."""
    mine = arrays()
    state = State.from_numpy({name: OfElsewhere(array) for name, array in mine.items()}, copy=False)
    assert all(address(mine[name]) == address(view) for name, view in state.numpy().items())
    state.wkv[0, 0, 0, 0] = 42
    assert mine["wkv"][0, 0, 0, 0] == 42
    expected = mine["wkv"].copy()
    del mine
    gc.collect()
    filler = [np.full(expected.shape, 7, np.float32) for _ in range(20)]
    assert np.array_equal(state.wkv, expected) and len(filler) == 20


def test_dlpack_out_outlives_the_state(model):
    """RELIABILITY 78: what another library was given stays, without a copy, when State and Session are gone."""
    state = model.state("The raven")
    taken, place, expected = np.from_dlpack(state.wkv), address(state.wkv), state.wkv.copy()
    del state
    gc.collect()
    filler = [np.full(expected.shape, 7, np.float32) for _ in range(20)]
    assert address(taken) == place and np.array_equal(taken, expected) and len(filler) == 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"wkv": np.zeros((2, 3, 4, 4))}, TypeError, "wkv has dtype float64, must be float32"),
        ({"wkv": np.zeros((2, 3, 4, 4), ">f4")}, TypeError, "wkv has dtype >f4"),
        ({"wkv": np.zeros((2, 3, 4, 5), np.float32)}, ValueError, r"wkv has shape \(2, 3, 4, 5\), must be \[n_layer"),
        ({"wkv": np.zeros((2, 48), np.float32)}, ValueError, "wkv has shape"),
        ({"time_shift": np.zeros((2, 11), np.float32)}, ValueError, r"time_shift has shape \(2, 11\).*\(2, 12\)"),
        ({"channel_shift": np.zeros((3, 12), np.float32)}, ValueError, "channel_shift has shape"),
        ({"wkv": [[1.0]]}, TypeError, "wkv is a list"),
        ({"wkv": None}, TypeError, "wkv is a NoneType"),
    ],
)
def test_wrong_arrays(change, error, message):
    with pytest.raises(error, match=message):
        State.from_numpy({**arrays(), **change})


def test_order_and_read_only():
    mine = arrays()
    fortran = np.asfortranarray(mine["wkv"])
    read_only = mine["wkv"].copy()
    read_only.flags.writeable = False
    strided = np.repeat(mine["wkv"], 2, axis=3)[..., ::2]
    for array in (fortran, read_only, strided):
        state = State.from_numpy({**mine, "wkv": array})
        assert np.array_equal(state.wkv, mine["wkv"])
        with pytest.raises(ValueError, match="wkv is read-only or not in C order"):
            State.from_numpy({**mine, "wkv": array}, copy=False)
    with pytest.raises(ValueError, match="there is no wkv"):
        State.from_numpy({"time_shift": mine["time_shift"], "channel_shift": mine["channel_shift"]})
    with pytest.raises(ValueError, match="3 arrays"):
        State.from_numpy([mine["wkv"]])


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 8, 64), (6, 4, 64), (6, 16, 32)])
def test_state_of_another_model(model, session, shape, tmp_path):
    """RELIABILITY 34: other widths, layers, heads; however it comes."""
    state = State.from_numpy(arrays(*shape))
    state.save(tmp_path / "state.safetensors")
    session.feed("A")
    uses = [
        lambda: session.restore(state),
        lambda: session.load(tmp_path / "state.safetensors"),
        lambda: model.session(prefix=state),
        lambda: model.generate("A", max_tokens=1, prefix=state),
        lambda: model.embed("A", prefix=state),
    ]
    for use in uses:
        with pytest.raises(ravenwing.Error) as caught:
            use()
        assert caught.value.code in ("bad_request", "bad_file")
    assert session.n_tokens == 1


def test_arithmetic_and_distance(states):
    a, b = states
    mixed = 0.7 * a + b * np.float32(0.3) - a
    assert np.allclose(mixed.wkv, np.float32(0.7) * a.wkv + np.float32(0.3) * b.wkv - a.wkv, rtol=0, atol=1e-5)
    assert mixed.pending is None and mixed.n_tokens == a.n_tokens
    assert a.distance(a) == 0 and a.distance(b) == b.distance(a) > 0.01
    largest = max(np.linalg.norm(a.wkv), np.linalg.norm(b.wkv))
    assert a.distance(b) == pytest.approx(np.linalg.norm(a.wkv - b.wkv) / largest, rel=1e-5)
    assert (a * 0).distance(a * 0) == 0
    assert a != b and a == copy.deepcopy(a) and a != 3
    for wrong in (lambda: a + 1, lambda: a * "x", lambda: a * b, lambda: hash(a), lambda: a.distance(3)):
        with pytest.raises((TypeError, ValueError)):
            wrong()
    with pytest.raises(ValueError, match="different models"):
        a + State.from_numpy(arrays())


def test_copy_and_pickle(session):
    session.generate("The raven", max_tokens=2, presence_penalty=0.5, seed=1)
    state = session.state
    for again in (pickle.loads(pickle.dumps(state)), state.copy()):
        assert again == state and again.n_tokens == state.n_tokens and address(again.wkv) != address(state.wkv)
        session.restore(again)
        first = session.generate(max_tokens=3, presence_penalty=0.5, seed=4)
        session.restore(state)
        assert session.generate(max_tokens=3, presence_penalty=0.5, seed=4).ids == first.ids


def test_unpicklable(model, session):
    for thing, hint in ((model, "open its file"), (session, "pickle its `state`")):
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=hint):
                use(thing)
    with pytest.raises(TypeError):
        pickle.dumps(model.generate("A", max_tokens=1, stream=True))
    error = pickle.loads(pickle.dumps(ravenwing.BadFileError("what is wrong")))  # as multiprocessing sends it
    assert type(error) is ravenwing.BadFileError and error.code == "bad_file" and str(error) == "what is wrong"


def test_a_pickled_state_goes_to_another_process(model):
    """State, as a worker of multiprocessing gets and gives it back."""
    program = """
import pickle, sys
state = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(0.5 * state))
"""
    state = model.state("The raven")
    sent = pickle.dumps(state)
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True)
    assert np.array_equal(pickle.loads(done.stdout).wkv, state.wkv * np.float32(0.5))
    with pytest.raises((ValueError, EOFError, pickle.UnpicklingError)):
        pickle.loads(sent[: len(sent) // 2])


def test_files_are_those_of_safetensors(states, tmp_path):
    path = tmp_path / "state.safetensors"
    states[0].save(path)
    loaded = load_file(path)
    assert all(np.array_equal(loaded[name], view) for name, view in states[0].numpy().items())
    assert State.load(path) == states[0] and State.load(str(path)).n_tokens == states[0].n_tokens
    save_file(arrays(), path)
    assert np.array_equal(State.load(path).wkv, arrays()["wkv"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.safetensors"]
    with pytest.raises(ravenwing.BadFileError, match="cannot be written"):
        states[0].save(tmp_path / "no" / "folder")


def test_damaged_files(states, tmp_path):
    path = tmp_path / "state.safetensors"
    states[0].save(path)
    whole = path.read_bytes()
    huge = json.dumps({"wkv": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    nested = b"[" * 100_000
    damaged = [b"", b"\1", whole[:100], whole[:-4], b"\xff" * 200, len(huge).to_bytes(8, "little") + huge]
    damaged += [len(nested).to_bytes(8, "little") + nested, whole.replace(b"F32", b"I32"), whole.replace(b'"wkv"', b'"wkw"')]
    damaged += [whole.replace(b'"pending_token": "none"', b'"pending_token": "frog"')]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ravenwing.BadFileError, match="state.safetensors"):
            State.load(path)
    with pytest.raises(ravenwing.BadFileError, match="cannot be read"):
        State.load(tmp_path / "none")


def test_time_state(model, tmp_path):
    info = model.info
    shape = (info.n_head, info.head_size, info.head_size)
    random = np.random.default_rng(1)
    tuned = {f"blocks.{i}.att.time_state": random.standard_normal(shape, np.float32) for i in range(info.n_layer)}
    state = State.from_time_state(tuned)
    assert state.wkv[2, 1, 3, 5] == tuned["blocks.2.att.time_state"][1, 5, 3]
    assert not state.time_shift.any() and not state.channel_shift.any() and state.n_tokens == 0
    save_file({**tuned, "blocks.0.att.key.weight": np.zeros(3, np.float32)}, tmp_path / "tuned.st")
    assert State.from_time_state(tmp_path / "tuned.st") == state
    half = State.from_time_state({name: array.astype(np.float16) for name, array in tuned.items()})
    assert half.distance(state) < 1e-3
    with model.session(prefix=state) as session:
        assert session.generate("The", max_tokens=1).ids
    (tmp_path / "tuned.pth").write_bytes(b"")
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ravenwing.BadFileError, match="needs PyTorch"):
            State.from_time_state(tmp_path / "tuned.pth")
    missing = {name: array for name, array in tuned.items() if ".1." not in name}
    for wrong in ({}, missing, {"blocks.0.att.time_state": np.zeros((2, 3, 4), np.float32)}):
        with pytest.raises(ValueError, match="time_state"):
            State.from_time_state(wrong)
    with pytest.raises(TypeError, match="dtype int64"):
        State.from_time_state({"blocks.0.att.time_state": np.zeros((2, 3, 3), np.int64)})


def test_memory_of_states_that_are_gone(model, states):
    """A state's memory serves the next one; what it was does not show."""
    kept = {name: array.copy() for name, array in states[1].numpy().items()}
    with model.session() as session:
        session.feed("A cat")
        held = [session.state for _ in range(2)]
        old = {address(state.wkv) for state in held}
        for state in held:
            state.wkv[:] = 7
        held.clear()
        del state
        gc.collect()
        again = session.state
        assert address(again.wkv) in old
        for name, array in again.numpy().items():
            np.testing.assert_array_equal(array, kept[name])
    made = State.from_numpy(arrays())
    assert made.n_tokens == 0 and made.pending is None and made.wkv.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(made.wkv, arrays()["wkv"])
