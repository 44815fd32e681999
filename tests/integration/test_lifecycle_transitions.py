"""Every pair of states: the legal ones are reached by some call of the store, the illegal ones by none.

For each pair all calls that could lead to the second state are made on a job in the first one, as late workers, hasty users
and maintenance would make them. A refused call changes nothing: neither the job, nor its attempts, nor its children.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import pytest

from relay import errors
from relay.model.settle import Settlement
from relay.model.states import JobStatus, Outcome, is_legal
from relay.store import claims, due, finish, jobs, rescue
from tests.integration import seeding, working

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.store.claims import Claimed
    from relay.store.connection import Connection

Call: TypeAlias = "Callable[[Connection, int, Claimed], Awaitable[object]]"

CANCELLED = Settlement(JobStatus.CANCELLED, Outcome.CANCELLED)
EVERYTHING = """
SELECT (SELECT json_agg(jobs ORDER BY id)::text FROM jobs) AS jobs,
       (SELECT json_agg(attempts ORDER BY job_id, attempt)::text FROM attempts) AS attempts"""


def finish_as(settlement: Settlement) -> Call:
    """Record the job's last claim as ended so."""

    async def call(conn: Connection, worker_id: int, claimed: Claimed) -> None:
        await finish.finish(conn, worker_id, [working.end(claimed, settlement, has_children=True)])

    return call


async def claim(conn: Connection, worker_id: int, claimed: Claimed) -> None:
    await working.claim(conn, worker_id, claimed.job_id)


async def lose(conn: Connection, _worker_id: int, claimed: Claimed) -> None:
    await rescue.lose_attempts(conn, [rescue.LostClaim(claimed.job_id, claimed.claim_id)])


async def cancel(conn: Connection, _worker_id: int, claimed: Claimed) -> None:
    with suppress(errors.Conflict):
        await jobs.cancel_job(conn, claimed.job_id, actor=seeding.ACTOR)


async def retry(conn: Connection, _worker_id: int, claimed: Claimed) -> None:
    with suppress(errors.Conflict):
        await jobs.retry_job(conn, claimed.job_id, actor=seeding.ACTOR)


async def dispatch(conn: Connection, _worker_id: int, _claimed: Claimed) -> None:
    await due.dispatch_due(conn)


async def expire(conn: Connection, _worker_id: int, _claimed: Claimed) -> None:
    await due.expire_due(conn)


CALLS: dict[JobStatus, tuple[Call, ...]] = {
    JobStatus.PENDING: (finish_as(working.RELEASED), lose, dispatch, retry),
    JobStatus.RUNNING: (claim,),
    JobStatus.FAILED: (finish_as(working.failed()),),
    JobStatus.COMPLETED: (finish_as(working.OK),),
    JobStatus.DEAD: (finish_as(working.DEAD), lose, expire),
    JobStatus.CANCELLED: (cancel, finish_as(CANCELLED)),
}
ENDS = {
    JobStatus.FAILED: working.failed(),
    JobStatus.COMPLETED: working.OK,
    JobStatus.DEAD: working.DEAD,
    JobStatus.CANCELLED: CANCELLED,
}


async def bring(conn: Connection, worker_id: int, before: JobStatus, *, on_worker_lost: str) -> Claimed:
    """A job in this state, due and past its expiry, with the claim that it has or had; a PENDING one's is forged."""
    job_id = await seeding.insert_one(conn, max_retries=1, on_worker_lost=on_worker_lost, on_failure=seeding.TRUE)
    if before is JobStatus.PENDING:
        claimed = claims.Claimed(job_id, "default", 1, 1, str(uuid.uuid4()), 0, None, "{}", None, None, None, None)
    else:
        claimed = await working.claim_one(conn, worker_id, job_id)
    if before in ENDS:
        await finish_as(ENDS[before])(conn, worker_id, claimed)
    await conn.execute("UPDATE jobs SET run_at = now() - interval '1 h' WHERE id = $1", job_id)
    return claimed


async def tried(conn: Connection, call: Call, before: JobStatus, after: JobStatus) -> tuple[JobStatus, bool]:
    """Make one call on a fresh job; the state that it is in then, and whether anything has changed."""
    worker_id = await working.register(conn)
    on_worker_lost = "fail" if after is JobStatus.DEAD else "retry"
    claimed = await bring(conn, worker_id, before, on_worker_lost=on_worker_lost)
    if call is expire:
        await conn.execute("UPDATE jobs SET expires_at = now() WHERE id = $1", claimed.job_id)
    old = await conn.fetchrow(EVERYTHING)
    await call(conn, worker_id, claimed)
    status = JobStatus(await conn.fetchval("SELECT status FROM jobs WHERE id = $1", claimed.job_id))
    return status, await conn.fetchrow(EVERYTHING) != old


@pytest.mark.parametrize("after", JobStatus)
@pytest.mark.parametrize("before", JobStatus)
async def test_only_legal_transitions_happen(conn: Connection, before: JobStatus, after: JobStatus) -> None:
    reached = [await tried(conn, call, before, after) for call in CALLS[after]]

    if is_legal(before, after):
        assert (after, True) in reached
        assert {status for status, _ in reached} <= {before, after}
    else:
        assert reached == [(before, False)] * len(CALLS[after])
