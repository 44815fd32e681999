"""The aftermath of a commit: what others should hear about jobs that have ended or come back.

After each batch of finishes: delete the locks in Redis, wake those who wait for the jobs, and pass on the named locks that
were freed: to this worker itself where it serves the waiter's queue (no message, no detour), else through Kafka. So are
jobs that come back from a dead worker, whose partitions nobody reads yet. Children and released jobs are published. All of
it is best effort and gathers while the last round is on its way: a wake-up saves a poll, and what is not published is
stolen.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from relay import errors
from relay.lease import LeaseUnavailable
from relay.store import locks
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.bus import Publisher
    from relay.lease import Leases
    from relay.model.records import JobRef
    from relay.store.connection import Pool
    from relay.store.rescue import Lost
    from relay.worker.claimer import Claimer


class Aftermath:
    """Gathers ended claims, changed jobs, freed named locks and due jobs, and passes them on in rounds."""

    def __init__(self, pool: Pool, leases: Leases, publisher: Publisher, *, queues: Iterable[str]) -> None:
        self._pool = pool
        self._leases = leases
        self._publisher = publisher
        self._queues = frozenset(queues)
        self._ended: list[tuple[int, str]] = []
        self._changed: list[int] = []
        self._freed: list[str] = []
        self._due: list[JobRef] = []
        self._wake = asyncio.Event()
        self.claimer: Claimer | None = None

    def add(
        self,
        *,
        ended: Sequence[tuple[int, str]] = (),
        changed: Iterable[int] = (),
        freed: Iterable[str] = (),
        due: Iterable[JobRef] = (),
    ) -> None:
        """Note pairs whose lock in Redis can go, ids of changed jobs, names of freed locks, and jobs that may be claimed."""
        self._ended += ended
        self._changed += changed
        self._freed += freed
        self._due += due
        self._wake.set()

    def add_lost(self, lost: Lost) -> None:
        """Note attempts that were recorded as lost."""
        self.add(ended=lost.pairs, changed=lost.job_ids, freed=lost.freed_locks, due=lost.due)

    async def serve(self) -> None:
        """Pass on until cancelled."""
        while True:
            await self._wake.wait()
            await self.round()

    async def round(self) -> None:
        """Pass on what has gathered."""
        self._wake.clear()
        ended, self._ended = self._ended, []
        changed, self._changed = self._changed, []
        freed, self._freed = self._freed, []
        due, self._due = self._due, []
        back = {job_id for job_id, _ in ended} if due or freed else set()
        if freed:
            due += await self._hand_on(freed, back)
        if due:
            self._publisher.publish([ref for ref in due if ref.id not in back])
        if ended or changed:
            with contextlib.suppress(LeaseUnavailable):  # locks end with their TTL, waiters look by themselves
                await self._leases.release(ended, changed=changed)
        # A job that comes back is found locked as long as its old claim's lock stands, and then waits to be stolen.
        again = [ref for ref in due if ref.id in back]
        if again:
            self._publisher.publish(self._keep(again))

    async def _hand_on(self, freed: Sequence[str], back: Collection[int]) -> list[JobRef]:
        """Find who is next for these named locks; keep those of own queues while there is room, return the others.

        Those that come `back` themselves are returned too: their claim's own lock still stands.
        """
        try:
            async with connection(self._pool) as conn:
                heads = await locks.heads(conn, sorted(set(freed)))
        except errors.Unavailable:
            return []
        others = self._keep([head for head in heads if head.id not in back])
        return [*others, *(head for head in heads if head.id in back)]

    def _keep(self, refs: Sequence[JobRef]) -> list[JobRef]:
        """Have this worker claim those of its own queues, while there is room; return the others."""
        if self.claimer is None:
            return list(refs)
        own = [ref for ref in refs if ref.queue in self._queues][: self.claimer.room]
        self.claimer.want([ref.id for ref in own], is_first=True)
        return [ref for ref in refs if ref not in own]
