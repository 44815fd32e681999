"""Workers: their rows, heartbeats, and what PostgreSQL believes that each one runs.

A worker id is fresh at each start, so a row stands for one process's life. `hb_seq` only grows; rescue watches it for
silence and names it in its write. The list of running claims is read after the beat has committed: what it shows may be
newer than the beat, never older, and the reader discounts claims that were in flight meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class NewWorker:
    """What identifies a worker's process: host, kernel boot, pid namespace, pid and its start time (clock ticks)."""

    host: str
    boot_id: str
    pid_ns: int
    pid: int
    pid_start: int
    version: str
    queues: tuple[str, ...]
    slots: int
    lease_ttl_s: float


@dataclass(frozen=True, slots=True)
class RunningClaim:
    """A claim that PostgreSQL counts as this worker's."""

    job_id: int
    claim_id: str
    is_cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    is_drain_requested: bool


async def register_worker(conn: Connection, worker: NewWorker) -> int:
    """Insert a worker's row and return its id."""
    worker_id: int = await conn.fetchval(
        queries.text("register_worker"),
        worker.host,
        worker.boot_id,
        worker.pid_ns,
        worker.pid,
        worker.pid_start,
        worker.version,
        list(worker.queues),
        worker.slots,
        worker.lease_ttl_s,
    )
    return worker_id


async def beat(conn: Connection, worker_id: int, *, running: int, is_draining: bool) -> Beat | None:
    """Beat once. None: the row is gone, and this worker must start anew."""
    row = await conn.fetchrow(queries.text("beat"), worker_id, running, is_draining)
    return Beat(row["is_drain_requested"]) if row else None


async def list_running_claims(conn: Connection, worker_id: int) -> list[RunningClaim]:
    """Return the claims that PostgreSQL counts as this worker's."""
    rows = await conn.fetch(queries.text("list_running_claims"), worker_id)
    return [RunningClaim(row["id"], str(row["claim_id"]), row["is_cancel_requested"]) for row in rows]


async def list_cancelled_claims(conn: Connection, worker_id: int, job_ids: Sequence[int]) -> list[str]:
    """Return the claim ids, among this worker's `job_ids`, whose cancellation was asked for."""
    rows = await conn.fetch(queries.text("list_cancelled_claims"), worker_id, list(job_ids))
    return [str(row["claim_id"]) for row in rows]


async def remove_worker(conn: Connection, worker_id: int) -> bool:
    """Forget a worker that has stopped. False: attempts of it are still open, and its row stays for rescue."""
    return await conn.fetchval(queries.text("remove_worker"), worker_id) is not None
