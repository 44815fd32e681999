"""What a list of jobs is narrowed to, and how its statements are planned.

One statement serves every combination of filters, with null for "any". Planned once for all it would read whole tables, so
each call is planned for its own values: that costs 0.5 ms and gets each combination its own index. Times become bounds
on the id first, since ids and creation times grow together: so pages of long ago cost no more than today's.
Only running jobs are indexed by worker: a worker's other jobs are looked for from the newest downwards.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.model.states import JobStatus
from relay.store import queries
from relay.store.rows import MAX_ID, row_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from relay.store.connection import Connection

# An id is drawn at most one statement (30 s) before its created_at is taken; the rest is for a clock that was set back.
MARGIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What jobs must match, all of it. Empty and None: any. Times exclude the moment itself."""

    statuses: tuple[JobStatus, ...] = ()
    queues: tuple[str, ...] = ()
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    parent_id: int | None = None
    worker_id: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@asynccontextmanager
async def planned(conn: Connection) -> AsyncIterator[None]:
    """Open a transaction whose statements are planned for their values."""
    async with conn.transaction():
        await plan_for_values(conn)
        yield


async def plan_for_values(conn: Connection) -> None:
    """Have the rest of the transaction planned for its values."""
    await conn.fetchrow(queries.text("plan_for_values"))


async def arguments(conn: Connection, filters: Filters, *, before_id: int | None) -> tuple[object, ...]:
    """Make the arguments that all statements with filters begin with; `before_id` excludes that id and later ones."""
    first, before = 0, MAX_ID if before_id is None else min(max(before_id, 0), MAX_ID)
    if filters.created_after is not None:
        first = await find_first_id(conn, filters.created_after - MARGIN)
    if filters.created_before is not None:
        before = min(before, await find_first_id(conn, filters.created_before + MARGIN))
    is_live = bool(filters.statuses) and JobStatus.COMPLETED not in filters.statuses
    queues_wanted = list(filters.queues) or None
    return (
        [status.value for status in filters.statuses] or None,
        queues_wanted if is_live else None,
        None if is_live else queues_wanted,
        filters.name,
        json.dumps(dict(filters.labels)) if filters.labels else None,
        None if filters.parent_id is None else row_id(filters.parent_id),
        None if filters.worker_id is None else row_id(filters.worker_id),
        filters.created_after,
        filters.created_before,
        first,
        before,
    )


async def find_first_id(conn: Connection, created_at: datetime) -> int:
    """Return an id below which all jobs are older than this; MAX_ID when there are no jobs."""
    first_id: int | None = await conn.fetchval(queries.text("find_first_id"), created_at)
    return MAX_ID if first_id is None else first_id
