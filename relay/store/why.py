"""All that says why one job is where it is, in one read.

The facts are of one moment; the sentence made of them (`relay.api.why`) can be overtaken by the next. Whether a worker listens
is judged by its last heartbeat on the database's clock: good enough to tell a person, never used to take a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.model.states import JobStatus, Outcome, Reason
from relay.store import queries, rows

if TYPE_CHECKING:
    from datetime import datetime

    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """One job's own state, its last attempt and worker, who holds its lock, who listens to its queue, what waits before it.

    Counts of what waits stop at 10,000. `running` counts jobs on the listening workers' `slots`.
    """

    id: int
    queue: str
    status: JobStatus
    reason: Reason | None
    dispatched: bool
    run_at: datetime
    expires_at: datetime | None
    attempt: int
    max_retries: int
    retries_used: int
    lock: str | None
    worker_id: int | None
    cancel_requested_at: datetime | None
    finished_at: datetime | None
    now: datetime
    attempt_started_at: datetime | None
    outcome: Outcome | None
    exit_code: int | None
    signal: str | None
    broken_limit: str | None
    error: str | None
    worker_host: str | None
    worker_state: str | None
    worker_seen_at: datetime | None
    is_worker_silent: bool
    holder_id: int | None
    holder_started_at: datetime | None
    listening: int
    slots: int
    running: int
    ahead: int
    ahead_for_lock: int


async def get_circumstances(conn: Connection, job_id: int) -> Circumstances | None:
    """Read them; None: there is no such job."""
    row = await conn.fetchrow(queries.text("get_circumstances"), rows.row_id(job_id))
    if row is None:
        return None
    facts = dict(row)
    facts["status"] = JobStatus(row["status"])
    facts["reason"] = Reason(row["reason"]) if row["reason"] else None
    facts["outcome"] = Outcome(row["outcome"]) if row["outcome"] else None
    return Circumstances(**facts)
