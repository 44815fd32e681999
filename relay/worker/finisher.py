"""The finisher: records results in batches, for as long as it takes.

A result is kept in memory, and its lock renewed, until PostgreSQL has answered; so an outage delays results and loses none.
If one result spoils a batch, each is recorded singly, and the one that can't be is given up: the heart then reports that
claim lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from relay import errors, failpoints, log
from relay.batch import Batcher
from relay.store import finish
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Pool
    from relay.store.finish import Finish, Finished
    from relay.worker.aftermath import Aftermath

_log = log.get(__name__)
_BATCH = 500
_GATHER_S = 0.01
_RETRY_S = (0.05, 0.2, 0.5, 1.0)


class Finisher:
    """Finishes for one worker. `fenced` counts those that came too late."""

    def __init__(self, pool: Pool, aftermath: Aftermath, *, worker_id: int) -> None:
        self.fenced = 0
        self._pool = pool
        self._aftermath = aftermath
        self._worker_id = worker_id
        self._batcher: Batcher[Finish, Finished] = Batcher(self._record, limit=_BATCH, gather_s=_GATHER_S)

    async def record(self, result: Finish) -> Finished:
        """Record one result; returns once it is durable, or fenced.

        Raises asyncpg.PostgresError if PostgreSQL refuses this result for what it is.
        """
        return await self._batcher.submit(result)

    async def serve(self) -> None:
        """Record until cancelled."""
        await self._batcher.serve()

    async def _record(self, batch: Sequence[Finish]) -> Sequence[Finished | Exception]:
        try:
            recorded = await self._record_surely(batch)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            if len(batch) == 1:
                _log.exception("finish.refused", job_id=batch[0].job_id, attempt=batch[0].attempt)
                return [error]
            return [answer for each in batch for answer in await self._record([each])]
        self._pass_on(batch, recorded)
        return recorded.answers

    async def _record_surely(self, batch: Sequence[Finish]) -> finish.FinishedBatch:
        tries = 0
        while True:
            try:
                failpoints.hit("before_finish")
                async with connection(self._pool) as conn:
                    recorded = await finish.finish(conn, self._worker_id, batch)
            except errors.Unavailable as error:
                if tries == 0:
                    _log.warning("finish.postponed", jobs=len(batch), error=str(error.__cause__ or error))
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1
            else:
                failpoints.hit("after_finish")
                return recorded

    def _pass_on(self, batch: Sequence[Finish], recorded: finish.FinishedBatch) -> None:
        pairs = list(zip(batch, recorded.answers, strict=True))
        for each, answer in pairs:
            if answer.status is None:
                self.fenced += 1
                _log.info("finish.fenced", job_id=each.job_id, attempt=each.attempt)
        self._aftermath.add(
            ended=[(each.job_id, each.claim_id) for each in batch],
            changed=[each.job_id for each, answer in pairs if answer.status is not None],
            freed=[answer.lock for _, answer in pairs if answer.lock],
            due=recorded.due,
        )
