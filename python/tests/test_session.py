"""Session: feeding, forking, keeping; and from several threads."""

from __future__ import annotations

import asyncio
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ravenwing

from conftest import BEGINNING


def test_feed_then_generate(model, session):
    expected = model.generate(BEGINNING, max_tokens=4, seed=5)
    ids = model.tokenize(BEGINNING)
    session.feed(ids[:2])
    session.wait()
    assert session.n_tokens == 2
    assert session.generate(ids[2:], max_tokens=4, seed=5).ids == expected.ids
    session.reset()
    assert session.n_tokens == 0
    assert "".join(session.generate(BEGINNING, max_tokens=4, seed=5, stream=True)) == expected.text


def test_what_takes_a_moment_needs_no_thread(session):
    def waits() -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    session.feed(BEGINNING)
    session.wait()
    before = waits()
    for _ in range(100):
        assert session.n_tokens > 0
    assert waits() - before < 50  # a call that another thread makes is waited for


def test_generate_needs_something_to_go_on_from(session):
    session.feed(BEGINNING)
    with pytest.raises(ValueError, match="needs a token to go on from"):
        session.generate(max_tokens=1)


def test_fork_save_load_restore(model, session, tmp_path):
    session.generate(BEGINNING, max_tokens=3, seed=2)
    state = session.state
    assert state.pending is not None
    session.save(tmp_path / "session.safetensors")
    with session.fork() as fork:
        expected = fork.generate(max_tokens=3, seed=9)
    with model.session() as other:
        other.load(tmp_path / "session.safetensors")
        assert other.generate(max_tokens=3, seed=9).ids == expected.ids
        other.restore(state)
        assert other.generate(max_tokens=3, seed=9).ids == expected.ids
        state.save(tmp_path / "state.safetensors")
        for name in ("state", "session"):
            other.restore(ravenwing.State.load(tmp_path / f"{name}.safetensors"))
            assert other.generate(max_tokens=3, seed=9).ids == expected.ids
        (tmp_path / "session.safetensors").write_bytes(b"damaged")
        with pytest.raises(ravenwing.BadFileError, match="session.safetensors"):
            other.load(tmp_path / "session.safetensors")
        with pytest.raises(TypeError, match="ravenwing.State"):
            other.restore({})
    assert session.generate(max_tokens=3, seed=9).ids == expected.ids


def test_closed_session(model):
    session = model.session()
    session.close()
    session.close()
    for use in (lambda: session.feed("a"), lambda: session.generate("a"), session.fork, session.wait, lambda: session.n_tokens):
        with pytest.raises(ravenwing.ClosedError, match="session is closed"):
            use()
    for _ in range(5):  # places come back when nobody holds the session any more
        model.session().feed("a")


def test_huge_input(model, session):
    session.feed("a b " * 400)
    assert session.n_tokens == len(model.tokenize("a b " * 400))


def test_threads_share_a_model(model):
    prompts = [BEGINNING, "The cat", "A dog", "The end"]
    expected = [model.generate(prompt, max_tokens=3, seed=1).ids for prompt in prompts]
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.001):
            ticks += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda prompt: model.generate(prompt, max_tokens=3, seed=1).ids, prompts))
        # In one session too: calls take turns.
        with model.session() as session:
            list(pool.map(session.feed, ["a"] * 4))
            assert session.n_tokens == 4
    stop.set()
    ticker.join()
    assert got == expected
    assert ticks > 5, "the GIL was not released"


def test_session_closed_while_another_thread_uses_it(model):
    session = model.session()
    stream = session.generate(BEGINNING, max_tokens=30, stop_tokens=[], stream=True)
    next(stream)
    session.close()
    assert len(stream.completion.ids) == 30
    with pytest.raises(ravenwing.ClosedError):
        session.feed("a")


def test_asyncio(model):
    async def main() -> None:
        one, texts, state = await asyncio.gather(
            model.agenerate(BEGINNING, max_tokens=3, seed=1),
            model.agenerate(["The cat", "A dog"], max_tokens=3, seed=1),
            model.astate("The cat"),
        )
        assert one.ids == model.generate(BEGINNING, max_tokens=3, seed=1).ids
        assert len(texts) == 2 and state == model.state("The cat")
        stream = await model.agenerate(BEGINNING, max_tokens=3, seed=1, stream=True)
        assert "".join([piece async for piece in stream]) == one.text
        assert (await stream.completion()).ids == one.ids
        answer = await model.achat([{"role": "user", "content": "Hi"}], max_tokens=2)
        assert answer.ids

    asyncio.run(main())


def test_cancelled_task_ends_the_generation(model):
    async def main() -> None:
        task = asyncio.create_task(model.agenerate(BEGINNING, max_tokens=1_000_000, stop_tokens=[]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert model.generate(BEGINNING, max_tokens=1).ids


def test_what_a_state_becomes_later_is_nothing_to_the_session(model, monkeypatch):
    """A session goes back to what it was restored from when the GPU is lost: a change of the arrays must not be there."""
    long = model.tokenize(BEGINNING)[:1] * 16
    expected = []
    with model.session() as session:
        for text in (BEGINNING, "The cat"):
            session.reset()
            session.feed(text)
            session.feed(long)
            expected.append(session.state)
    monkeypatch.setenv("RAVENWING_TEST_WATCHDOG", "8,0")  # the GPU is lost in a step of more tokens
    with ravenwing.Model(max_sessions=3, exact=True, chunk=16, pipeline_cache=False) as fragile:
        sessions = [fragile.session(), fragile.session()]
        unseen, seen = fragile.state(BEGINNING), fragile.state("The cat")
        arrays = seen.wkv
        for session, state in zip(sessions, (unseen, seen)):
            session.restore(state)
        before = arrays.copy()
        unseen.wkv[:] = 0
        arrays[:] = 1
        assert np.array_equal(unseen.wkv, np.zeros_like(before)) and np.array_equal(seen.wkv, np.ones_like(before))
        with pytest.warns(RuntimeWarning, match="was lost in a step of 16 tokens"):
            for session in sessions:
                session.feed(long)
            found = [session.state for session in sessions]
        assert found == expected and [state.n_tokens for state in found] == [state.n_tokens for state in expected]


def test_a_prefix_that_was_looked_at(model):
    state = model.state(BEGINNING)
    expected = model.generate([" there", " and"], max_tokens=3, temperature=0, prefix=state)
    assert state.wkv.any()
    found = model.generate([" there", " and"], max_tokens=3, temperature=0, prefix=state)
    assert [one.ids for one in found] == [one.ids for one in expected]
    changed = state.copy()
    changed._core.n_tokens = 7
    with model.session(prefix=changed) as session:
        changed._core.n_tokens = 8  # of the state alone
        assert session.n_tokens == 7
