"""Puts jobs into the states that tests of the store begin with.

Where Relay has a statement for it, that is used; what a worker would do is written by hand, so that these tests need none.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from relay.model.spec import parse_spec
from relay.store import submit

if TYPE_CHECKING:
    from relay.store.connection import Connection
    from relay.store.submit import Inserted, NewJob

ACTOR = "token:1"
TRUE = {"payload": {"command": "/bin/true"}}


def new_job(key: str | None = None, **spec: Any) -> NewJob:
    """A job to insert, of a spec that is /bin/true unless told otherwise."""
    parsed = parse_spec(TRUE | spec)
    return submit.NewJob(
        parsed, parsed.normalised_json(), parsed.delay, key=key, fingerprint=parsed.fingerprint() if key else None
    )


async def insert(conn: Connection, *jobs: NewJob) -> list[Inserted]:
    """Insert jobs for the usual actor."""
    return await submit.insert_jobs(conn, jobs, actors=[ACTOR] * len(jobs))


async def insert_one(conn: Connection, **spec: Any) -> int:
    """Insert one job; its id."""
    return (await insert(conn, new_job(**spec)))[0].id


async def start(conn: Connection, job_id: int, *, worker_id: int = 7) -> int:
    """Have a worker claim the job; the number of the attempt."""
    claim_id = uuid.uuid4()
    attempt: int = await conn.fetchval(
        """UPDATE jobs SET status = 'RUNNING', attempt = attempt + 1, claim_id = $2, worker_id = $3,
                  started_at = coalesce(started_at, clock_timestamp())
            WHERE id = $1 RETURNING attempt""",
        job_id,
        claim_id,
        worker_id,
    )
    await conn.execute(
        "INSERT INTO attempts (job_id, attempt, claim_id, round, worker_id) SELECT id, $2, $3, round, $4 FROM jobs WHERE id = $1",
        job_id,
        attempt,
        claim_id,
        worker_id,
    )
    return attempt


async def end(conn: Connection, job_id: int, status: str, *, exit_code: int = 0) -> None:
    """Have the job's running attempt end it in this state."""
    reason = "exit" if status in {"FAILED", "DEAD"} else None
    await conn.execute(
        """UPDATE attempts SET outcome = CASE WHEN $2 = 'COMPLETED' THEN 'succeeded' ELSE 'failed' END, reason = $3,
                  exit_code = $4, finished_at = clock_timestamp()
            WHERE job_id = $1 AND outcome IS NULL""",
        job_id,
        status,
        reason,
        exit_code,
    )
    await conn.execute(
        """UPDATE jobs SET status = $2, reason = $3, claim_id = NULL, dispatched = $2 <> 'FAILED',
                  finished_at = CASE WHEN $2 <> 'FAILED' THEN clock_timestamp() END
            WHERE id = $1""",
        job_id,
        status,
        reason,
    )


async def run(conn: Connection, job_id: int, status: str, *, exit_code: int = 0) -> None:
    """Have the job run once and end in this state."""
    await start(conn, job_id)
    await end(conn, job_id, status, exit_code=exit_code)


async def audited(conn: Connection, job_id: int) -> list[tuple[str, str]]:
    """Actor and action of the job's audit rows, in order."""
    rows = await conn.fetch("SELECT actor, action FROM audit WHERE job_id = $1 ORDER BY id", job_id)
    return [(row["actor"], row["action"]) for row in rows]
