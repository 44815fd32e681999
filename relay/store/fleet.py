"""The workers as an operator sees and steers them; what workers do themselves is in `workers`.

A drain is a request: the worker reads it with its next heartbeat. `running` and `seen_at` are of the last heartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay import errors
from relay.model.records import Worker
from relay.store import queries, rows

if TYPE_CHECKING:
    from relay.store.connection import Connection, Record


async def list_workers(conn: Connection) -> list[Worker]:
    """List all workers that have a row, oldest first: those that run, and lost ones until they are forgotten."""
    return [_worker(row) for row in await conn.fetch(queries.text("list_workers"))]


async def request_drain(conn: Connection, worker_id: int, *, actor: str) -> Worker:
    """Ask a worker to take no more jobs and to end when its last one has. Idempotent.

    Raises NotFound, and Conflict for a lost one: nobody would read the request.
    """
    row = await conn.fetchrow(queries.text("request_drain"), rows.row_id(worker_id), actor)
    if row is None:
        raise errors.NotFound(f"there is no worker {worker_id}")
    if row["state"] == "lost":
        raise errors.Conflict(f"worker {worker_id} is lost: it has stopped answering, and has nothing left to drain")
    return _worker(row)


def _worker(row: Record) -> Worker:
    return Worker(
        id=row["id"],
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        queues=row["queues"],
        slots=row["slots"],
        running=row["running"],
        seen_at=row["seen_at"],
        state=row["state"],
    )
