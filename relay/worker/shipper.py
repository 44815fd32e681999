"""The shipper: brings output to PostgreSQL while jobs run, so that followers see it and a dead worker loses little.

Output gathers for a moment, then one statement stores what all running attempts have written. An attempt that ends before
that carries its output in its finish instead: a short job costs no statement of its own. While PostgreSQL is away, one
batch waits here and the rest stays with its attempt, in bounded memory and then on disk; a job is never held up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, log
from relay.lease import OUTPUT
from relay.store import finish
from relay.store.connection import connection
from relay.store.finish import Chunk

if TYPE_CHECKING:
    from relay.lease import Leases
    from relay.store.connection import Pool
    from relay.worker.roster import Claim

_log = log.get(__name__)
_GATHER_S = 0.05
_BATCH_BYTES = 4 << 20
_ATTEMPT_BYTES = 1 << 20  # of one attempt in a batch, so that a flood leaves room for the others
_FINISH_BYTES = 256 << 10
_RETRY_S = 0.5


class Shipper:
    """Ships output of running attempts, all in one batch at a time."""

    def __init__(self, pool: Pool, leases: Leases) -> None:
        self._pool = pool
        self._leases = leases
        self._dirty: dict[str, Claim] = {}
        self._wake = asyncio.Event()
        self._sent = asyncio.Condition()
        self._on_its_way: frozenset[str] = frozenset()

    def mark(self, claim: Claim) -> None:
        """Note that this attempt has output to ship."""
        self._dirty[claim.facts.claim_id] = claim
        self._wake.set()

    async def serve(self) -> None:
        """Ship until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_S)
            self._wake.clear()
            batch = self._gather()
            if batch:
                await self._ship(batch)

    async def rest(self, claim: Claim) -> tuple[Chunk, ...]:
        """Ship what an ended attempt has left, but for the last piece: that is returned, for its finish to carry."""
        claim_id, output = claim.facts.claim_id, claim.output
        if output is None:
            return ()
        async with self._sent:
            while claim_id in self._on_its_way or output.pending_bytes > _FINISH_BYTES:
                if claim_id not in self._on_its_way:
                    self.mark(claim)
                await self._sent.wait()
        self._dirty.pop(claim_id, None)
        return tuple(Chunk(*record) for record in output.take(_FINISH_BYTES * 2))

    def _gather(self) -> list[tuple[int, int, str, Chunk]]:
        batch: list[tuple[int, int, str, Chunk]] = []
        size = 0
        for claim_id, claim in list(self._dirty.items()):
            if size >= _BATCH_BYTES:
                break
            del self._dirty[claim_id]
            assert claim.output is not None
            facts = claim.facts
            for record in claim.output.take(_ATTEMPT_BYTES):
                batch.append((facts.job_id, facts.attempt, claim_id, Chunk(*record)))
                size += len(record.data)
            if claim.output.pending_bytes:
                self.mark(claim)
        if self._dirty:
            self._wake.set()
        return batch

    async def _ship(self, batch: list[tuple[int, int, str, Chunk]]) -> None:
        self._on_its_way = frozenset(claim_id for _, _, claim_id, _ in batch)
        is_late = False
        while True:
            try:
                async with connection(self._pool) as conn:
                    await finish.append_output(conn, batch)
                break
            except errors.Unavailable as error:
                if not is_late:
                    _log.warning("output.postponed", chunks=len(batch), error=str(error.__cause__ or error))
                is_late = True
                await asyncio.sleep(_RETRY_S)
        async with self._sent:
            self._on_its_way = frozenset()
            self._sent.notify_all()
        await self._leases.publish_wake(OUTPUT, sorted({job_id for job_id, *_ in batch}))
