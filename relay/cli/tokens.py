"""`relay token`: who may use the API. These commands talk to the database, since the API can't be asked without a token."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from relay.cli import database, render, settings, tables, terminal
from relay.cli.options import duration, output_option, token_identifier
from relay.cli.tables import Column
from relay.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config import Settings
    from relay.store.tokens import Token


@click.group()
def token() -> None:
    """Create, list or revoke API tokens.

    Scopes: read (look), submit (also submit, retry, cancel: it can run any command as the workers' user), admin (all).
    """


@token.command()
@click.option("--name", metavar="NAME", help="Whose it is (default: your user name).")
@click.option("--scope", type=click.Choice(["read", "submit", "admin"]), default="admin", show_default=True)
@click.option(
    "--expires", type=duration, metavar="D", help="Works for this long, such as 90d (default: until revoked)."
)
@settings.options("token")
def create(name: str | None, scope: str, expires: float | None, **flags: object) -> None:
    """Create a token, and print it: it can't be shown again."""
    loaded = settings.load("token", flags)
    made, text = database.run(_create(loaded, name or _user(), scope=scope, expires_s=expires))
    sys.stdout.write(f"{text}\n")
    terminal.say(f"token {made.id} ({scope}): use it as RELAY_TOKEN, or from a file (chmod 600) with --token-file")


@token.command("list")
@output_option()
@settings.options("token")
def list_tokens(output: str, **flags: object) -> None:
    """List all tokens: the revoked and expired ones too, and never their text."""
    found: list[Token] = database.run(_list(settings.load("token", flags)))
    if output == "json":
        render.as_json([_as_json(each) for each in found])
    elif output == "name":
        render.ids([each.id for each in found])
    else:
        tables.write(_COLUMNS, found)


@token.command()
@click.argument("token_id", metavar="ID", type=token_identifier)
@settings.options("token")
def revoke(token_id: int, **flags: object) -> None:
    """Revoke a token: no API node takes it any more when this returns, a second later."""
    database.run(_revoke(settings.load("token", flags), token_id))
    terminal.say(f"token {token_id} is revoked")


async def _create(loaded: Settings, name: str, *, scope: str, expires_s: float | None) -> tuple[Token, str]:
    from relay.store import migrate, tokens  # noqa: PLC0415 - asyncpg is slow to import

    expires_at = None if expires_s is None else datetime.now(UTC) + timedelta(seconds=expires_s)
    async with database.connected(loaded) as conn:
        await migrate.check_schema(conn)
        return await tokens.create_token(conn, name, scope=scope, expires_at=expires_at, actor=_actor())


async def _list(loaded: Settings) -> list[Token]:
    from relay.store import migrate, tokens  # noqa: PLC0415 - asyncpg is slow to import

    async with database.connected(loaded) as conn:
        await migrate.check_schema(conn)
        return await tokens.list_tokens(conn)


async def _revoke(loaded: Settings, token_id: int) -> None:
    import asyncio  # noqa: PLC0415 - slow to import too

    from relay.store import migrate, tokens  # noqa: PLC0415 - asyncpg is slow to import

    async with database.connected(loaded) as conn:
        await migrate.check_schema(conn)
        try:
            await tokens.revoke_token(conn, token_id, actor=_actor())
        except NotFound as error:
            raise NotFound(f"{error.detail}: see 'relay token list'") from None
    await asyncio.sleep(tokens.KEPT_S)


def _state(each: Token) -> str:
    if each.revoked_at is not None:
        return "revoked"
    return "expired" if each.expires_at is not None and each.expires_at <= datetime.now(UTC) else "active"


def _as_json(each: Token) -> dict[str, object]:
    moments = {"created_at": each.created_at, "expires_at": each.expires_at, "revoked_at": each.revoked_at}
    times = {
        name: None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        for name, at in moments.items()
    }
    return {"id": each.id, "name": each.name, "scope": each.scope, "state": _state(each), **times}


_COLUMNS: Sequence[Column[Token]] = (
    Column("ID", lambda each: each.id, is_number=True),
    Column("NAME", lambda each: each.name, is_long=True),
    Column("SCOPE", lambda each: each.scope),
    Column("STATE", _state),
    Column("CREATED", lambda each: render.moment(_as_json(each)["created_at"])),
    Column("EXPIRES", lambda each: render.moment(_as_json(each)["expires_at"])),
)


def _user() -> str:
    """The name of whoever runs this; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


def _actor() -> str:
    return f"cli:{_user()}"
