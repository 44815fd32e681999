"""Compose one worker and run it until it is drained.

Start: wait for PostgreSQL, check schema and lease TTL, register, sweep what a dead predecessor on this host left behind
(fast rescue), then claim. End: stop claiming and leave the consumer group, wait for running jobs, hand back what has not
ended, record everything, forget the worker's row. If the guard dies, every job is killed at once and the worker exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from relay import errors, log, notify
from relay.bus import Consumer, Publisher
from relay.lease import Leases
from relay.model.results import Ending
from relay.store import cluster, migrate, workers
from relay.store.connection import GENERIC, Pool, connection, open_pool
from relay.worker import feeds, identity
from relay.worker.drain import Drain
from relay.worker.heart import Forgotten
from relay.worker.parts import Parts, assemble
from relay.worker.predecessors import rescue_predecessors
from relay.worker.stores import HEART_POOL, POOL, Stores
from relay.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from uuid import UUID

    from relay.config import Settings
    from relay.process.link import GuardLink
    from relay.worker.roster import Roster

_log = log.get(__name__)
_START_RETRY_S = 0.5
_LEAVE_S = 3.0  # for the consumer group to let go; it does so by itself later
_CLEAN_S = 15.0  # past the longest grace: for kills to be clean, and results to be recorded


async def run(settings: Settings, link: GuardLink) -> int:
    """Run a worker until it is drained; return its exit code: 0 drained, 1 it must start anew.

    Raises BadConfig if the schema or the cluster's lease TTL does not fit.
    """
    drain = Drain()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.signal)
    async with _open_pools(settings) as (pool, heart_pool):
        cluster_id = await _join(settings, pool, drain)
        if cluster_id is None:
            return 0
        leases = Leases(settings.redis_url, cluster_id=cluster_id, ttl_s=settings.lease_ttl_s)
        publisher = Publisher(settings, cluster_id)
        consumer = Consumer(settings, cluster_id, settings.queues)
        await publisher.start()
        try:
            return await _work(settings, Stores(pool, heart_pool, leases, publisher, consumer), link, drain)
        finally:
            await publisher.close()
            await leases.close()


@contextlib.asynccontextmanager
async def _open_pools(settings: Settings) -> AsyncIterator[tuple[Pool, Pool]]:
    pool = await open_pool(settings, application="relay work", size=POOL, plans=GENERIC)
    heart_pool = await open_pool(settings, application="relay work heart", size=HEART_POOL, plans=GENERIC)
    try:
        yield pool, heart_pool
    finally:
        for each in (pool, heart_pool):
            each.terminate()


async def _join(settings: Settings, pool: Pool, drain: Drain) -> UUID | None:
    """Wait for PostgreSQL, check what must agree, and return the cluster's id. None: a signal came first."""
    is_waiting = False
    while not drain.is_asked:
        try:
            async with connection(pool) as conn:
                await migrate.check_schema(conn)
                await cluster.agree_lease_ttl(conn, settings.lease_ttl_s)
                return (await cluster.get_cluster(conn)).cluster_id
        except errors.Unavailable as error:
            if not is_waiting:
                _log.warning("postgresql.unreachable", error=str(error.__cause__ or error))
                notify.tell("STATUS=waiting for PostgreSQL")
            is_waiting = True
            await asyncio.sleep(_START_RETRY_S)
    return None


async def _work(settings: Settings, stores: Stores, link: GuardLink, drain: Drain) -> int:
    async with connection(stores.pool) as conn:
        worker_id = await workers.register_worker(conn, identity.this_worker(settings))
    _log.info("worker.started", worker_id=worker_id, queues=settings.queues, slots=settings.concurrency)
    try:
        async with asyncio.TaskGroup() as attempts:
            parts = assemble(settings, stores, attempts, worker_id=worker_id, link=link, drain=drain)
            return await _serve(settings, stores, parts, link=link, drain=drain, worker_id=worker_id)
    except* Forgotten:
        _log.error("worker.forgotten", worker_id=worker_id)
    return 1


