"""Connections to PostgreSQL, and one meaning for all the ways in which it can be away.

A pool opens its connections when they are first needed, so a process starts (and `/readyz` answers) without PostgreSQL.
No session state is kept but harmless timeouts: asyncpg's reset, a round trip per release, is replaced by nothing (it still
rolls back a transaction that was left open). That also is what PgBouncer in transaction mode needs, together with its
`max_prepared_statements` (1.21 or later). JIT is off: compiling a plan costs more than any statement of Relay runs.

`connection` turns every outage into `errors.Unavailable`. It does not retry, and after an outage during COMMIT nobody knows
whether the commit took place: callers that must know look again.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import asyncpg

from relay import errors
from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

AUTO: Final = "auto"
GENERIC: Final = "force_generic_plan"
CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 35.0  # past the server's statement_timeout: only a silent network gets here

OUTAGES: Final = (
    OSError,  # refused, reset, unreachable, TLS failures; TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, statement timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.PostgresSystemError,  # I/O errors of the server
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a primary that was demoted
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,  # deadlock or serialization failure: nothing was written
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InternalClientError,  # the server's farewell to an idle connection was read, and its end was not yet
)
CLOSED: Final = ("connection is closed", "connection was closed", "pool is clos", "connection has been released")


class DatabaseSettings(Protocol):
    """What of the settings a pool needs."""

    @property
    def db_dsn(self) -> str:
        """The address of the database, with its password."""


async def open_pool(settings: DatabaseSettings, *, application: str, size: int, plans: str = AUTO) -> Pool:
    """Make a pool of at most `size` connections; it connects when a connection is first asked for.

    `plans` GENERIC: each statement is planned once, for any values. For a pool that lists nothing by a user's filters: left to
    itself, PostgreSQL plans claims of a few jobs anew each time, which costs twice as much as running them.
    """
    return await asyncpg.create_pool(
        settings.db_dsn,
        min_size=0,
        max_size=size,
        max_queries=1_000_000,
        init=functools.partial(set_session, plans=plans),
        reset=_keep_session,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": application},
    )


async def set_session(conn: Connection, *, plans: str = AUTO) -> None:
    """Set the session's timeouts and its way to plan. A pool does it once per connection."""
    await conn.fetchrow(queries.text("set_session"), plans)


async def _keep_session(_conn: Connection) -> None:
    """Keep the session as it is between two users."""


@asynccontextmanager
async def connection(pool: Pool, *, timeout_s: float = 5.0) -> AsyncIterator[Connection]:
    """Lend a connection of the pool for one piece of work; an outage before or in it raises `errors.Unavailable`.

    `timeout_s` bounds the wait for a free connection only. Keep the block free of subprocesses, Kafka, Redis and sleeps.
    """
    try:
        async with asyncio.timeout(timeout_s):
            conn = await pool.acquire()
        try:
            yield conn
        finally:
            await pool.release(conn, timeout=timeout_s)
    except Exception as error:
        if is_outage(error):
            raise errors.Unavailable(retry_after_s=1) from error
        raise


def is_outage(error: BaseException) -> bool:
    """Tell whether an error says that PostgreSQL is away or can't serve now, rather than that the request is wrong."""
    if isinstance(error, (*OUTAGES, errors.Unavailable)):
        return True
    return isinstance(error, asyncpg.InterfaceError) and any(phrase in str(error) for phrase in CLOSED)
