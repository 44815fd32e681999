"""The schema's migrations: forward only, one transaction each, each recorded with the SHA-256 of its file.

An advisory lock of the transaction, not of the session, keeps two migrating processes apart, so PgBouncer in transaction mode
does. A migration that was applied may not change any more: a checksum that differs stops every start. There is no way
back: a faulty migration is mended by the next one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from relay import errors
from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `sql/migrations`."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> bytes:
        """The file's checksum."""
        return hashlib.sha256(self.text.encode()).digest()


@cache
def migrations() -> tuple[Migration, ...]:
    """Read all migrations of this version of Relay, oldest first. Their numbers are 1, 2, … without gaps."""
    found: list[Migration] = []
    for path in sorted((queries.folder() / "migrations").glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_\w+", path.stem)
        if match is None or int(match[1]) != len(found) + 1:
            raise errors.BadConfig(f"the migration {path.name} is not number {len(found) + 1:04d}: reinstall Relay")
        found.append(Migration(int(match[1]), path.stem, path.read_text("utf-8")))
    return tuple(found)


async def migrate(conn: Connection, *, dry_run: bool = False) -> list[str]:
    """Bring the schema up to date; return the names of the migrations applied (or, in a dry run, that would be).

    Safe to run by many processes at once. Raises BadConfig when the database is newer than this code, or its history differs.
    """
    wanted = migrations()
    pending = wanted[len(await _applied(conn)) :]
    if dry_run:
        return [migration.name for migration in pending]
    return [migration.name for migration in pending if await _apply(conn, migration)]


async def _apply(conn: Connection, migration: Migration) -> bool:
    """Apply one migration, unless another process did in the meantime."""
    async with conn.transaction():
        await lock_migrations(conn)
        await create_migrations_table(conn)
        if len(await _applied(conn)) >= migration.version:
            return False
        await conn.execute(migration.text)
        await record_migration(conn, migration)
        return True


async def check_schema(conn: Connection) -> None:
    """Raise BadConfig, saying what to do, unless the schema is exactly the one this code was written for."""
    missing = migrations()[len(await _applied(conn)) :]
    if missing:
        raise errors.BadConfig(
            f"the database's schema is older than this Relay ({missing[0].name} is missing): run 'relay migrate'"
        )


async def _applied(conn: Connection) -> Sequence[Migration]:
    """Return this code's migrations that the database has. Raises BadConfig when it has others."""
    known = migrations()
    rows = await list_migrations(conn) if await has_migrations_table(conn) else []
    if len(rows) > len(known):
        raise errors.BadConfig(
            f"the database's schema is newer than this Relay ({rows[-1][1]}): install the version that made it, or a later one"
        )
    for (version, name, sha256), migration in zip(rows, known, strict=False):
        if (version, sha256) != (migration.version, migration.sha256):
            raise errors.BadConfig(
                f"the database's migration {name} differs from this Relay's {migration.name}: it belongs to another version"
            )
    return known[: len(rows)]


async def lock_migrations(conn: Connection) -> None:
    """Keep other migrating processes out until the transaction ends."""
    await conn.fetchrow(queries.text("lock_migrations"))


async def has_migrations_table(conn: Connection) -> bool:
    """Tell whether this database was ever migrated."""
    return bool(await conn.fetchval(queries.text("has_migrations_table")))


async def create_migrations_table(conn: Connection) -> None:
    """Make the record of migrations, if need be."""
    await conn.fetch(queries.text("create_migrations_table"))


async def list_migrations(conn: Connection) -> list[tuple[int, str, bytes]]:
    """List version, name and checksum of what was applied, oldest first."""
    rows = await conn.fetch(queries.text("list_migrations"))
    return [(row["version"], row["name"], row["sha256"]) for row in rows]


async def record_migration(conn: Connection, migration: Migration) -> None:
    """Note a migration as applied."""
    await conn.fetch(queries.text("record_migration"), migration.version, migration.name, migration.sha256)
