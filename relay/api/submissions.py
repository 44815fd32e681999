"""Group commit of submits, and the publishing after it.

Requests that arrive while a commit is on its way share the next one: a commit of its own for each would be the limit of the
whole API. They share nothing else; if one row spoils the batch, its rows are inserted singly and only its sender hears of it.
A batch request (all or nothing) has its own transaction. Kafka is told after the commit, without waiting: what it does not
hear of, a steal finds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from relay import errors, failpoints
from relay.batch import Batcher
from relay.store import connection, locks, submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.api.call import Publisher
    from relay.store.connection import Connection, Pool
    from relay.store.submit import Inserted, NewJob

_AWAY = (
    "the database can't be reached, and whether the job was accepted is not known: "
    "send it again (with the same Idempotency-Key it is accepted once)"
)


class _Item(NamedTuple):
    job: NewJob
    actor: str


class Submissions:
    """Take jobs in. `serve` must run."""

    def __init__(self, pool: Pool, publisher: Publisher) -> None:
        self._pool = pool
        self._publisher = publisher
        self._batcher: Batcher[_Item, Inserted] = Batcher(self._insert)

    async def serve(self) -> None:
        """Commit batches until cancelled."""
        await self._batcher.serve()

    async def submit(self, job: NewJob, *, actor: str) -> Inserted:
        """Insert one job; it is committed when this returns. Raises IdempotencyKeyReused, Unavailable, InvalidSpec."""
        inserted = await self._batcher.submit(_Item(job, actor))
        if inserted.is_conflict:
            raise errors.IdempotencyKeyReused
        return inserted

    async def submit_all(self, jobs: Sequence[NewJob], *, actor: str) -> list[Inserted]:
        """Insert all of these jobs or none. Raises like `submit`, with the path of each job whose key was used before."""
        try:
            async with connection.connection(self._pool) as conn:
                async with conn.transaction():
                    inserted = await submit.insert_jobs(conn, jobs, actors=[actor] * len(jobs))
                    _refuse_conflicts(inserted)
                await self._publish(conn, inserted)
        except errors.Unavailable as error:
            raise errors.Unavailable(_AWAY, retry_after_s=1) from error
        except asyncpg.DataError as error:
            raise errors.InvalidSpec(f"the database refuses a value: {error}") from error
        return inserted

    async def _insert(self, batch: Sequence[_Item]) -> Sequence[Inserted | Exception]:
        try:
            async with connection.connection(self._pool) as conn:
                inserted = await submit.insert_jobs(
                    conn, [item.job for item in batch], actors=[item.actor for item in batch]
                )
                await self._publish(conn, inserted)
        except errors.Unavailable as error:
            raise errors.Unavailable(_AWAY, retry_after_s=1) from error
        except asyncpg.PostgresError as error:
            if len(batch) > 1:
                return [await self._insert_alone(item) for item in batch]
            raise errors.InvalidSpec(f"the database refuses a value: {error}") from error
        return inserted

    async def _insert_alone(self, item: _Item) -> Inserted | Exception:
        try:
            return (await self._insert([item]))[0]
        except errors.RelayError as error:
            return error

    async def _publish(self, conn: Connection, inserted: Sequence[Inserted]) -> None:
        """Tell Kafka what may run now. The jobs are committed: nothing here may fail their submit."""
        failpoints.hit("after_insert")
        refs = [ref for one in inserted for ref in one.refs]
        names = {name for one in inserted for name in one.locks}
        if names:
            with contextlib.suppress(*connection.OUTAGES):  # a steal finds the locks' waiters
                refs += await locks.heads(conn, sorted(names))
        if refs:
            self._publisher.publish(refs)


def _refuse_conflicts(inserted: Sequence[Inserted]) -> None:
    faults = [
        errors.Fault(f"[{n}].idempotency_key", "was used for another spec")
        for n, one in enumerate(inserted)
        if one.is_conflict
    ]
    if faults:
        raise errors.IdempotencyKeyReused(faults=faults)
