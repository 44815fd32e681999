"""What falls due is dispatched, what was never started in time expires, by any number of processes at once."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from relay.lease import CHANGED, Leases
from relay.maintenance import dispatch
from relay.maintenance.announce import Announcer
from relay.maintenance.run import run_maintenance
from relay.maintenance.state import State
from relay.store import due
from tests.integration import seeding, working
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.config import Settings
    from relay.model.records import JobRef
    from relay.store.connection import Connection, Pool


@dataclass
class Published:
    """Keeps what is published, with the time."""

    refs: list[tuple[float, JobRef]] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return [ref.id for _, ref in self.refs]

    def publish(self, refs: Sequence[JobRef]) -> None:
        self.refs += [(time.time(), ref) for ref in refs]


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
async def leases(settings: Settings) -> AsyncIterator[Leases]:
    opened = Leases(settings.redis_url, cluster_id=uuid.uuid4(), ttl_s=15)
    yield opened
    await opened.close()


@pytest.fixture
def announcer(pool: Pool, leases: Leases, published: Published) -> Announcer:
    return Announcer(pool, leases, published)


async def make_due(conn: Connection, *job_ids: int) -> None:
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp() WHERE id = ANY($1::bigint[])", job_ids)


async def test_a_retry_that_is_due_becomes_pending_and_is_published(
    conn: Connection, pool: Pool, announcer: Announcer, published: Published
) -> None:
    failed = await seeding.insert_one(conn)
    await seeding.run(conn, failed, "FAILED", exit_code=1)
    waiting = await seeding.insert_one(conn, delay="1h")
    await make_due(conn, failed)

    assert not await dispatch.dispatch_once(pool, announcer, State())

    assert published.ids == [failed]
    rows = await conn.fetch("SELECT id, status, reason, dispatched FROM jobs ORDER BY id")
    assert [tuple(row) for row in rows] == [(failed, "PENDING", None, True), (waiting, "PENDING", None, False)]


async def test_a_job_is_dispatched_once(
    conn: Connection, pool: Pool, announcer: Announcer, published: Published
) -> None:
    job_ids = [(await seeding.insert_one(conn, delay="1h")) for _ in range(30)]
    await make_due(conn, *job_ids)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(dispatch.dispatch_once(pool, announcer, State()))

    assert sorted(published.ids) == job_ids


async def test_of_jobs_with_a_named_lock_only_the_first_is_published(
    conn: Connection, pool: Pool, announcer: Announcer, published: Published
) -> None:
    first, second = [await seeding.insert_one(conn, delay="1h", lock="printer") for _ in range(2)]
    await make_due(conn, first, second)

    await dispatch.dispatch_once(pool, announcer, State())

    assert published.ids == [first]
    assert await conn.fetchval("SELECT bool_and(dispatched) FROM jobs")


async def test_a_forgotten_lock_name_is_written_again(conn: Connection, pool: Pool, announcer: Announcer) -> None:
    job_id = await seeding.insert_one(conn, delay="1h", lock="printer")
    await conn.execute("DELETE FROM named_locks")
    await make_due(conn, job_id)

    await dispatch.dispatch_once(pool, announcer, State())

    assert await conn.fetchval("SELECT name FROM named_locks") == "printer"


async def test_the_overdue_are_told_from_the_due(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn, delay="1h")
    await make_due(conn, job_id)

    assert (await due.dispatch_due(conn, overdue_s=30)).jobs == ()
    assert (await due.dispatch_due(conn)).jobs == (job_id,)


async def test_a_full_batch_says_that_there_may_be_more(conn: Connection, pool: Pool, announcer: Announcer) -> None:
    await seeding.insert(conn, *[seeding.new_job(delay="1h") for _ in range(due.BATCH + 1)])
    await conn.execute("UPDATE jobs SET run_at = clock_timestamp()")

    assert [await dispatch.dispatch_once(pool, announcer, State()) for _ in range(2)] == [True, False]


async def test_a_job_not_started_in_time_ends_with_its_children(
    conn: Connection, pool: Pool, announcer: Announcer, published: Published
) -> None:
    job_id = await seeding.insert_one(conn, expires_at="2100-01-01T00:00:00Z", on_failure=[seeding.TRUE])
    await conn.execute("UPDATE jobs SET expires_at = clock_timestamp()")

    await dispatch.expire_once(pool, announcer, State())

    rows = await conn.fetch("SELECT id, status, reason, parent_id FROM jobs ORDER BY id")
    assert [tuple(row)[1:] for row in rows] == [("DEAD", "expired", None), ("PENDING", None, job_id)]
    assert published.ids == [rows[1]["id"]]


async def test_a_job_that_was_started_once_does_not_expire(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn, expires_at="2100-01-01T00:00:00Z")
    await working.claim_one(conn, worker_id, job_id)
    await conn.execute("UPDATE jobs SET status = 'PENDING', claim_id = NULL, expires_at = clock_timestamp()")

    assert (await due.expire_due(conn)).jobs == ()


async def test_an_expired_head_lets_the_next_waiter_pass(
    conn: Connection, pool: Pool, announcer: Announcer, published: Published
) -> None:
    await seeding.insert_one(conn, lock="printer", expires_at="2100-01-01T00:00:00Z")
    waiter = await seeding.insert_one(conn, lock="printer")
    await conn.execute("UPDATE jobs SET expires_at = clock_timestamp() WHERE expires_at IS NOT NULL")

    await dispatch.expire_once(pool, announcer, State())

    assert published.ids == [waiter]


async def test_maintenance_starts_what_is_due_within_half_a_second(
    conn: Connection, pool: Pool, leases: Leases, published: Published, settings: Settings
) -> None:
    """Three processes at once, jobs falling due all through the test: each published once, and none late."""
    count = 3000
    await seeding.insert(conn, *[seeding.new_job(delay="1h") for _ in range(count)])
    heard: set[int] = set()

    async def listen() -> None:
        async for kind, job_ids in leases.listen([CHANGED]):
            assert kind == CHANGED
            heard.update(job_ids)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(listen())]
        running += [tasks.create_task(run_maintenance(pool, leases, published, settings)) for _ in range(3)]
        await until(
            lambda: conn.fetchval("SELECT to_regclass('output_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'))")
        )
        first = await conn.fetchval("SELECT min(id) FROM jobs")
        await conn.execute(
            "UPDATE jobs SET run_at = clock_timestamp() + make_interval(secs => 3 * (id - $1)::float8 / $2)",
            first,
            count,
        )
        due_at = {
            row["id"]: row["at"]
            for row in await conn.fetch("SELECT id, extract(epoch FROM run_at)::float8 AS at FROM jobs")
        }
        await until(lambda: len(published.refs) >= count)
        await until(lambda: heard >= set(due_at))
        for task in running:
            task.cancel()

    assert sorted(published.ids) == sorted(due_at)
    assert max(at - due_at[ref.id] for at, ref in published.refs) < 1


async def test_maintenance_outlives_an_outage(
    conn: Connection, pool: Pool, leases: Leases, published: Published, settings: Settings
) -> None:
    state = State()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run_maintenance(pool, leases, published, settings, state=state))
        await until(lambda: state.last_dispatch_at and state.last_look_at and state.last_retention_at)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        job_id = await seeding.insert_one(conn, delay="1h")
        await make_due(conn, job_id)
        await until(lambda: published.ids == [job_id])
        running.cancel()

    assert state.dispatched == 1
