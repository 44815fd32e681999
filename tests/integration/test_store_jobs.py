"""Jobs: what changes them, from which states, and what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay import errors
from relay.model.records import JobRef
from relay.model.states import JobStatus, Lane, Outcome
from relay.store import jobs
from tests.integration import seeding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.store.connection import Connection

BEYOND_BIGINT = 10**30
ACTOR = "token:9"


async def job_in(conn: Connection, status: str, **spec: object) -> int:
    """A job in this state."""
    job_id = await seeding.insert_one(conn, **spec)
    if status == "RUNNING":
        await seeding.start(conn, job_id)
    elif status == "CANCELLED":
        await jobs.cancel_job(conn, job_id, actor=seeding.ACTOR)
    elif status != "PENDING":
        await seeding.run(conn, job_id, status, exit_code=1)
    return job_id


@pytest.mark.parametrize("job_id", [0, -1, 2**63 - 1, BEYOND_BIGINT])
async def test_an_id_without_a_job_is_not_found(conn: Connection, job_id: int) -> None:
    assert await jobs.get_job(conn, job_id) is None
    assert await jobs.list_tree(conn, job_id) is None
    assert await jobs.list_attempts(conn, job_id) == []
    assert await jobs.list_states(conn, [job_id]) == {}
    assert await jobs.get_jobs(conn, [job_id]) == {}
    for change in (jobs.cancel_job, jobs.retry_job, jobs.delete_job):
        with pytest.raises(errors.NotFound):
            await change(conn, job_id, actor=ACTOR)


async def test_attempts_are_listed_in_order(conn: Connection) -> None:
    job_id = await job_in(conn, "FAILED")
    await conn.execute("UPDATE jobs SET status = 'PENDING', reason = NULL")
    await seeding.start(conn, job_id)

    first, second = await jobs.list_attempts(conn, job_id)

    assert (first.attempt, first.outcome, first.exit_code) == (1, Outcome.FAILED, 1)
    assert (second.attempt, second.outcome, second.worker_id) == (2, None, 7)


@pytest.mark.parametrize("status", ["PENDING", "FAILED"])
async def test_a_job_that_does_not_run_is_cancelled_at_once(conn: Connection, status: str) -> None:
    job_id = await job_in(conn, status)

    changed = await jobs.cancel_job(conn, job_id, actor=ACTOR)

    assert changed.job.status is JobStatus.CANCELLED
    assert changed.job.reason is None
    assert changed.job.finished_at is not None
    assert (await seeding.audited(conn, job_id))[-1] == (ACTOR, "job.cancel")


async def test_a_running_job_is_asked_to_cancel_and_the_first_request_stands(conn: Connection) -> None:
    job_id = await job_in(conn, "RUNNING")

    first = await jobs.cancel_job(conn, job_id, actor=ACTOR)
    second = await jobs.cancel_job(conn, job_id, actor=ACTOR)

    assert first.job.status is JobStatus.RUNNING
    assert first.job.cancel_requested_at is not None
    assert second.job == first.job
    assert (await seeding.audited(conn, job_id)).count((ACTOR, "job.cancel")) == 1
    assert (await jobs.list_states(conn, [job_id]))[job_id].is_cancel_requested


async def test_cancelling_a_cancelled_job_changes_nothing(conn: Connection) -> None:
    job_id = await job_in(conn, "CANCELLED")
    before = await jobs.get_job(conn, job_id)

    changed = await jobs.cancel_job(conn, job_id, actor=ACTOR)

    assert changed.job == before
    assert (ACTOR, "job.cancel") not in await seeding.audited(conn, job_id)


@pytest.mark.parametrize("status", ["COMPLETED", "DEAD"])
async def test_an_ended_job_cannot_be_cancelled_and_the_refusal_says_its_state(conn: Connection, status: str) -> None:
    job_id = await job_in(conn, status)

    with pytest.raises(errors.Conflict, match=status):
        await jobs.cancel_job(conn, job_id, actor=ACTOR)


async def test_cancelling_a_waiter_frees_its_place_in_the_line_for_the_lock(conn: Connection) -> None:
    job_id = await job_in(conn, "PENDING", lock="db")

    assert (await jobs.cancel_job(conn, job_id, actor=ACTOR)).locks == ("db",)


@pytest.mark.parametrize("status", ["DEAD", "FAILED", "CANCELLED"])
async def test_a_retry_starts_a_fresh_round(conn: Connection, status: str) -> None:
    job_id = await job_in(conn, status, expires_at="2100-01-01T00:00:00Z", priority="high")
    await conn.execute("UPDATE jobs SET retries_used = 2")
    attempts = await jobs.list_attempts(conn, job_id)

    changed = await jobs.retry_job(conn, job_id, actor=ACTOR)

    job = changed.job
    assert (job.status, job.reason, job.round, job.retries_used) == (JobStatus.PENDING, None, 1, 0)
    assert (job.finished_at, job.expires_at, job.cancel_requested_at) == (None, None, None)
    assert job.dispatched
    assert changed.refs == (JobRef(job_id, "default", Lane.HIGH),)
    assert await jobs.list_attempts(conn, job_id) == attempts
    assert (await seeding.audited(conn, job_id))[-1] == (ACTOR, "job.retry")


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "COMPLETED"])
async def test_a_retry_of_any_other_state_is_refused_with_that_state(conn: Connection, status: str) -> None:
    job_id = await job_in(conn, status)

    with pytest.raises(errors.Conflict, match=status):
        await jobs.retry_job(conn, job_id, actor=ACTOR)

    job = await jobs.get_job(conn, job_id)
    assert job is not None
    assert (job.status, job.round) == (status, 0)


async def test_a_retried_job_with_a_named_lock_gets_in_line_again(conn: Connection) -> None:
    job_id = await job_in(conn, "DEAD", lock="db")
    await conn.execute("DELETE FROM named_locks")

    changed = await jobs.retry_job(conn, job_id, actor=ACTOR)

    assert (changed.refs, changed.locks, changed.job.dispatched) == ((), ("db",), False)
    assert await conn.fetchval("SELECT array_agg(name) FROM named_locks") == ["db"]


async def test_of_two_concurrent_retries_one_is_refused(conn: Connection, db: str) -> None:
    job_id = await job_in(conn, "DEAD")
    other = await asyncpg.connect(db)
    try:
        answers = await asyncio.gather(
            *(jobs.retry_job(one, job_id, actor=ACTOR) for one in (conn, other)), return_exceptions=True
        )
    finally:
        await other.close()

    assert sorted(type(answer).__name__ for answer in answers) == ["Changed", "Conflict"]
    assert await conn.fetchval("SELECT round FROM jobs") == 1


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (jobs.retry_job, "DEAD", "PENDING"),
        (jobs.retry_job, "FAILED", "PENDING"),
        (jobs.cancel_job, "FAILED", "CANCELLED"),
    ],
)
async def test_a_change_that_waited_for_the_row_goes_by_its_new_state(
    conn: Connection, db: str, change: Callable[..., Awaitable[jobs.Changed]], before: str, after: str
) -> None:
    """The statement's snapshot is older than the lock it waited for; the decision must not be."""
    job_id = await job_in(conn, "RUNNING")
    other = await asyncpg.connect(db)
    transaction = other.transaction()
    await transaction.start()
    await seeding.end(other, job_id, before)
    waiting = asyncio.ensure_future(change(conn, job_id, actor=ACTOR))
    await asyncio.wait([waiting], timeout=0.05)

    await transaction.commit()

    assert (await waiting).job.status == after
    await other.close()


