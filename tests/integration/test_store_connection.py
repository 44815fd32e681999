"""Connections: every outage is Unavailable, and nothing else is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay import errors
from relay.store import connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.connection import Connection, Pool


@dataclass(frozen=True, slots=True)
class Address:
    db_dsn: str


@pytest.fixture
async def one(db: str) -> AsyncIterator[Pool]:
    """A pool of one connection."""
    pool = await connection.open_pool(Address(db), application="relay test", size=1)
    yield pool
    pool.terminate()


async def test_a_pool_opens_without_a_server_and_every_use_says_unavailable() -> None:
    pool = await connection.open_pool(Address("postgresql://relay@127.0.0.1:1/relay"), application="relay test", size=1)

    with pytest.raises(errors.Unavailable) as caught:
        async with connection.connection(pool):
            pass

    assert caught.value.retry_after_s == 1
    await pool.close()


async def test_a_connection_that_the_server_ends_is_unavailable_and_the_next_one_works(
    one: Pool, conn: Connection
) -> None:
    async def use_after_the_end() -> None:
        async with connection.connection(one) as lent:
            await conn.fetchval("SELECT pg_terminate_backend($1)", lent.get_server_pid())
            await lent.fetchval("SELECT 1")

    with pytest.raises(errors.Unavailable):
        await use_after_the_end()

    async with connection.connection(one) as lent:
        assert await lent.fetchval("SELECT 1") == 1


async def test_waiting_too_long_for_a_free_connection_is_unavailable(one: Pool) -> None:
    async with connection.connection(one):
        with pytest.raises(errors.Unavailable):
            async with connection.connection(one, timeout_s=0.05):
                pass

    async with connection.connection(one) as lent:
        assert await lent.fetchval("SELECT 1") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = '10ms'; SELECT pg_sleep(10)",
        "DO $$ BEGIN RAISE SQLSTATE '25006'; END $$",  # a read-only standby
        "DO $$ BEGIN RAISE SQLSTATE '53100'; END $$",  # disk full
        "DO $$ BEGIN RAISE SQLSTATE '53300'; END $$",  # too many connections
        "DO $$ BEGIN RAISE SQLSTATE '57P01'; END $$",  # admin shutdown
        "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$",  # deadlock
        "DO $$ BEGIN RAISE SQLSTATE '58030'; END $$",  # I/O error
    ],
)
async def test_a_server_that_cannot_serve_is_unavailable(one: Pool, statement: str) -> None:
    with pytest.raises(errors.Unavailable):
        async with connection.connection(one) as lent:
            await lent.execute(statement)


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [("SELECT nothing", []), ("SELECT $1::integer", ["x"]), ("SELECT $1::integer", []), ("SELECT 1/0", [])],
)
async def test_a_wrong_statement_is_an_error_of_its_own(one: Pool, statement: str, arguments: list[object]) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        async with connection.connection(one) as lent:
            await lent.fetch(statement, *arguments)


async def test_an_interrupted_transaction_is_rolled_back_before_the_next_user_gets_the_connection(one: Pool) -> None:
    async def begin(begun: asyncio.Event) -> None:
        async with connection.connection(one) as lent, lent.transaction():
            await lent.execute("CREATE TABLE interrupted ()")
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(begin(begun))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])

    async with connection.connection(one) as lent:
        assert await lent.fetchval("SELECT to_regclass('interrupted')") is None


async def test_a_session_is_bounded_and_stays_so_when_it_is_lent_again(one: Pool) -> None:
    for _ in range(2):
        async with connection.connection(one) as lent:
            assert await lent.fetchval("SELECT current_setting('statement_timeout')") == "30s"
            assert await lent.fetchval("SELECT current_setting('idle_in_transaction_session_timeout')") == "10s"
            assert await lent.fetchval("SELECT current_setting('application_name')") == "relay test"
