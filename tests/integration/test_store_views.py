"""What operators look at: workers, the reasons of a job's state, counts and rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.model.states import JobStatus, Outcome, Reason
from relay.store import fleet, stats, why, workers
from relay.store.workers import NewWorker
from tests.integration import seeding

if TYPE_CHECKING:
    from relay.store.connection import Connection


async def register(conn: Connection, *queues: str, slots: int = 4) -> int:
    worker = NewWorker("host", "boot", 1, 2, 3, "0.1", queues or ("default",), slots, 15.0)
    return await workers.register_worker(conn, worker)


async def test_workers_are_listed_oldest_first(conn: Connection) -> None:
    ids = [await register(conn, "a", "b"), await register(conn)]

    listed = await fleet.list_workers(conn)

    assert [worker.id for worker in listed] == ids
    assert listed[0].as_json()["queues"] == ["a", "b"]
    assert (listed[0].state, listed[0].slots, listed[0].pid) == ("active", 4, 2)


async def test_a_worker_asked_to_drain_counts_as_draining_at_once_and_is_audited_once(conn: Connection) -> None:
    worker_id = await register(conn)

    first = await fleet.request_drain(conn, worker_id, actor="token:1")
    second = await fleet.request_drain(conn, worker_id, actor="token:2")

    assert (first.state, second.state) == ("draining", "draining")
    assert [worker.state for worker in await fleet.list_workers(conn)] == ["draining"]
    beat = await workers.beat(conn, worker_id, running=0, is_draining=False)
    assert beat is not None
    assert beat.is_drain_requested
    assert [row["actor"] for row in await conn.fetch("SELECT actor FROM audit")] == ["token:1"]


async def test_an_unknown_worker_cannot_drain(conn: Connection) -> None:
    with pytest.raises(errors.NotFound):
        await fleet.request_drain(conn, 10**30, actor="token:1")


async def facts_about(conn: Connection, job_id: int) -> why.Circumstances:
    facts = await why.get_circumstances(conn, job_id)
    assert facts is not None
    return facts


async def test_an_unknown_job_has_no_circumstances(conn: Connection) -> None:
    assert await why.get_circumstances(conn, 10**30) is None


async def test_a_pending_job_knows_who_is_ahead_and_who_listens(conn: Connection) -> None:
    await seeding.insert(
        conn,
        seeding.new_job(priority="high"),
        seeding.new_job(),
        seeding.new_job(priority="low"),
        seeding.new_job(delay="1h"),
        seeding.new_job(queue="other"),
        seeding.new_job(lock="db"),
    )
    job_id = await seeding.insert_one(conn)
    busy = await register(conn, "default", "x", slots=2)
    await seeding.start(conn, await seeding.insert_one(conn, queue="x"), worker_id=busy)
    await register(conn, "other")
    await fleet.request_drain(conn, await register(conn), actor="token:1")

    facts = await facts_about(conn, job_id)

    assert (facts.status, facts.ahead) == (JobStatus.PENDING, 2)
    assert (facts.listening, facts.slots, facts.running) == (1, 2, 1)
    assert facts.worker_host is None


async def test_a_waiter_knows_who_holds_its_lock_since_when_and_who_is_ahead(conn: Connection) -> None:
    holder, first, second = [
        one.id for one in await seeding.insert(conn, *(seeding.new_job(lock="db") for _ in range(3)))
    ]
    await seeding.start(conn, holder)

    facts = await facts_about(conn, second)

    assert first < second
    assert (facts.holder_id, facts.ahead_for_lock) == (holder, 1)
    assert facts.holder_started_at is not None
    assert facts.holder_started_at < facts.now


@pytest.mark.parametrize(("silence", "is_silent"), [("1 second", False), ("40 seconds", True)])
async def test_a_running_job_knows_whether_its_worker_is_silent(
    conn: Connection, silence: str, is_silent: bool
) -> None:
    worker_id = await register(conn)
    job_id = await seeding.insert_one(conn)
    await seeding.start(conn, job_id, worker_id=worker_id)
    await conn.execute("UPDATE workers SET seen_at = clock_timestamp() - $1::text::interval", silence)

    facts = await facts_about(conn, job_id)

    assert (facts.worker_id, facts.worker_host, facts.is_worker_silent) == (worker_id, "host", is_silent)
    assert facts.attempt_started_at is not None


async def test_a_failed_job_knows_how_its_last_attempt_ended(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn)
    await seeding.run(conn, job_id, "FAILED", exit_code=3)

    facts = await facts_about(conn, job_id)

    assert (facts.reason, facts.outcome, facts.exit_code, facts.attempt) == (Reason.EXIT, Outcome.FAILED, 3, 1)


async def test_jobs_are_counted_by_queue_and_state(conn: Connection) -> None:
    for status, count in (("COMPLETED", 3), ("DEAD", 2), ("FAILED", 1)):
        for _ in range(count):
            await seeding.run(conn, await seeding.insert_one(conn, queue="q"), status)
    await seeding.insert(conn, seeding.new_job(), seeding.new_job(lock="db"), seeding.new_job(queue="q", delay="1h"))
    await seeding.start(conn, await seeding.insert_one(conn))

    counts = await stats.count_jobs(conn)

    assert counts.jobs == {
        ("q", JobStatus.DEAD): 2,
        ("q", JobStatus.FAILED): 1,
        ("q", JobStatus.PENDING): 1,
        ("default", JobStatus.PENDING): 2,
        ("default", JobStatus.RUNNING): 1,
    }
    assert await stats.count_completed(conn, counts) == {"q": 3}
    assert list(counts.oldest_pending_s) == ["default"]


async def test_rates_count_what_was_submitted_and_ended_lately(conn: Connection) -> None:
    ids = [await seeding.insert_one(conn) for _ in range(5)]
    for job_id, status in zip(ids, ("COMPLETED", "COMPLETED", "COMPLETED", "DEAD"), strict=False):
        await seeding.run(conn, job_id, status)
    for table, key in (("jobs", "id"), ("job_specs", "job_id")):
        await conn.execute(f"UPDATE {table} SET created_at = created_at - interval '1 hour' WHERE {key} = $1", ids[0])
        await conn.execute(
            f"UPDATE {table} SET created_at = created_at - interval '5 minutes' WHERE {key} = $1", ids[1]
        )
    await conn.execute("UPDATE jobs SET finished_at = finished_at - interval '5 minutes' WHERE id = ANY($1)", ids[:2])

    rates = await stats.measure_rates(conn)

    assert rates == stats.Rates(
        submitted_in_1_min=3,
        submitted_in_15_min=4,
        completed_in_1_min=1,
        completed_in_15_min=3,
        dead_in_1_min=1,
        dead_in_15_min=1,
    )