@pytest.mark.parametrize("status", ["COMPLETED", "DEAD", "CANCELLED"])
async def test_deleting_a_terminal_job_leaves_only_its_audit(conn: Connection, status: str) -> None:
    job_id = await seeding.insert_one(conn)
    await conn.execute("INSERT INTO idempotency_keys VALUES ('k', $1, '')", job_id)
    await seeding.start(conn, job_id)
    await conn.execute(
        "INSERT INTO output SELECT output_day, job_id, attempt, 1, 1, now(), 'x' FROM attempts WHERE job_id = $1",
        job_id,
    )
    await seeding.end(conn, job_id, status)
    kept = await job_in(conn, "COMPLETED")

    await jobs.delete_job(conn, job_id, actor=ACTOR)

    left = [
        await conn.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("jobs", "job_specs", "attempts", "output", "idempotency_keys")
    ]
    assert left == [1, 1, 1, 0, 0]
    assert await jobs.get_job(conn, kept) is not None
    assert await seeding.audited(conn, job_id) == [(seeding.ACTOR, "job.submit"), (ACTOR, "job.delete")]


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "FAILED"])
async def test_a_job_that_has_not_ended_cannot_be_deleted(conn: Connection, status: str) -> None:
    job_id = await job_in(conn, status)

    with pytest.raises(errors.Conflict, match=status):
        await jobs.delete_job(conn, job_id, actor=ACTOR)

    assert await jobs.get_job(conn, job_id) is not None


async def insert_child(conn: Connection, parent_id: int, *, index: int) -> int:
    job_id = await seeding.insert_one(conn)
    await conn.execute(
        "UPDATE jobs SET parent_id = $2, parent_edge = 'on_success', edge_index = $3, parent_round = 0 WHERE id = $1",
        job_id,
        parent_id,
        index,
    )
    return job_id


async def test_the_tree_of_any_member_is_the_whole_chain(conn: Connection) -> None:
    root = await seeding.insert_one(conn)
    left, right = await insert_child(conn, root, index=0), await insert_child(conn, root, index=1)
    leaf = await insert_child(conn, right, index=0)
    await seeding.insert_one(conn)

    trees = [await jobs.list_tree(conn, member) for member in (root, left, right, leaf)]

    def shape(tree: jobs.Tree) -> tuple[int, list[object]]:
        return tree.job.id, [shape(child) for child in tree.children]

    assert [shape(tree) for tree in trees if tree] == [(root, [(left, []), (right, [(leaf, [])])])] * 4


async def test_a_tree_whose_root_was_deleted_begins_below_it(conn: Connection) -> None:
    root = await job_in(conn, "COMPLETED")
    child = await insert_child(conn, root, index=0)
    leaf = await insert_child(conn, child, index=0)
    await jobs.delete_job(conn, root, actor=ACTOR)

    tree = await jobs.list_tree(conn, leaf)

    assert tree is not None
    assert (tree.job.id, [below.job.id for below in tree.children]) == (child, [leaf])
