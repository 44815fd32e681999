"""What commands share: options, the types of arguments, and the way to the API.

`@api_command` turns an async function that takes a client first into a click callback: it adds `--api` and `--token-file`,
finds address and token, and runs the function. aiohttp is imported then, and not before.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from relay.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from relay.client import Client, Endpoint

Callback: TypeAlias = "Callable[..., Any]"


def identifier(value: str) -> int:
    """A job's id. What can't be one names nothing that exists, so it is 'not found' rather than bad usage."""
    return _number(value, seen_in="relay list")


def token_identifier(value: str) -> int:
    """As `identifier`, of a token."""
    return _number(value, seen_in="relay token list")


def worker_identifier(value: str) -> int:
    """As `identifier`, of a worker."""
    return _number(value, seen_in="relay worker list")


def _number(value: str, *, seen_in: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise NotFound(f"there is no {value[:40]!r}: ids are whole numbers (see '{seen_in}')")
    return int(value)


def duration(value: str) -> float:
    """Seconds of `90s`, `5m`, `1h30m`."""
    from relay.model import durations  # noqa: PLC0415 - only commands with such an option need it

    try:
        return durations.parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}") from None


def pair(value: str) -> tuple[str, str]:
    """`KEY=VALUE`."""
    key, equals, rest = value.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"{value!r} must be KEY=VALUE")
    return key, rest


def output_option(default: str = "table") -> Callable[[Callback], Callback]:
    """`-o table|json|name`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "name"]),
        default=default,
        show_default=True,
        help="json: as the API answers; name: ids.",
    )


def api_command(function: Callable[..., Coroutine[Any, Any, int | None]]) -> Callback:
    """Give an async command its client as the first argument."""

    @click.option("--api", metavar="URL", help="The API's address (RELAY_API).")
    @click.option("--token-file", metavar="PATH", help="File with the API token (RELAY_TOKEN).")
    @functools.wraps(function)
    def command(*args: Any, api: str | None, token_file: str | None, **options: Any) -> int | None:
        import asyncio  # noqa: PLC0415 - slow to import, and not needed to parse or to help

        endpoint = find_endpoint(api=api, token_file=token_file)

        async def connected() -> int | None:
            async with open_client(endpoint) as client:
                return await function(client, *args, **options)

        return asyncio.run(connected())

    return command


def find_endpoint(*, api: str | None = None, token_file: str | None = None) -> Endpoint:
    """Address and token: options of the command, then of `relay` itself, then the environment, then `relay dev`."""
    from relay.client.resolve import resolve  # noqa: PLC0415 - the client is slow to import

    context = click.get_current_context(silent=True)
    shared = (context.find_root().obj or {}) if context is not None else {}
    return resolve(os.environ, api=api or shared.get("api"), token_file=token_file or shared.get("token_file"))


def open_client(endpoint: Endpoint) -> Client:
    """A client for the endpoint."""
    from relay.client import Client  # noqa: PLC0415 - aiohttp is slow to import

    return Client(endpoint.api, endpoint.token)
