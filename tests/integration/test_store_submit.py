"""Submit: what is inserted, what is answered, and what an idempotency key does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay.model.records import JobRef
from relay.model.states import JobStatus, Lane, Reason
from relay.store import jobs, submit
from tests.integration import seeding

if TYPE_CHECKING:
    from relay.store.connection import Connection

PAST = "2020-01-01T00:00:00Z"


async def test_a_job_is_stored_as_it_was_answered(conn: Connection) -> None:
    new = seeding.new_job(
        queue="gpu", priority="high", labels={"team": "x", "ä": "ö"}, on_success=seeding.TRUE, on_worker_lost="fail"
    )

    (inserted,) = await seeding.insert(conn, new)

    stored = await jobs.get_job(conn, inserted.id)
    assert stored is not None
    assert submit.as_job(new, inserted).as_json() == stored.as_json()
    assert stored.labels == {"team": "x", "ä": "ö"}
    assert await conn.fetchval("SELECT has_children AND fail_on_loss FROM jobs")


async def test_answers_come_in_the_order_of_the_jobs(conn: Connection) -> None:
    inserted = await seeding.insert(conn, *(seeding.new_job(name=f"n{n}") for n in range(500)))

    names = {row["job_id"]: row["name"] for row in await conn.fetch("SELECT job_id, name FROM job_specs")}
    assert [names[one.id] for one in inserted] == [f"n{n}" for n in range(500)]


async def test_a_job_that_is_due_is_answered_for_publishing(conn: Connection) -> None:
    (inserted,) = await seeding.insert(conn, seeding.new_job(queue="gpu", priority="low"))

    assert inserted.refs == (JobRef(inserted.id, "gpu", Lane.LOW),)
    assert await conn.fetchval("SELECT dispatched FROM jobs") is True


async def test_a_delayed_job_waits_undispatched(conn: Connection) -> None:
    (inserted,) = await seeding.insert(conn, seeding.new_job(delay="1h"))

    assert inserted.refs == ()
    assert inserted.run_at is not None
    assert inserted.created_at is not None
    assert inserted.run_at - inserted.created_at == timedelta(hours=1)
    assert await conn.fetchval("SELECT dispatched FROM jobs") is False


async def test_a_job_of_a_later_time_waits_undispatched(conn: Connection) -> None:
    (inserted,) = await seeding.insert(conn, seeding.new_job(run_at="2100-01-01T00:00:00Z"))

    assert (inserted.refs, inserted.run_at) == ((), datetime(2100, 1, 1, tzinfo=UTC))
    assert await conn.fetchval("SELECT dispatched FROM jobs") is False


async def test_a_job_with_a_named_lock_is_not_published_directly(conn: Connection) -> None:
    first, second = await seeding.insert(conn, seeding.new_job(lock="db"), seeding.new_job(lock="db"))

    assert (first.refs, first.locks, second.locks) == ((), ("db",), ("db",))
    assert await conn.fetchval("SELECT array_agg(name) FROM named_locks") == ["db"]
    assert await conn.fetchval("SELECT bool_or(dispatched) FROM jobs") is False


async def test_each_submitted_job_leaves_an_audit_row(conn: Connection) -> None:
    inserted = await submit.insert_jobs(conn, [seeding.new_job(), seeding.new_job()], actors=["token:1", None])

    assert await seeding.audited(conn, inserted[0].id) == [("token:1", "job.submit")]
    assert await seeding.audited(conn, inserted[1].id) == []


async def test_the_same_key_and_spec_answer_the_first_job(conn: Connection) -> None:
    (first,) = await seeding.insert(conn, seeding.new_job("k"))

    (again,) = await seeding.insert(conn, seeding.new_job("k"))

    assert (again.id, again.is_replayed, again.is_conflict, again.refs) == (first.id, True, False, ())
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1
    assert await conn.fetchval("SELECT count(*) FROM job_specs") == 1
    assert await conn.fetchval("SELECT count(*) FROM audit") == 1


async def test_the_same_key_with_another_spec_is_a_conflict_that_spoils_only_itself(conn: Connection) -> None:
    await seeding.insert(conn, seeding.new_job("k"))

    other, fresh, plain = await seeding.insert(
        conn, seeding.new_job("k", name="other"), seeding.new_job("new"), seeding.new_job()
    )

    assert (other.is_conflict, other.is_replayed) == (True, False)
    assert not fresh.is_conflict
    assert not plain.is_conflict
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 3


async def test_a_key_used_twice_in_one_batch_makes_one_job(conn: Connection) -> None:
    first, second, third = await seeding.insert(
        conn, seeding.new_job("k"), seeding.new_job("k"), seeding.new_job("k", name="other")
    )

    assert [one.is_replayed for one in (first, second)] == [False, True]
    assert second.id == first.id
    assert third.is_conflict


async def test_a_key_is_free_again_once_its_job_is_deleted(conn: Connection) -> None:
    (first,) = await seeding.insert(conn, seeding.new_job("k"))
    await jobs.cancel_job(conn, first.id, actor="token:1")
    await jobs.delete_job(conn, first.id, actor="token:1")

    (again,) = await seeding.insert(conn, seeding.new_job("k", name="other"))

    assert not again.is_conflict
    assert again.id != first.id


async def test_concurrent_submits_with_the_same_keys_make_one_job_per_key(conn: Connection, db: str) -> None:
    """Keys are taken in order, so batches that name them in opposite orders don't deadlock."""
    others = [await asyncpg.connect(db) for _ in range(3)]
    batch = [seeding.new_job(f"k{n}") for n in range(200)]
    try:
        answers = await asyncio.gather(
            *(seeding.insert(one, *(batch if n % 2 else reversed(batch))) for n, one in enumerate([conn, *others]))
        )
    finally:
        for other in others:
            await other.close()

    by_key = [{one.id for one in (answer if n % 2 else reversed(answer))} for n, answer in enumerate(answers)]
    assert all(ids == by_key[0] for ids in by_key)
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 200


