"""Retention: what is old enough goes, and output's partitions for the next days are made ahead.

Jobs are deleted in batches under SKIP LOCKED; their output is not touched, but dropped by the day once no attempt refers to
that day any more, since dropping a partition costs nothing and deleting its rows would cost as much as writing them. Rows
that fell into the default partition (no process had made their day's) are deleted one by one. Each step is a
transaction of its own, and may run in any number of processes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.store import queries

if TYPE_CHECKING:
    from relay.store.connection import Connection

BATCH: Final = 1000
DAYS_AHEAD: Final = 3


async def ensure_output_days(conn: Connection) -> int:
    """Make the partitions of today and the next days; return how many were missing."""
    async with conn.transaction():
        return await _change_days(conn, await list_missing_output_days(conn)) if await lock_output_days(conn) else 0


async def drop_old_output_days(conn: Connection, retention_s: float) -> int:
    """Drop the partitions past retention that no attempt refers to; return how many."""
    async with conn.transaction():
        return (
            await _change_days(conn, await list_old_output_days(conn, retention_s))
            if await lock_output_days(conn)
            else 0
        )


async def _change_days(conn: Connection, statements: list[str]) -> int:
    for statement in statements:
        await conn.execute(statement)
    return len(statements)


async def lock_output_days(conn: Connection) -> bool:
    """Take the right to make and drop partitions until the transaction ends; False: another process has it."""
    return bool(await conn.fetchval(queries.text("lock_output_days")))


async def list_missing_output_days(conn: Connection) -> list[str]:
    """Return the DDL that makes the missing partitions."""
    return [row["statement"] for row in await conn.fetch(queries.text("list_missing_output_days"), DAYS_AHEAD)]


async def list_old_output_days(conn: Connection, retention_s: float) -> list[str]:
    """Return the DDL that drops the old partitions."""
    return [row["statement"] for row in await conn.fetch(queries.text("list_old_output_days"), retention_s)]


async def delete_old_jobs(conn: Connection, retention_s: float, *, limit: int = BATCH) -> int:
    """Delete at most `limit` terminal jobs past retention; return how many."""
    return len(await conn.fetch(queries.text("delete_old_jobs"), retention_s, limit))


async def delete_stray_output(conn: Connection, retention_s: float, *, limit: int = BATCH) -> int:
    """Delete at most `limit` old rows of the default partition; return how many."""
    return len(await conn.fetch(queries.text("delete_stray_output"), retention_s, limit))


async def delete_lost_workers(conn: Connection, unseen_s: float) -> int:
    """Forget workers that have been lost for `unseen_s`; return how many. One that still lives starts anew."""
    return len(await conn.fetch(queries.text("delete_lost_workers"), unseen_s))


async def forget_unused_locks(conn: Connection, unused_s: float, *, limit: int = BATCH) -> int:
    """Forget at most `limit` names of locks that are not in use; return how many.

    A job that begins to wait for one meanwhile is seen by the second statement, or its name is written when it is dispatched.
    """
    async with conn.transaction():
        names = await delete_unused_locks(conn, unused_s, limit)
        if names:
            await restore_locks(conn, names)
    return len(names)


async def delete_unused_locks(conn: Connection, unused_s: float, limit: int) -> list[str]:
    """Delete names of locks that nobody holds or waits for."""
    return [row["name"] for row in await conn.fetch(queries.text("delete_unused_locks"), unused_s, limit)]


async def restore_locks(conn: Connection, names: list[str]) -> None:
    """Write those names again that somebody waits for."""
    await conn.execute(queries.text("restore_locks"), names)


async def delete_old_bad_messages(conn: Connection, retention_s: float) -> int:
    """Forget bad messages past retention; return how many."""
    return len(await conn.fetch(queries.text("delete_old_bad_messages"), retention_s))
