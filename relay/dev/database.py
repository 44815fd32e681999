"""Bring the database up to date and make the token of this run."""

from __future__ import annotations

import asyncpg

from relay.store import migrate, tokens

TOKEN_NAME = "relay dev"  # noqa: S105 - a token's name
ACTOR = "cli:relay dev"


async def prepare(dsn: str) -> str:
    """Migrate, and make an admin token in place of the earlier runs': its text."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrate.migrate(connection)
        for token in await tokens.list_tokens(connection):
            if token.name == TOKEN_NAME and token.revoked_at is None:
                await tokens.revoke_token(connection, token.id, actor=ACTOR)
        return (await tokens.create_token(connection, TOKEN_NAME, scope="admin", actor=ACTOR))[1]
    finally:
        await connection.close()
