"""Claims: PENDING to RUNNING for one worker, and named locks."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay.model.states import Lane
from relay.store import claims, finish, jobs, locks, workers
from tests.integration import seeding, working

if TYPE_CHECKING:
    from relay.store.connection import Connection, Pool


async def status_of(conn: Connection, job_id: int) -> str:
    return str(await conn.fetchval("SELECT status FROM jobs WHERE id = $1", job_id))


async def test_a_claim_takes_a_due_job_and_opens_its_attempt(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn)

    claimed = await working.claim_one(conn, worker_id, job_id)

    assert (claimed.job_id, claimed.attempt, claimed.retries_used) == (job_id, 1, 0)
    attempt = await conn.fetchrow("SELECT * FROM attempts WHERE job_id = $1", job_id)
    assert attempt is not None
    assert (str(attempt["claim_id"]), attempt["outcome"], attempt["worker_id"]) == (claimed.claim_id, None, worker_id)


async def test_a_claim_is_a_heartbeat(conn: Connection) -> None:
    worker_id = await working.register(conn)

    await working.claim(conn, worker_id, await seeding.insert_one(conn))

    assert await conn.fetchval("SELECT hb_seq FROM workers WHERE id = $1", worker_id) == 1


async def test_a_worker_without_a_row_claims_nothing(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn)

    assert await working.claim(conn, 999, job_id) == []
    assert await status_of(conn, job_id) == "PENDING"


async def test_a_job_is_claimed_once(pool: Pool, conn: Connection) -> None:
    job_ids = [await seeding.insert_one(conn) for _ in range(20)]
    worker_ids = [await working.register(conn) for _ in range(4)]

    async def claim_all(worker_id: int) -> list[int]:
        async with pool.acquire() as own:
            return [claimed.job_id for claimed in await working.claim(own, worker_id, *job_ids)]

    claimed = [job_id for each in await asyncio.gather(*map(claim_all, worker_ids)) for job_id in each]

    assert sorted(claimed) == job_ids


async def test_a_job_is_not_claimed_before_run_at(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn, delay="1h")

    assert await working.claim(conn, worker_id, job_id) == []


async def test_a_job_past_expires_at_is_not_claimed(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn)
    await conn.execute("UPDATE jobs SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1", job_id)

    assert await working.claim(conn, worker_id, job_id) == []


async def test_attempt_numbers_only_grow(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn)
    first = await working.claim_one(conn, worker_id, job_id)
    await finish.finish(conn, worker_id, [working.end(first, working.DEAD)])
    await jobs.retry_job(conn, job_id, actor=seeding.ACTOR)

    second = await working.claim_one(conn, worker_id, job_id)

    assert second.attempt == 2


async def test_of_two_jobs_with_one_lock_one_runs(conn: Connection) -> None:
    worker_id = await working.register(conn)
    first = await seeding.insert_one(conn, lock="db")
    second = await seeding.insert_one(conn, lock="db")

    claimed = await working.claim(conn, worker_id, first, second)

    assert [each.job_id for each in claimed] == [first]
    assert await working.claim(conn, worker_id, second) == []


async def test_waiters_of_a_lock_go_in_order_of_lane_and_id(conn: Connection) -> None:
    worker_id = await working.register(conn)
    normal = [await seeding.insert_one(conn, lock="db") for _ in range(2)]
    high = await seeding.insert_one(conn, lock="db", priority="high")
    expected = [high, *normal]

    seen = []
    for _ in expected:
        (head,) = await locks.heads(conn, ["db"])
        claimed = await working.claim_one(conn, worker_id, head.id)
        assert await locks.heads(conn, ["db"]) == []
        await finish.finish(conn, worker_id, [working.end(claimed)])
        seen.append(head.id)

    assert seen == expected


async def test_an_expired_waiter_holds_up_nobody_before_maintenance_has_ended_it(conn: Connection) -> None:
    worker_id = await working.register(conn)
    expired = await seeding.insert_one(conn, lock="db", expires_at="2100-01-01T00:00:00Z")
    waiter = await seeding.insert_one(conn, lock="db")
    await conn.execute("UPDATE jobs SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1", expired)

    heads = await locks.heads(conn, ["db"])
    stolen = await claims.steal_locked_jobs(conn, ["default"], overdue_s=0, limit=10, rng=random.Random(1))
    claimed = await working.claim(conn, worker_id, expired, waiter)

    assert [head.id for head in heads] == stolen == [each.job_id for each in claimed] == [waiter]


async def test_a_lock_waited_for_on_two_queues_has_a_head_on_each(conn: Connection) -> None:
    jobs_of = {queue: await seeding.insert_one(conn, lock="db", queue=queue) for queue in ("a", "b")}

    heads = await locks.heads(conn, ["db"])

    assert {head.queue: head.id for head in heads} == jobs_of
    assert [type(head.lane) for head in heads] == [Lane, Lane]


async def test_two_workers_at_once_never_hold_one_lock(pool: Pool, conn: Connection) -> None:
    job_ids = [await seeding.insert_one(conn, lock="db", queue=queue) for queue in ("a", "b", "c", "d")]
    worker_ids = [await working.register(conn) for _ in job_ids]

    async def claim_own(worker_id: int, job_id: int) -> int:
        async with pool.acquire() as own:
            return len(await working.claim(own, worker_id, job_id))

    claimed = await asyncio.gather(*map(claim_own, worker_ids, job_ids))

    assert sum(claimed) == 1


async def test_overdue_jobs_are_stolen_high_lane_first(conn: Connection) -> None:
    low = await seeding.insert_one(conn, priority="low")
    high = await seeding.insert_one(conn, priority="high")
    other = await seeding.insert_one(conn, queue="other")
    await conn.execute("UPDATE jobs SET run_at = run_at - interval '5 s'")

    found = await claims.steal_jobs(conn, ["default"], overdue_s=2, limit=10, rng=random.Random(1))

    assert found == [high, low]
    assert other not in found


async def test_a_fresh_job_is_not_stolen(conn: Connection) -> None:
    await seeding.insert_one(conn)

    assert await claims.steal_jobs(conn, ["default"], overdue_s=2, limit=10, rng=random.Random(1)) == []


async def test_of_a_locks_waiters_only_the_first_is_stolen_and_only_when_it_is_free(conn: Connection) -> None:
    worker_id = await working.register(conn)
    first, second = [await seeding.insert_one(conn, lock="db") for _ in range(2)]
    await conn.execute("UPDATE jobs SET run_at = run_at - interval '5 s'")

    async def steal() -> list[int]:
        return await claims.steal_locked_jobs(conn, ["default"], overdue_s=2, limit=10, rng=random.Random(1))

    assert await steal() == [first]
    claimed = await working.claim_one(conn, worker_id, first)
    assert await steal() == []
    await finish.finish(conn, worker_id, [working.end(claimed)])
    assert await steal() == [second]


async def test_postgresql_lists_what_a_worker_runs(conn: Connection) -> None:
    worker_id = await working.register(conn)
    claimed = await working.claim_one(conn, worker_id, await seeding.insert_one(conn))

    (held,) = await workers.list_running_claims(conn, worker_id)

    assert (held.job_id, held.claim_id, held.is_cancel_requested) == (claimed.job_id, claimed.claim_id, False)


async def test_a_worker_that_still_counts_an_attempt_keeps_its_row(conn: Connection) -> None:
    worker_id = await working.register(conn)
    claimed = await working.claim_one(conn, worker_id, await seeding.insert_one(conn))

    assert not await workers.remove_worker(conn, worker_id)
    await finish.finish(conn, worker_id, [working.end(claimed)])
    assert await workers.remove_worker(conn, worker_id)


async def test_a_beat_of_a_forgotten_worker_says_so(conn: Connection) -> None:
    assert await workers.beat(conn, 999, running=0, is_draining=False) is None


async def test_a_claim_id_that_was_used_is_no_way_around_the_attempt_row(conn: Connection) -> None:
    worker_id = await working.register(conn)
    job_id = await seeding.insert_one(conn)
    claim_id = str(uuid.uuid4())
    await claims.claim(conn, worker_id, [(job_id, claim_id)])

    assert await claims.claim(conn, worker_id, [(job_id, claim_id)]) == []


async def test_the_database_refuses_a_second_holder(conn: Connection) -> None:
    worker_id = await working.register(conn)
    first, second = [await seeding.insert_one(conn, lock="db") for _ in range(2)]
    await working.claim_one(conn, worker_id, first)

    with pytest.raises(asyncpg.UniqueViolationError, match="jobs_lock_holder"):
        await conn.execute(
            "UPDATE jobs SET status = 'RUNNING', claim_id = gen_random_uuid(), worker_id = 1 WHERE id = $1", second
        )
