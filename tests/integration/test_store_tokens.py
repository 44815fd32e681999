"""Tokens: made once, kept as a digest, revoked for good."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import pytest

from relay import errors
from relay.store import audit, tokens

if TYPE_CHECKING:
    from relay.store.connection import Connection


async def test_a_token_is_found_by_its_id_and_stored_as_a_digest_only(conn: Connection) -> None:
    token, text = await tokens.create_token(conn, "ci", scope="submit", actor="cli:root")

    assert re.fullmatch(rf"rly_{token.id}_[A-Za-z0-9_-]{{43}}", text)
    found = await tokens.find_token(conn, token.id)
    assert found == token
    assert found.sha256 == tokens.digest(text)
    secret = text.split("_", 2)[2]
    dump = [str(tuple(row.values())) for row in await conn.fetch("SELECT tokens::text FROM tokens")]
    dump += [str(tuple(row.values())) for row in await conn.fetch("SELECT audit::text FROM audit")]
    assert secret not in " ".join(dump)
    assert token.sha256.hex() not in repr(token)


async def test_making_and_revoking_a_token_is_audited(conn: Connection) -> None:
    token, _ = await tokens.create_token(conn, "ci", scope="read", actor="cli:root")
    await tokens.revoke_token(conn, token.id, actor="token:1")
    await tokens.revoke_token(conn, token.id, actor="token:2")

    rows = await conn.fetch("SELECT actor, action, detail FROM audit ORDER BY id")
    assert [(row["actor"], row["action"]) for row in rows] == [
        ("cli:root", "token.create"),
        ("token:1", "token.revoke"),
    ]
    assert json.loads(rows[0]["detail"]) == {"token": token.id, "name": "ci", "scope": "read"}


async def test_a_revocation_stands_as_it_was_first_made(conn: Connection) -> None:
    token, _ = await tokens.create_token(conn, "ci", scope="read", actor="cli:root")

    first = await tokens.revoke_token(conn, token.id, actor="a")
    second = await tokens.revoke_token(conn, token.id, actor="b")

    assert first.revoked_at is not None
    assert second.revoked_at == first.revoked_at


async def test_all_tokens_are_listed_with_their_expiry(conn: Connection) -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)
    made = [
        (await tokens.create_token(conn, name, scope="admin", expires_at=expires_at, actor="a"))[0]
        for name, expires_at in (("a", None), ("b", until))
    ]

    assert await tokens.list_tokens(conn) == made
    assert [token.expires_at for token in made] == [None, until]


@pytest.mark.parametrize("token_id", [0, 999, 10**30])
async def test_an_unknown_token_is_not_found(conn: Connection, token_id: int) -> None:
    assert await tokens.find_token(conn, token_id) is None
    with pytest.raises(errors.NotFound):
        await tokens.revoke_token(conn, token_id, actor="a")


async def test_a_scope_that_does_not_exist_is_refused_by_the_database(conn: Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await tokens.create_token(conn, "x", scope="root", actor="a")


async def test_other_calls_can_leave_an_audit_row(conn: Connection) -> None:
    await audit.record_audit(conn, "token:1", action="schedule.create", detail={"name": "nightly"})

    row = await conn.fetchrow("SELECT actor, action, job_id, detail FROM audit")
    assert row is not None
    assert tuple(row) == ("token:1", "schedule.create", None, '{"name": "nightly"}')