async def test_a_submit_waits_for_a_key_whose_first_submit_rolls_back(conn: Connection, db: str) -> None:
    other = await asyncpg.connect(db)
    transaction = other.transaction()
    await transaction.start()
    await seeding.insert(other, seeding.new_job("k"))
    waiting = asyncio.ensure_future(seeding.insert(conn, seeding.new_job("k", name="other")))
    await asyncio.wait([waiting], timeout=0.05)

    await transaction.rollback()

    (inserted,) = await waiting
    await other.close()
    assert not inserted.is_conflict
    assert await conn.fetchval("SELECT count(*) FROM jobs") == 1


async def test_an_expired_job_is_dead_at_once_with_its_children(conn: Connection) -> None:
    grandchild = seeding.TRUE | {"name": "grandchild", "delay": "1h"}
    child = seeding.TRUE | {"name": "child", "expires_at": PAST, "on_failure": [grandchild]}
    new = seeding.new_job(expires_at=PAST, on_failure=[child, seeding.TRUE | {"lock": "db"}], on_success=seeding.TRUE)

    (inserted,) = await seeding.insert(conn, new)

    job = submit.as_job(new, inserted)
    assert (job.status, job.reason, job.finished_at) == (JobStatus.DEAD, Reason.EXPIRED, job.created_at)
    assert (inserted.refs, inserted.locks) == ((), ("db",))
    rows = await conn.fetch("SELECT status, parent_edge, edge_index, parent_round FROM jobs ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("DEAD", None, None, None),
        ("DEAD", "on_failure", 0, 0),
        ("PENDING", "on_failure", 1, 0),
        ("PENDING", "on_failure", 0, 0),
    ]
    tree = await jobs.list_tree(conn, inserted.id)
    assert tree is not None
    assert tree.children[0].children[0].job.name == "grandchild"


async def test_a_value_that_the_database_refuses_leaves_nothing(conn: Connection) -> None:
    bad = submit.NewJob(seeding.new_job().spec, "{")

    with pytest.raises(asyncpg.DataError):
        await submit.insert_jobs(conn, [seeding.new_job("k"), bad], actors=["token:1"] * 2)

    assert await conn.fetchval("SELECT count(*) FROM jobs") == 0
    assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0
