"""Rescue: an attempt is lost only when PostgreSQL and Redis have both shown a full TTL of silence.

The rescuer's clock is the only thing that is not real: a full TTL passes in steps of one look.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.lease import Leases
from relay.maintenance.announce import Announcer
from relay.maintenance.rescue import WITHOUT_REDIS_S, Rescuer
from relay.maintenance.state import State
from relay.store import finish, rescue, workers
from relay.store.rescue import LostClaim
from tests.integration import seeding, working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.config import Settings
    from relay.model.records import JobRef
    from relay.store.claims import Claimed
    from relay.store.connection import Connection, Pool

TTL_S = 15.0
NOWHERE = "redis://127.0.0.1:1"


@dataclass
class Published:
    """Keeps what is published."""

    refs: list[JobRef] = field(default_factory=list)

    def publish(self, refs: Sequence[JobRef]) -> None:
        self.refs += refs


@dataclass
class Scene:
    """A rescuer whose clock stands still between looks."""

    rescuer: Rescuer
    leases: Leases
    published: Published
    state: State
    now: float = 1000.0

    async def look(self, *, for_s: float = 0.0, step_s: float = 1.0) -> None:
        """Look once, and then every `step_s` until `for_s` have passed."""
        await self.rescuer.look()
        end = self.now + for_s
        while self.now < end:
            self.now += step_s
            await self.rescuer.look()


def scene_of(pool: Pool, leases: Leases) -> Scene:
    published, state = Published(), State()
    rescuer = Rescuer(pool, leases, Announcer(pool, leases, published), state, clock=lambda: made.now)
    made = Scene(rescuer, leases, published, state)
    return made


@pytest.fixture
async def scene(pool: Pool, settings: Settings) -> AsyncIterator[Scene]:
    leases = Leases(settings.redis_url, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    yield scene_of(pool, leases)
    await leases.close()


@pytest.fixture
async def blind(pool: Pool) -> AsyncIterator[Scene]:
    """A rescuer that can't reach Redis."""
    leases = Leases(NOWHERE, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    yield scene_of(pool, leases)
    await leases.close()


@pytest.fixture
async def worker_id(conn: Connection) -> int:
    return await working.register(conn)


async def running(conn: Connection, worker_id: int, **spec: object) -> Claimed:
    return await working.claim_one(conn, worker_id, await seeding.insert_one(conn, **spec))


async def status(conn: Connection, job_id: int) -> str:
    return str(await conn.fetchval("SELECT status FROM jobs WHERE id = $1", job_id))


async def beat(conn: Connection, worker_id: int) -> None:
    assert await workers.beat(conn, worker_id, running=1, is_draining=False)


async def test_a_silent_workers_attempt_is_lost_after_a_full_ttl(
    conn: Connection, worker_id: int, scene: Scene
) -> None:
    claimed = await running(conn, worker_id)

    await scene.look(for_s=TTL_S - 1)
    assert await status(conn, claimed.job_id) == "RUNNING"
    await scene.look(for_s=1)

    assert await status(conn, claimed.job_id) == "PENDING"
    assert [ref.id for ref in scene.published.refs] == [claimed.job_id]
    assert scene.state.rescued == 1
    row = await conn.fetchrow("SELECT outcome, reason FROM attempts WHERE job_id = $1", claimed.job_id)
    assert row is not None
    assert tuple(row) == ("lost", "worker_lost")
    assert await conn.fetchval("SELECT state FROM workers WHERE id = $1", worker_id) == "lost"


async def test_a_worker_that_beats_keeps_its_attempts(conn: Connection, worker_id: int, scene: Scene) -> None:
    claimed = await running(conn, worker_id)

    for _ in range(4):
        await scene.look(for_s=TTL_S - 1)
        await beat(conn, worker_id)
    await scene.look()

    assert await status(conn, claimed.job_id) == "RUNNING"


async def test_a_lock_in_redis_keeps_an_attempt_whose_heartbeats_fail(
    conn: Connection, worker_id: int, scene: Scene
) -> None:
    kept, lost = await running(conn, worker_id), await running(conn, worker_id)
    await scene.leases.acquire([(kept.job_id, kept.claim_id)])

    await scene.look(for_s=3 * TTL_S)

    assert await status(conn, kept.job_id) == "RUNNING"
    assert await status(conn, lost.job_id) == "PENDING"


async def test_a_lock_of_another_claim_keeps_nothing(conn: Connection, worker_id: int, scene: Scene) -> None:
    claimed = await running(conn, worker_id)
    await scene.leases.acquire([(claimed.job_id, str(uuid.uuid4()))])

    await scene.look(for_s=TTL_S)

    assert await status(conn, claimed.job_id) == "PENDING"


async def test_after_redis_was_wiped_a_missing_lock_proves_nothing_for_a_ttl(
    conn: Connection, worker_id: int, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = await running(conn, worker_id)
    await scene.look(for_s=TTL_S - 1)
    monkeypatch.setattr(scene.leases, "_sentinel", "relay:sentinel:as-if-it-had-been-wiped")

    await scene.look(for_s=TTL_S - 1)
    assert await status(conn, claimed.job_id) == "RUNNING"
    await scene.look(for_s=1)

    assert await status(conn, claimed.job_id) == "PENDING"


async def test_looks_too_far_apart_start_the_count_again(conn: Connection, worker_id: int, scene: Scene) -> None:
    claimed = await running(conn, worker_id)

    await scene.look(for_s=10 * TTL_S, step_s=TTL_S / 5)

    assert await status(conn, claimed.job_id) == "RUNNING"


async def test_a_failed_look_starts_the_count_again(
    conn: Connection, worker_id: int, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = await running(conn, worker_id)
    await scene.look(for_s=TTL_S - 1)

    async def fail(_: object) -> None:
        raise errors.Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(rescue, "list_heartbeats", fail)
        with pytest.raises(errors.Unavailable):
            await scene.look()
    await scene.look(for_s=TTL_S - 1)

    assert await status(conn, claimed.job_id) == "RUNNING"


async def test_without_redis_rescue_waits(conn: Connection, worker_id: int, blind: Scene) -> None:
    claimed = await running(conn, worker_id)

    await blind.look(for_s=2 * TTL_S)

    assert await status(conn, claimed.job_id) == "RUNNING"
    assert blind.state.is_redis_up is False
    assert blind.state.rescue_waiting_since is not None


async def test_without_redis_rescue_waits_75_minutes(conn: Connection, worker_id: int, blind: Scene) -> None:
    claimed = await running(conn, worker_id)

    await blind.look(for_s=WITHOUT_REDIS_S - 30, step_s=30)
    assert await status(conn, claimed.job_id) == "RUNNING"
    await blind.look(for_s=30)

    assert await status(conn, claimed.job_id) == "PENDING"


async def test_the_lock_of_a_rescued_claim_is_deleted(conn: Connection, worker_id: int, scene: Scene) -> None:
    """After 75 minutes a worker no longer trusts Redis alone: its locks are stale, even if it still renews them."""
    claimed = await running(conn, worker_id)
    await scene.leases.acquire([(claimed.job_id, claimed.claim_id)])

    await scene.look(for_s=WITHOUT_REDIS_S, step_s=30)

    assert await status(conn, claimed.job_id) == "PENDING"
    assert (await scene.leases.look([(claimed.job_id, claimed.claim_id)])).owners == [None]


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


async def test_an_attempt_whose_worker_has_no_row_is_lost(conn: Connection, worker_id: int, scene: Scene) -> None:
    claimed = await running(conn, worker_id)
    await conn.execute("DELETE FROM workers")

    await scene.look(for_s=TTL_S)

    assert await status(conn, claimed.job_id) == "PENDING"


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
