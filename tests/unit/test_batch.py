"""The batcher: nobody waits who is alone, and where there is much to do it goes in few calls."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from relay.batch import Batcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

GATHER_S = 0.05


class Calls:
    """What `run` was called with; each call takes a turn of the loop."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def run(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if -1 in items:
            raise RuntimeError("all of it")
        return [ValueError(str(item)) if item == 0 else 2 * item for item in items]


@contextlib.asynccontextmanager
async def served(batcher: Batcher[int, int]) -> AsyncIterator[None]:
    serving = asyncio.create_task(batcher.serve())
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def test_what_comes_while_a_batch_is_on_its_way_goes_together_in_the_next() -> None:
    calls = Calls()
    batcher = Batcher(calls.run, limit=3)
    async with served(batcher):
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(batcher.submit(item)) for item in range(2, 7)]
        assert [await each for each in (first, *rest)] == [2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in calls.batches] in ([1, 3, 2], [3, 3])


async def test_an_answer_that_is_an_error_is_its_callers_alone_and_one_that_is_raised_everybodys() -> None:
    batcher = Batcher(Calls().run)
    async with served(batcher):
        answers = await asyncio.gather(*(batcher.submit(item) for item in (1, 0, 2)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["2", "0", "4"]
        answers = await asyncio.gather(*(batcher.submit(item) for item in (1, -1)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["all of it"] * 2


async def test_it_gathers_after_a_batch_of_several_and_never_for_one_alone() -> None:
    calls = Calls()
    batcher = Batcher(calls.run, gather_s=GATHER_S)
    loop = asyncio.get_running_loop()
    async with served(batcher):
        began = loop.time()
        for item in (1, 2, 3):
            await batcher.submit(item)
        assert loop.time() - began < GATHER_S
        await asyncio.gather(*(batcher.submit(item) for item in range(4, 14)))
        stragglers = [asyncio.create_task(batcher.submit(item)) for item in (20, 21)]
        await asyncio.sleep(GATHER_S / 5)
        stragglers.append(asyncio.create_task(batcher.submit(22)))
        assert [await each for each in stragglers] == [40, 42, 44]
    assert calls.batches[-2:] == [list(range(4, 14)), [20, 21, 22]]


async def test_whoever_waits_when_it_ends_is_cancelled() -> None:
    is_running = asyncio.Event()

    async def run(_: Sequence[int]) -> list[int | Exception]:
        is_running.set()
        await asyncio.Event().wait()
        return []

    batcher = Batcher(run, limit=1)
    async with served(batcher):
        waiting = [asyncio.create_task(batcher.submit(item)) for item in (1, 2)]
        await is_running.wait()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
