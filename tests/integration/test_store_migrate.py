"""Migrations and the cluster's row: what is refused, and that many may migrate at once."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay import errors
from relay.store import cluster, migrate
from relay.store.migrate import Migration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.connection import Connection
    from tests.stack import Stack


@pytest.fixture
async def empty(stack: Stack) -> AsyncIterator[str]:
    """The DSN of a database without a schema."""
    admin = await asyncpg.connect(stack.pg_admin_dsn)
    await admin.execute("CREATE DATABASE relay_test_empty")
    yield stack.pg_admin_dsn.rpartition("/")[0] + "/relay_test_empty"
    await admin.execute("DROP DATABASE relay_test_empty WITH (FORCE)")
    await admin.close()


def known(monkeypatch: pytest.MonkeyPatch, *migrations: Migration) -> None:
    """Let this Relay know these migrations only."""
    monkeypatch.setattr(migrate, "migrations", lambda: migrations)


async def test_a_dry_run_tells_what_is_missing_and_changes_nothing(empty: str) -> None:
    conn = await asyncpg.connect(empty)

    names = await migrate.migrate(conn, dry_run=True)

    assert names == [migration.name for migration in migrate.migrations()]
    assert await conn.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await conn.close()


async def test_many_may_migrate_at_once_and_each_migration_is_applied_once(empty: str) -> None:
    conns = [await asyncpg.connect(empty) for _ in range(4)]

    applied = await asyncio.gather(*(migrate.migrate(conn) for conn in conns))

    assert sorted(name for names in applied for name in names) == [migration.name for migration in migrate.migrations()]
    await migrate.check_schema(conns[0])
    for conn in conns:
        await conn.close()


async def test_migrating_again_does_nothing(conn: Connection) -> None:
    assert await migrate.migrate(conn) == []


async def test_a_failed_migration_leaves_nothing(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, *migrate.migrations(), Migration(2, "0002_bad", "CREATE TABLE half (); SELECT 1/0;"))

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(conn)

    assert await conn.fetchval("SELECT to_regclass('half')") is None
    assert await conn.fetchval("SELECT count(*) FROM schema_migrations") == 1


async def test_an_older_schema_is_refused_with_what_to_run(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, *migrate.migrations(), Migration(2, "0002_more", "SELECT 1"))

    with pytest.raises(errors.BadConfig, match=r"older.*relay migrate"):
        await migrate.check_schema(conn)


async def test_a_database_without_a_schema_is_refused_with_what_to_run(empty: str) -> None:
    conn = await asyncpg.connect(empty)
    with pytest.raises(errors.BadConfig, match="relay migrate"):
        await migrate.check_schema(conn)
    await conn.close()


async def test_a_newer_schema_is_refused_by_check_and_migrate(conn: Connection) -> None:
    digest = hashlib.sha256(b"").digest()
    await conn.execute("INSERT INTO schema_migrations VALUES (999, '0999_future', $1)", digest)

    for refused in (migrate.check_schema(conn), migrate.migrate(conn)):
        with pytest.raises(errors.BadConfig, match=r"newer.*0999_future"):
            await refused


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(conn: Connection) -> None:
    await conn.execute("UPDATE schema_migrations SET sha256 = $1", hashlib.sha256(b"").digest())

    with pytest.raises(errors.BadConfig, match="differs"):
        await migrate.check_schema(conn)


async def test_the_first_lease_ttl_holds_for_all(conn: Connection) -> None:
    await cluster.agree_lease_ttl(conn, 15.0)
    await cluster.agree_lease_ttl(conn, 15.0)

    with pytest.raises(errors.BadConfig, match=r"RELAY_LEASE_TTL is 20s.*15s"):
        await cluster.agree_lease_ttl(conn, 20.0)

    assert (await cluster.get_cluster(conn)).lease_ttl_s == 15.0


async def test_a_database_that_lost_its_cluster_row_is_refused(conn: Connection) -> None:
    await conn.execute("DELETE FROM cluster")

    for refused in (cluster.get_cluster(conn), cluster.agree_lease_ttl(conn, 15.0)):
        with pytest.raises(errors.BadConfig):
            await refused
