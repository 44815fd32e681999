"""What a loss does: to the attempt, its job, its children, its lock and its output; and that it happens once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store import finish, rescue
from relay.store.rescue import LostClaim
from tests.integration import seeding, working
from tests.integration.rescuing import TTL_S, Scene, beat, blind, running, scene, scene_of, status, worker_id

if TYPE_CHECKING:
    from relay.store.connection import Connection, Pool

__all__ = ["blind", "scene", "worker_id"]


async def test_a_rescued_attempt_can_neither_finish_nor_be_lost_again(conn: Connection, worker_id: int) -> None:
    claimed = await running(conn, worker_id)
    claim = LostClaim(claimed.job_id, claimed.claim_id)

    lost = await rescue.lose_attempts(conn, [claim])
    late = await finish.finish(conn, worker_id, [working.end(claimed)])

    assert lost.pairs == ((claimed.job_id, claimed.claim_id),)
    assert late.answers[0].status is None
    assert await rescue.lose_attempts(conn, [claim]) == rescue.Lost()


async def test_a_heartbeat_since_the_look_saves_the_attempt(conn: Connection, worker_id: int) -> None:
    claimed = await running(conn, worker_id)
    seen = {heart.worker_id: heart.hb_seq for heart in await rescue.list_heartbeats(conn)}
    suspects = await rescue.list_suspects(conn, seen)
    await beat(conn, worker_id)

    assert await rescue.lose_attempts(conn, suspects) == rescue.Lost()
    assert await rescue.mark_lost(conn, seen) == []
    assert await status(conn, claimed.job_id) == "RUNNING"


async def test_a_heartbeat_that_is_being_written_saves_the_attempt(
    conn: Connection, pool: Pool, worker_id: int
) -> None:
    await running(conn, worker_id)
    seen = {heart.worker_id: heart.hb_seq for heart in await rescue.list_heartbeats(conn)}
    suspects = await rescue.list_suspects(conn, seen)

    async with pool.acquire() as beating, beating.transaction():
        await beat(beating, worker_id)
        assert await rescue.lose_attempts(conn, suspects) == rescue.Lost()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ("PENDING", None, 1)),
        ({"max_retries": 0}, ("DEAD", "worker_lost", 0)),
        ({"on_worker_lost": "fail"}, ("DEAD", "worker_lost", 0)),
    ],
)
async def test_a_loss_uses_a_retry_or_ends_the_job(
    conn: Connection, worker_id: int, spec: dict[str, object], expected: tuple[object, ...]
) -> None:
    claimed = await running(conn, worker_id, **spec)

    await rescue.lose_attempts(conn, [LostClaim(claimed.job_id, claimed.claim_id)])

    row = await conn.fetchrow("SELECT status, reason, retries_used FROM jobs WHERE id = $1", claimed.job_id)
    assert row is not None
    assert tuple(row) == expected


async def test_a_lost_job_whose_cancellation_was_asked_for_is_cancelled(conn: Connection, worker_id: int) -> None:
    claimed = await running(conn, worker_id)
    await conn.execute("UPDATE jobs SET cancel_requested_at = now() WHERE id = $1", claimed.job_id)

    await rescue.lose_attempts(conn, [LostClaim(claimed.job_id, claimed.claim_id)])

    assert await status(conn, claimed.job_id) == "CANCELLED"


async def test_a_job_that_dies_with_its_worker_gets_its_on_failure_children(conn: Connection, worker_id: int) -> None:
    claimed = await running(conn, worker_id, max_retries=0, on_failure=[seeding.TRUE], on_success=[seeding.TRUE])

    lost = await rescue.lose_attempts(conn, [LostClaim(claimed.job_id, claimed.claim_id)])

    rows = await conn.fetch("SELECT id, parent_edge FROM jobs WHERE parent_id = $1", claimed.job_id)
    assert [row["parent_edge"] for row in rows] == ["on_failure"]
    assert [ref.id for ref in lost.due] == [rows[0]["id"]]


async def test_a_lost_holder_frees_its_named_lock(conn: Connection, worker_id: int, scene: Scene) -> None:
    holder = await running(conn, worker_id, lock="printer", max_retries=0)
    waiter = await seeding.insert_one(conn, lock="printer")

    await scene.look(for_s=TTL_S)

    assert await status(conn, holder.job_id) == "DEAD"
    assert [ref.id for ref in scene.published.refs] == [waiter]


async def test_what_a_lost_attempt_wrote_is_counted(conn: Connection, worker_id: int) -> None:
    claimed = await running(conn, worker_id)
    await conn.execute(
        """INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
           SELECT output_day, job_id, attempt, n, n, now(), repeat('x', 10 * n)::bytea
             FROM attempts, generate_series(1, 2) AS n WHERE job_id = $1""",
        claimed.job_id,
    )

    await rescue.lose_attempts(conn, [LostClaim(claimed.job_id, claimed.claim_id)])

    row = await conn.fetchrow("SELECT stdout_bytes, stderr_bytes FROM attempts WHERE job_id = $1", claimed.job_id)
    assert row is not None
    assert tuple(row) == (10, 20)


async def test_predecessors_are_the_earlier_workers_of_this_host(conn: Connection) -> None:
    elsewhere, before, own, after = [await working.register(conn) for _ in range(4)]
    await conn.execute("UPDATE workers SET boot_id = 'other' WHERE id = $1", elsewhere)
    claimed = [await running(conn, worker) for worker in (elsewhere, before, before, own, after)]

    (predecessor,) = await rescue.list_predecessors(conn, own)

    assert predecessor.worker_id == before
    assert [claim.job_id for claim in predecessor.claims] == [claimed[1].job_id, claimed[2].job_id]
    assert {claim.claim_id for claim in predecessor.claims} == {claimed[1].claim_id, claimed[2].claim_id}


async def test_many_rescuers_lose_an_attempt_once(conn: Connection, worker_id: int, scene: Scene, pool: Pool) -> None:
    claimed = [await running(conn, worker_id) for _ in range(20)]
    others = [scene_of(pool, scene.leases) for _ in range(2)]

    for each in (scene, *others):
        await each.look(for_s=TTL_S - 1)
    for each in (scene, *others):
        await each.look(for_s=2)

    assert scene.state.rescued + sum(other.state.rescued for other in others) == len(claimed)
    assert await conn.fetchval("SELECT max(retries_used) FROM jobs") == 1
