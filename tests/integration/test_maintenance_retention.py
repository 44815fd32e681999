"""Retention: old jobs go with all that is theirs, output's days come and go, and what is in use stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.maintenance import retention as rounds
from relay.maintenance.state import State
from relay.store import retention
from relay.store.retention import DAYS_AHEAD
from tests.integration import seeding, working

if TYPE_CHECKING:
    from relay.store.connection import Connection, Pool

MONTH_S = 30 * 86400.0


def day(ahead: int) -> str:
    """The partition's name of a day."""
    return f"output_{datetime.now(UTC) + timedelta(days=ahead):%Y%m%d}"


async def partitions(conn: Connection) -> list[str]:
    rows = await conn.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'output'::regclass ORDER BY 1"
    )
    return [row["name"] for row in rows if row["name"] != "output_default"]


async def add_day(conn: Connection, ahead: int) -> None:
    """Make one day's partition, as an earlier round would have."""
    first = (datetime.now(UTC) + timedelta(days=ahead)).date()
    await conn.execute(
        f"CREATE TABLE {day(ahead)} PARTITION OF output FOR VALUES FROM ('{first}') TO ('{first + timedelta(days=1)}')"
    )


async def make_old(conn: Connection, *job_ids: int, days: int = 31) -> None:
    """Move jobs and their attempts into the past."""
    await conn.execute(
        "UPDATE jobs SET created_at = created_at - make_interval(days => $2), finished_at = finished_at - make_interval(days => $2)"
        " WHERE id = ANY($1::bigint[])",
        job_ids,
        days,
    )
    await conn.execute(
        "UPDATE job_specs SET created_at = created_at - make_interval(days => $2) WHERE job_id = ANY($1::bigint[])",
        job_ids,
        days,
    )
    await conn.execute(
        "UPDATE attempts SET output_day = output_day - $2::integer WHERE job_id = ANY($1::bigint[])", job_ids, days
    )


async def done(conn: Connection, key: str | None = None, **spec: object) -> int:
    """A job that has run."""
    (inserted,) = await seeding.insert(conn, seeding.new_job(key, **spec))
    await seeding.run(conn, inserted.id, "COMPLETED")
    return inserted.id


async def count(conn: Connection, table: str) -> int:
    return int(await conn.fetchval(f"SELECT count(*) FROM {table}"))


@pytest.mark.parametrize(("retention_s", "pause_s"), [(MONTH_S, 3600), (3600, 1800), (10, 5)])
def test_a_short_retention_is_looked_after_more_often(retention_s: float, pause_s: float) -> None:
    assert rounds.pause_s(retention_s) == pause_s


async def test_output_days_are_made_ahead_and_once(conn: Connection) -> None:
    assert await retention.ensure_output_days(conn) == 1 + DAYS_AHEAD
    assert await retention.ensure_output_days(conn) == 0
    assert await partitions(conn) == [day(ahead) for ahead in range(1 + DAYS_AHEAD)]


async def test_many_processes_make_the_days_at_once(conn: Connection, pool: Pool) -> None:
    async def ensure() -> bool:
        return await rounds.round_once(pool, State(), retention_s=MONTH_S)

    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(ensure()) for _ in range(5)]

    assert all(task.result() for task in made)
    assert await partitions(conn) == [day(ahead) for ahead in range(1 + DAYS_AHEAD)]


async def test_a_day_that_the_default_partition_holds_is_left_there(conn: Connection) -> None:
    await conn.execute(
        "INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)"
        " VALUES ((now() AT TIME ZONE 'UTC')::date, 1, 1, 1, 1, now(), 'x')"
    )

    assert await retention.ensure_output_days(conn) == DAYS_AHEAD
    assert day(0) not in await partitions(conn)


async def test_making_a_day_does_not_wait_for_long_for_readers_of_output(conn: Connection, pool: Pool) -> None:
    async with conn.transaction():
        await conn.execute("LOCK TABLE output IN ACCESS SHARE MODE")
        async with asyncio.timeout(10):
            assert not await rounds.round_once(pool, State(), retention_s=MONTH_S)

    assert await rounds.round_once(pool, State(), retention_s=MONTH_S)


async def test_old_jobs_go_with_all_that_is_theirs(conn: Connection) -> None:
    old, new = await done(conn, "old"), await done(conn, "new")
    await make_old(conn, old)

    assert await retention.delete_old_jobs(conn, MONTH_S) == 1

    assert [row["id"] for row in await conn.fetch("SELECT id FROM jobs")] == [new]
    for table in ("job_specs", "attempts", "idempotency_keys"):
        assert await conn.fetchval(f"SELECT array_agg(job_id) FROM {table}") == [new]


