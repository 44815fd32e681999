"""What falls due: retries and delays are dispatched, jobs that were never started in time expire.

All waiting is in PostgreSQL (`run_at`, `expires_at`), never in a sleeping task, so nothing is forgotten by a restart. Each
step takes a batch under SKIP LOCKED and may run in any number of processes at once. Publishing is the caller's, after
the commit: what it fails to publish is stolen later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.model.records import JobRef
from relay.model.states import JobStatus, Lane
from relay.store import children, queries

if TYPE_CHECKING:
    from relay.store.connection import Connection, Record

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Due:
    """One batch. `jobs` are all whose state changed; `refs` are to publish after the commit, as are the heads of `locks`."""

    jobs: tuple[int, ...] = ()
    refs: tuple[JobRef, ...] = ()
    locks: tuple[str, ...] = ()


async def dispatch_due(conn: Connection, *, overdue_s: float = 0.0, limit: int = BATCH) -> Due:
    """Make at most `limit` jobs claimable that have been due for `overdue_s`: FAILED become PENDING, delayed dispatched."""
    rows = await conn.fetch(queries.text("dispatch_due"), overdue_s, limit)
    refs = tuple(JobRef(row["id"], row["queue"], Lane(row["lane"])) for row in rows if row["lock"] is None)
    return Due(tuple(row["id"] for row in rows), refs, _lock_names(rows))


async def expire_due(conn: Connection, *, limit: int = BATCH) -> Due:
    """End at most `limit` jobs that were not started by their `expires_at`, and insert their on_failure children."""
    async with conn.transaction():
        rows = await expire_jobs(conn, limit)
        ended = [children.Ended(row["id"], row["round"], JobStatus.DEAD) for row in rows if row["has_children"]]
        refs = await children.create_children(conn, ended) if ended else []
    return Due(tuple(row["id"] for row in rows), tuple(refs), _lock_names(rows))


async def expire_jobs(conn: Connection, limit: int) -> list[Record]:
    """End the jobs alone; for `expire_due`, which adds their children."""
    return await conn.fetch(queries.text("expire_jobs"), limit)


def _lock_names(rows: list[Record]) -> tuple[str, ...]:
    return tuple(sorted({row["lock"] for row in rows if row["lock"] is not None}))