async def _serve(
    settings: Settings, stores: Stores, parts: Parts, *, link: GuardLink, drain: Drain, worker_id: int
) -> int:
    """Run all parts; drain when asked; end them in the order in which they need each other."""
    stealer = feeds.Stealer(stores.pool, stores.consumer, parts.claimer, queues=settings.queues)
    kept = (
        Watchdog((*parts.steps, stealer.step), parts.roster, drain, queues=settings.queues).serve(),
        parts.heart.beat(),
        parts.heart.renew(),
        parts.heart.watch_lapses(),
        parts.heart.hear_cancels(),
        parts.finisher.serve(),
        parts.shipper.serve(),
        parts.aftermath.serve(),
        rescue_predecessors(stores.pool, parts.aftermath, worker_id=worker_id, ttl_s=settings.lease_ttl_s),
    )
    feeding = (
        feeds.feed_from_kafka(stores.pool, stores.consumer, parts.claimer),
        parts.claimer.serve(),
        stealer.serve(),
    )
    async with asyncio.TaskGroup() as tasks:
        kept_tasks = [tasks.create_task(each) for each in kept]
        feeding_tasks = [tasks.create_task(each) for each in feeding]
        consuming = tasks.create_task(stores.consumer.run())
        is_guarded = await _wait_end(link, drain)
        _say_stopping(settings, parts.roster)
        await parts.claimer.close()
        for task in feeding_tasks:
            task.cancel()
        leaving = tasks.create_task(stores.consumer.close())  # may wait for a rebalance, and jobs should not
        await (_drain(settings, parts.roster, drain, link) if is_guarded else _kill_all(parts.roster))
        await parts.aftermath.round()
        for task in kept_tasks:  # the heart first: a beat after the row has gone would find this worker forgotten
            task.cancel()
        await _forget_worker(stores.pool, worker_id)
        await asyncio.wait([leaving], timeout=_LEAVE_S if is_guarded else 0)
        for task in (leaving, consuming):
            task.cancel()
    return 0 if is_guarded else 1


async def _wait_end(link: GuardLink, drain: Drain) -> bool:
    """Wait for a drain (True) or the guard's death (False)."""
    await _first(drain.wait_asked(), link.wait_closed())
    return not link.is_closed


def _say_stopping(settings: Settings, roster: Roster) -> None:
    """Tell the service manager that this is the end, and how long it may take: jobs say how much grace they have."""
    grace_s = max((claim.grace_s for claim in roster), default=0.0)
    at_most_s = settings.drain_timeout_s + grace_s + 2 * _CLEAN_S
    notify.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(at_most_s * 1e6)}")


async def _drain(settings: Settings, roster: Roster, drain: Drain, link: GuardLink) -> None:
    _log.info("worker.draining", running=len(roster), timeout_s=settings.drain_timeout_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.drain_timeout_s):
            await _first(roster.wait_empty(), drain.wait_forced(), link.wait_closed())
    graces = [claim.grace_s for claim in roster]
    for claim in roster:
        claim.stop(Ending.RELEASED)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(graces, default=0.0) + _CLEAN_S):
            await _first(roster.wait_empty(), link.wait_closed())
    if len(roster):
        await _kill_all(roster)


async def _kill_all(roster: Roster) -> None:
    _log.error("worker.unguarded_or_stuck", running=len(roster))
    for claim in roster:
        claim.give_up()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLEAN_S):
            await roster.wait_empty()


async def _first(*waits: Coroutine[object, object, None]) -> None:
    """Wait until the first of these has ended, and cancel the others."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(wait) for wait in waits]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()


async def _forget_worker(pool: Pool, worker_id: int) -> None:
    try:
        async with connection(pool) as conn:
            await workers.remove_worker(conn, worker_id)
    except errors.Unavailable:
        _log.warning("worker.row_left", worker_id=worker_id)
