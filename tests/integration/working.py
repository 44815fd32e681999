"""A worker's side of the store, for tests that need no processes: register, claim, finish."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from relay.model import settle
from relay.model.results import Ending, Result
from relay.model.settle import Settlement
from relay.model.states import JobStatus, Outcome, Reason
from relay.store import claims, finish, workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.claims import Claimed
    from relay.store.connection import Connection
    from relay.store.finish import Chunk, Finish

OK = Settlement(JobStatus.COMPLETED, Outcome.SUCCEEDED)
DEAD = Settlement(JobStatus.DEAD, Outcome.FAILED, Reason.EXIT)
RELEASED = Settlement(JobStatus.PENDING, Outcome.RELEASED)
REFUSED = settle.refuse()


def failed(delay_s: float = 60.0) -> Settlement:
    """A failure with a retry."""
    return Settlement(JobStatus.FAILED, Outcome.FAILED, Reason.EXIT, delay_s)


async def register(conn: Connection, *queues: str) -> int:
    """Register a worker; its id."""
    return await workers.register_worker(
        conn,
        workers.NewWorker(
            host="test",
            boot_id="boot",
            pid_ns=1,
            pid=1,
            pid_start=1,
            version="0",
            queues=queues or ("default",),
            slots=4,
            lease_ttl_s=15,
        ),
    )


async def claim(conn: Connection, worker_id: int, *job_ids: int) -> list[Claimed]:
    """Claim these jobs, as far as they can be claimed."""
    return await claims.claim(conn, worker_id, [(job_id, str(uuid.uuid4())) for job_id in job_ids])


async def claim_one(conn: Connection, worker_id: int, job_id: int) -> Claimed:
    """Claim a job that can be claimed."""
    (claimed,) = await claim(conn, worker_id, job_id)
    return claimed


def end(
    claimed: Claimed,
    settlement: Settlement = OK,
    *,
    claim_id: str | None = None,
    exit_code: int = 0,
    chunks: Sequence[Chunk] = (),
    has_children: bool = False,
) -> Finish:
    """The finish of a claim; `claim_id` forges another."""
    return finish.Finish(
        job_id=claimed.job_id,
        attempt=claimed.attempt,
        claim_id=claim_id or claimed.claim_id,
        result=Result(Ending.EXITED, exit_code=exit_code),
        settlement=settlement,
        has_children=has_children,
        chunks=tuple(chunks),
    )
