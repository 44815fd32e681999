"""Dead letters in bulk: count, send round again, or delete all that match.

A million rows in one transaction would hold locks and bloat the tables for its whole length, so the work goes in chunks of
`CHUNK` jobs from the newest to the oldest, each committed by itself. An interrupted call has done some chunks; calling
it again does the rest. A job that dies while the call runs is not met again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.model.states import JobStatus
from relay.store import filters, jobs, queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.connection import Connection
    from relay.store.filters import Filters
    from relay.store.jobs import Retried

CHUNK: Final = 1000
DEAD: Final = (JobStatus.DEAD,)


async def count_dead(conn: Connection, wanted: Filters) -> int:
    """Count the dead letters that match: what a dry run answers."""
    async with filters.planned(conn):
        return await count_matching_jobs(conn, _dead(wanted))


async def retry_dead(conn: Connection, wanted: Filters, *, actor: str) -> AsyncIterator[list[Retried]]:
    """Send all that match round again; yield each chunk after its commit, for the caller to publish."""
    async for chunk in _chunks(conn, wanted):
        tried = await jobs.retry_jobs(conn, chunk, statuses=DEAD, actor=actor)
        yield [job for job in tried if job.is_retried]


async def purge_dead(conn: Connection, wanted: Filters, *, actor: str) -> AsyncIterator[int]:
    """Delete all that match; yield how many each chunk deleted."""
    async for chunk in _chunks(conn, wanted):
        left = await jobs.delete_jobs(conn, chunk, statuses=DEAD, actor=actor)
        yield sum(status is None for status in left.values())


async def _chunks(conn: Connection, wanted: Filters) -> AsyncIterator[list[int]]:
    before_id: int | None = None
    while True:
        async with filters.planned(conn):
            chunk = await list_job_ids(conn, _dead(wanted), limit=CHUNK, before_id=before_id)
        if not chunk:
            return
        yield chunk
        before_id = chunk[-1]


def _dead(wanted: Filters) -> Filters:
    return replace(wanted, statuses=DEAD)


async def list_job_ids(conn: Connection, wanted: Filters, *, limit: int, before_id: int | None) -> list[int]:
    """List the newest ids that match, below `before_id`; in a transaction that is planned for its values."""
    arguments = await filters.arguments(conn, wanted, before_id=before_id)
    return [row["id"] for row in await conn.fetch(queries.text("list_job_ids"), *arguments, limit)]


async def count_matching_jobs(conn: Connection, wanted: Filters) -> int:
    """Count the jobs that match; in a transaction that is planned for its values."""
    arguments = await filters.arguments(conn, wanted, before_id=None)
    count: int = await conn.fetchval(queries.text("count_matching_jobs"), *arguments)
    return count
