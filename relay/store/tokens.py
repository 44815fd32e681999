"""API tokens: `rly_<id>_<43 characters>`, of which only the SHA-256 is kept.

The id makes finding a token one look-up by key, so that no comparison of secrets happens in an index; the caller compares the
digests in constant time. 43 characters are 256 random bits: no salt and no slow hash is needed. The text is shown once.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay import errors
from relay.store import queries, rows

if TYPE_CHECKING:
    from datetime import datetime

    from relay.store.connection import Connection, Record

KEPT_S = 1.0  # for how long a process that checks tokens may go by what it last saw of one


@dataclass(frozen=True, slots=True)
class Token:
    """A token as stored. `scope` is read, submit or admin; it works while it is neither expired nor revoked."""

    id: int
    name: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    sha256: bytes = field(repr=False)


async def create_token(
    conn: Connection, name: str, *, scope: str, expires_at: datetime | None = None, actor: str
) -> tuple[Token, str]:
    """Make a token; return it with its text, which can't be read again."""
    token_id: int = await draw_token_id(conn)
    text = f"rly_{token_id}_{secrets.token_urlsafe(32)}"
    token = await insert_token(
        conn, token_id, name=name, scope=scope, sha256=digest(text), expires_at=expires_at, actor=actor
    )
    return token, text


def digest(text: str) -> bytes:
    """Return what is stored of a token's text."""
    return hashlib.sha256(text.encode()).digest()


async def draw_token_id(conn: Connection) -> int:
    """Draw the id of the next token."""
    token_id: int = await conn.fetchval(queries.text("draw_token_id"))
    return token_id


async def insert_token(
    conn: Connection, token_id: int, *, name: str, scope: str, sha256: bytes, expires_at: datetime | None, actor: str
) -> Token:
    """Store a token and who made it."""
    row = await conn.fetchrow(queries.text("insert_token"), token_id, name, scope, sha256, expires_at, actor)
    assert row is not None
    return _token(row)


async def find_token(conn: Connection, token_id: int) -> Token | None:
    """Find a token by its id; None: there is none. Whether it is still good is for the caller to judge."""
    row = await conn.fetchrow(queries.text("find_token"), rows.row_id(token_id))
    return None if row is None else _token(row)


async def list_tokens(conn: Connection) -> list[Token]:
    """List all tokens, oldest first, the revoked and expired ones too."""
    return [_token(row) for row in await conn.fetch(queries.text("list_tokens"))]


async def revoke_token(conn: Connection, token_id: int, *, actor: str) -> Token:
    """Revoke a token; the first revocation's time stands. Raises NotFound."""
    row = await conn.fetchrow(queries.text("revoke_token"), rows.row_id(token_id), actor)
    if row is None:
        raise errors.NotFound(f"there is no token {token_id}")
    return _token(row)


def _token(row: Record) -> Token:
    return Token(
        row["id"], row["name"], row["scope"], row["created_at"], row["expires_at"], row["revoked_at"], row["sha256"]
    )
