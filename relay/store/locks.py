"""Named locks: the mutex that a spec asks for with `lock`, kept in PostgreSQL.

There is no lock row to take: a lock is held while a job with its name is RUNNING, and a unique index allows one. A waiter
is a PENDING job that no message was sent for. Whoever frees a lock (finish, rescue, cancel) or adds a waiter asks `heads`
after its commit, and publishes or runs what it returns; asking before the commit would miss a waiter that came between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.model.records import JobRef
from relay.model.states import Lane
from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Connection


async def heads(conn: Connection, names: Sequence[str]) -> list[JobRef]:
    """Return the first due waiter of each of these locks that is free, one per queue, by lane and id."""
    if not names:
        return []
    return [
        JobRef(row["id"], row["queue"], Lane(row["lane"]))
        for row in await conn.fetch(queries.text("heads"), list(names))
    ]
