"""`relay serve`: the API and the maintenance, composed.

PostgreSQL must answer at the start, with this code's schema and lease TTL: it is waited for `START_S`, then the start fails with
one line. Redis and Kafka may come and go. The first SIGTERM or SIGINT drains: nothing new is accepted, requests are finished,
streams end with a hint to come back; the second aborts. Maintenance has connections of its own, so that a flood of requests
can't starve rescues.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from typing import TYPE_CHECKING

from relay import errors, failpoints, log, notify
from relay.api import app, listening
from relay.bus import Publisher
from relay.lease import Leases
from relay.maintenance.run import run_maintenance
from relay.maintenance.state import State
from relay.store import cluster, connection, migrate, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.api.call import Parts
    from relay.config import Settings
    from relay.store.connection import Pool

START_S = 30.0
_POOL_SIZE = 10
_MAINTENANCE_POOL_SIZE = 3

_log = log.get(__name__)


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises RelayError when it can't start."""
    failpoints.arm(settings.failpoints)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    with _stop_signal() as stop:
        async with _pool(settings, "relay serve", _POOL_SIZE) as pool:
            found = await _until_stopped(_prepare(pool, settings), stop)
            if found is not None:
                await _compose(settings, pool, cluster_=found, stop=stop)
    _log.info("serve.stopped")


async def _compose(settings: Settings, pool: Pool, *, cluster_: cluster.Cluster, stop: asyncio.Event) -> None:
    """Run every part until `stop`; then the server drains first, and the others end after it."""
    leases = Leases(settings.redis_url, cluster_id=cluster_.cluster_id, ttl_s=settings.lease_ttl_s)
    publisher = Publisher(settings, cluster_.cluster_id)
    state = State()
    parts = app.assemble(
        settings,
        cluster_id=cluster_.cluster_id,
        pool=pool,
        leases=leases,
        publisher=publisher,
        maintenance=state,
    )
    async with _pool(settings, "relay maintenance", _MAINTENANCE_POOL_SIZE) as own_pool:
        await publisher.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(parts.submissions.serve()),
                    group.create_task(parts.watch.serve()),
                    group.create_task(run_maintenance(own_pool, leases, publisher, settings, state=state)),
                ]
                async with listening.listening(parts) as address:
                    await _say_no_token(parts)
                    _calm_gc()
                    tasks.append(group.create_task(_tell_manager(address)))
                    await stop.wait()
                    notify.tell("STOPPING=1", "STATUS=draining")
                for task in tasks:
                    task.cancel()
        finally:
            await publisher.close()
            await leases.close()


async def _prepare(pool: Pool, settings: Settings) -> cluster.Cluster:
    """Wait for PostgreSQL, and check that this process fits the database. Raises BadConfig, or Unavailable after `START_S`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    is_told = False
    while True:
        try:
            async with connection.connection(pool) as conn:
                await migrate.check_schema(conn)
                await cluster.agree_lease_ttl(conn, settings.lease_ttl_s)
                return await cluster.get_cluster(conn)
        except errors.Unavailable as error:
            cause = error.__cause__ or error
            if loop.time() > deadline:
                raise errors.Unavailable(f"PostgreSQL can't be reached (RELAY_DB_DSN): {_one_line(cause)}") from error
            if not is_told:
                _log.warning("serve.waiting_for_postgresql", error=_one_line(cause), at_most_s=START_S)
                notify.tell("STATUS=waiting for PostgreSQL")
                is_told = True
            await asyncio.sleep(1)


async def _until_stopped(prepare: object, stop: asyncio.Event) -> cluster.Cluster | None:
    """Await the preparation; None when `stop` comes first."""
    assert asyncio.iscoroutine(prepare)
    preparing: asyncio.Task[cluster.Cluster] = asyncio.create_task(prepare)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return preparing.result() if preparing.done() else None
    finally:
        for task in (preparing, stopping):
            task.cancel()
        await asyncio.wait({preparing, stopping})


async def _tell_manager(address: str) -> None:
    """Tell the service manager that this server is ready, and that its event loop turns, until cancelled."""
    if not notify.is_heard():
        return
    bears_s = notify.watchdog_s()
    is_told = False
    while not is_told or bears_s is not None:
        is_told = is_told or notify.tell("READY=1", f"STATUS=serving {address}")
        notify.tell("WATCHDOG=1")
        await asyncio.sleep(1.0 if bears_s is None else bears_s / 3)


def _calm_gc() -> None:
    """Collect garbage less often.

    Requests leave no cycles; but the objects of a hundred at once look like growth, and walking them takes a tenth of the time.
    """
    gc.freeze()  # what lives as long as the process
    gc.set_threshold(200_000, 50, 100)


async def _say_no_token(parts: Parts) -> None:
    """Log how to make a token when there is none: every call would be answered 401, and nobody knew why."""
    if not parts.settings.auth:
        _log.warning("serve.auth_off", why="RELAY_AUTH=off: whoever reaches this address may run commands")
        return
    try:
        async with parts.connection() as conn:
            known = await tokens.list_tokens(conn)
    except errors.Unavailable:
        return
    if not any(token.revoked_at is None for token in known):
        _log.warning("serve.no_token", do="make one with 'relay token create'; until then every call is answered 401")


@contextlib.asynccontextmanager
async def _pool(settings: Settings, application: str, size: int) -> AsyncIterator[Pool]:
    pool = await connection.open_pool(settings, application=application, size=size)
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@contextlib.contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """Give an event that the first SIGTERM or SIGINT sets; the second cancels the caller."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    caller = asyncio.current_task()
    assert caller is not None

    def note() -> None:
        if stop.is_set():
            caller.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, note)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