@pytest.mark.parametrize("days", [29, 31])
async def test_a_job_that_has_not_ended_is_never_old(conn: Connection, days: int) -> None:
    worker_id = await working.register(conn)
    running = await seeding.insert_one(conn)
    await working.claim_one(conn, worker_id, running)
    failed = await seeding.insert_one(conn)
    await seeding.run(conn, failed, "FAILED", exit_code=1)
    await make_old(conn, running, failed, days=days)

    assert await retention.delete_old_jobs(conn, MONTH_S) == 0


async def test_a_parent_stays_while_its_child_waits(conn: Connection) -> None:
    parent = await done(conn)
    child = await seeding.insert_one(conn)
    await conn.execute(
        "UPDATE jobs SET parent_id = $1, parent_edge = 'on_success', edge_index = 0, parent_round = 0 WHERE id = $2",
        parent,
        child,
    )
    await make_old(conn, parent)

    assert await retention.delete_old_jobs(conn, MONTH_S) == 0
    await seeding.run(conn, child, "COMPLETED")
    assert await retention.delete_old_jobs(conn, MONTH_S) == 1


async def test_a_day_goes_when_no_attempt_refers_to_it(conn: Connection) -> None:
    await add_day(conn, -31)
    await add_day(conn, -29)
    old = await done(conn)
    await make_old(conn, old)
    await retention.ensure_output_days(conn)

    assert await retention.drop_old_output_days(conn, MONTH_S) == 0
    await retention.delete_old_jobs(conn, MONTH_S)
    assert await retention.drop_old_output_days(conn, MONTH_S) == 1
    assert day(-31) not in await partitions(conn)
    assert day(-29) in await partitions(conn)


async def test_a_day_stays_for_a_job_that_has_run_for_long(conn: Connection) -> None:
    await add_day(conn, -40)
    worker_id = await working.register(conn)
    running = await seeding.insert_one(conn)
    await working.claim_one(conn, worker_id, running)
    await make_old(conn, running, days=40)

    await retention.drop_old_output_days(conn, MONTH_S)

    assert await partitions(conn) == [day(-40)]


async def test_stray_output_goes_once_its_attempt_has(conn: Connection) -> None:
    old = await done(conn)
    await make_old(conn, old)
    await conn.execute(
        "INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)"
        " SELECT output_day, job_id, attempt, 1, 1, now(), 'x' FROM attempts"
    )

    assert await retention.delete_stray_output(conn, MONTH_S) == 0
    await retention.delete_old_jobs(conn, MONTH_S)
    assert await retention.delete_stray_output(conn, MONTH_S) == 1
    assert await count(conn, "output") == 0


async def test_a_lost_worker_is_forgotten_only_without_a_running_job(conn: Connection) -> None:
    idle, busy, alive = [await working.register(conn) for _ in range(3)]
    await working.claim_one(conn, busy, await seeding.insert_one(conn))
    await conn.execute("UPDATE workers SET seen_at = now() - interval '2 h'")
    await conn.execute("UPDATE workers SET state = 'lost' WHERE id <> $1", alive)

    assert await retention.delete_lost_workers(conn, 3600) == 1
    assert [row["id"] for row in await conn.fetch("SELECT id FROM workers ORDER BY id")] == [busy, alive]
    assert idle not in (busy, alive)


async def test_names_of_locks_in_use_are_kept(conn: Connection) -> None:
    worker_id = await working.register(conn)
    await working.claim_one(conn, worker_id, await seeding.insert_one(conn, lock="held"))
    await seeding.insert_one(conn, lock="waited-for", delay="1h")
    await seeding.run(conn, await seeding.insert_one(conn, lock="free"), "COMPLETED")
    await conn.execute("UPDATE named_locks SET created_at = now() - interval '2 h'")
    await seeding.run(conn, await seeding.insert_one(conn, lock="new"), "COMPLETED")

    assert await retention.forget_unused_locks(conn, 3600) == 1
    names = await conn.fetch("SELECT name FROM named_locks ORDER BY name")
    assert [row["name"] for row in names] == ["held", "new", "waited-for"]


async def test_a_round_deletes_batch_after_batch(conn: Connection, pool: Pool) -> None:
    inserted = await seeding.insert(conn, *[seeding.new_job() for _ in range(retention.BATCH + 5)])
    await conn.execute("UPDATE jobs SET status = 'CANCELLED', finished_at = now()")
    await make_old(conn, *[each.id for each in inserted])
    state = State()

    assert await rounds.round_once(pool, state, retention_s=MONTH_S)

    assert state.deleted == len(inserted)
    assert await count(conn, "jobs") == 0
