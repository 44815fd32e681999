"""The watch: it wakes whom it must, and ends when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.api.watch import Watch
from relay.lease import CHANGED, OUTPUT, Leases
from tests.integration import seeding
from tests.integration.apis import api, api_settings, store

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.store.connection import Connection, Pool
    from tests.integration.apis import ApiServer

__all__ = ["api", "api_settings", "store"]


async def test_a_watch_ends_whenever_it_is_cancelled(settings: Settings, pool: Pool) -> None:
    leases = Leases(settings.redis_url, cluster_id="x", ttl_s=15.0)
    for turns in range(60):
        task = asyncio.create_task(Watch(pool, leases).serve())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, f"cancelled after {turns} turns, it goes on"
    await leases.close()


async def test_output_wakes_only_those_who_follow_it(api: ApiServer) -> None:
    watch = api.parts.watch
    with watch.changes(1, with_output=True) as follower, watch.changes(1) as waiter, watch.changes(2) as stranger:
        await asyncio.sleep(0)
        await api.parts.leases.publish_wake(OUTPUT, [1])
        async with asyncio.timeout(5):
            await follower.wait()
        follower.clear()
        assert (waiter.is_set(), stranger.is_set()) == (False, False)
        await api.parts.leases.publish_wake(CHANGED, [1])
        async with asyncio.timeout(5):
            await asyncio.gather(follower.wait(), waiter.wait())


async def test_a_change_is_seen_without_any_wake_up(api: ApiServer, store: Connection) -> None:
    job_id = await api.submit()
    with api.parts.watch.changes(job_id) as changed:
        async with asyncio.timeout(10):
            await changed.wait()
            changed.clear()
            await seeding.start(store, job_id)
            await changed.wait()


async def test_nothing_is_kept_of_those_who_have_gone(api: ApiServer) -> None:
    watch = api.parts.watch
    with watch.changes(1, with_output=True), watch.changes(1):
        pass
    assert (dict(watch._states), dict(watch._outputs), watch._seen) == ({}, {}, {})
