"""Rescue: an attempt is lost only when PostgreSQL and Redis have both shown a full TTL of silence."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.maintenance.rescue import WITHOUT_REDIS_S
from relay.store import rescue
from tests.integration.rescuing import TTL_S, Scene, beat, blind, running, scene, status, worker_id

if TYPE_CHECKING:
    from relay.store.connection import Connection

__all__ = ["blind", "scene", "worker_id"]


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


async def test_an_attempt_whose_worker_has_no_row_is_lost(conn: Connection, worker_id: int, scene: Scene) -> None:
    claimed = await running(conn, worker_id)
    await conn.execute("DELETE FROM workers")

    await scene.look(for_s=TTL_S)

    assert await status(conn, claimed.job_id) == "PENDING"
