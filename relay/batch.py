"""Natural batching: while one batch is on its way, the next gathers.

An idle batcher sends one item at once and adds no wait; a busy one sends everything that has come in since, in one call.
After a batch of several it may gather a moment longer (`gather_s`): that costs latency only where there is much to do.
That is how Relay never pays a round trip per job and step (inserts, claims, output, finishes, lock releases).
A batcher is served by one task in the caller's task group; it promises nothing about order between items.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

_MANY = 4  # items in a batch: then there are more to come


class Batcher(Generic[T, R]):
    """Turn single calls into batches of at most `limit` items.

    `run` takes the items and returns one answer for each, in order; an answer that is an exception is raised to that
    item's caller alone. If `run` itself raises, every item of the batch gets that exception.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        limit: int = 1000,
        gather_s: float = 0.0,
    ) -> None:
        self._run = run
        self._limit = limit
        self._gather_s = gather_s
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._wake = asyncio.Event()

    async def submit(self, item: T) -> R:
        """Hand in one item and wait for its answer. Cancelling the wait does not take the item back."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return await future

    async def serve(self) -> None:
        """Send batches until cancelled; then whoever still waits is cancelled too."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    if await self._send() >= _MANY and self._gather_s:
                        await asyncio.sleep(self._gather_s)
        finally:
            for _, future in self._waiting:
                future.cancel()

    async def _send(self) -> int:
        batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
        try:
            answers = await self._run([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, who all get it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return len(batch)
