"""A fresh database for each test, copied from one that was migrated once.

A copy costs some 20 ms, a migration ten times as much. Each copy gets its own cluster id, as two Relays have, so that tests
that share a Redis and a Kafka don't meet there; and its ids start at another number, so that a message left over from
an earlier test names no job of this one.
"""

from __future__ import annotations

import itertools
import os
import secrets
from urllib.parse import urlsplit

import asyncpg

from relay.store import migrate

SESSION = f"relay_test_{os.getpid()}_{secrets.token_hex(3)}"
TEMPLATE = f"{SESSION}_template"
_numbers = itertools.count(1)


def dsn_of(admin_dsn: str, database: str) -> str:
    """The same server and user, another database."""
    return urlsplit(admin_dsn)._replace(path=f"/{database}").geturl()


async def create_template(admin_dsn: str) -> None:
    """Make the migrated database that all the others are copies of."""
    await _administer(admin_dsn, f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(dsn_of(admin_dsn, TEMPLATE))
    try:
        await migrate.migrate(connection)
    finally:
        await connection.close()


async def create(admin_dsn: str) -> str:
    """A fresh migrated database: its name."""
    number = next(_numbers)
    name = f"{SESSION}_{number}"
    await _administer(admin_dsn, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    connection = await asyncpg.connect(dsn_of(admin_dsn, name))
    try:
        await connection.execute("UPDATE cluster SET cluster_id = gen_random_uuid()")
        await connection.execute(f"ALTER SEQUENCE jobs_id_seq RESTART WITH {number * 100_000 + 1}")
    finally:
        await connection.close()
    return name


async def drop(admin_dsn: str, name: str) -> None:
    """Remove a database, cutting whatever is still connected to it."""
    await _administer(admin_dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _administer(admin_dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
