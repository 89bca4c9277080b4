"""Text as it comes, for a loop and for an asynchronous loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from ._ravenwing import Completion, Job

_T = TypeVar("_T")


class Stream(Iterator[str]):
    """Pieces of text, each of whole characters; `completion` is there at the end. close() or `with` ends it early."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._completion: Completion | None = None

    def __next__(self) -> str:
        if self._completion is not None:
            raise StopIteration
        piece = self._job.next()
        if piece is None:
            self._completion = self._job.result()[0]
            raise StopIteration
        return piece

    @property
    def completion(self) -> Completion:
        """What was generated in all; waits for the end."""
        if self._completion is None:
            self._completion = self._job.result()[0]
        return self._completion

    def close(self) -> None:
        """Ends the generation; the session then stands after what was generated."""
        self._job.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncStream(AsyncIterator[str]):
    """Stream for `async for`. Cancelling the task ends the generation."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __anext__(self) -> str:
        piece = await cancellable(self._stream.close, next, self._stream, None)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def completion(self) -> Completion:
        """What was generated in all; waits for the end."""
        return await cancellable(self._stream.close, lambda: self._stream.completion)

    async def aclose(self) -> None:
        """As Stream.close."""
        self._stream.close()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._stream.close()


async def cancellable(cancel: Callable[[], None], function: Callable[..., _T], *arguments: object) -> _T:
    """function(*arguments) in a thread; cancel() if the task is cancelled meanwhile."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except asyncio.CancelledError:
        cancel()
        raise
