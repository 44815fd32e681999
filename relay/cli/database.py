"""`relay migrate`, and the way to the database for the commands that need it themselves.

Only commands that an operator runs beside the database come here; all others go through the API.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from relay.cli import settings, terminal
from relay.errors import RelayError, Unavailable, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from relay.config import Settings
    from relay.store.connection import Connection


@click.command()
@settings.options("migrate")
@click.option("--dry-run", is_flag=True, help="Only list what would be applied.")
def migrate(dry_run: bool, **flags: object) -> None:
    """Bring the database's schema up to date."""
    loaded = settings.load("migrate", flags)
    names = run(_migrate(loaded, dry_run=dry_run))
    sys.stdout.write("".join(f"{name}\n" for name in names))
    if not names:
        terminal.say("the schema is up to date")
    elif dry_run:
        terminal.say("these would be applied by 'relay migrate'")


async def _migrate(loaded: Settings, *, dry_run: bool) -> list[str]:
    from relay.store import migrate as migrations  # noqa: PLC0415 - asyncpg is slow to import

    async with connected(loaded) as conn:
        return await migrations.migrate(conn, dry_run=dry_run)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end."""
    import asyncio  # noqa: PLC0415 - slow to import, and not needed for help

    return asyncio.run(coroutine)


@asynccontextmanager
async def connected(loaded: Settings) -> AsyncIterator[Connection]:
    """A connection. Raises Unreachable, with what PostgreSQL or the network said and with the address's password masked."""
    from relay.config import urls  # noqa: PLC0415 - only needed with a database
    from relay.store import connection  # noqa: PLC0415 - asyncpg is slow to import

    pool = await connection.open_pool(loaded, application="relay-cli", size=1)
    try:
        async with connection.connection(pool, timeout_s=10) as conn:
            yield conn
    except Unavailable as error:
        raise Unreachable(f"can't use PostgreSQL at {urls.masked(loaded.db_dsn)}: {reason(error)}") from error
    finally:
        pool.terminate()


def reason(error: BaseException) -> str:
    """What an outage said of itself, in one line."""
    while isinstance(error, RelayError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())[:200]
