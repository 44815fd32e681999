"""`relay stats`: jobs by queue and state, how long they have been waiting, and rates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli import render, tables
from relay.cli.filters import STATUSES
from relay.cli.options import api_command, output_option
from relay.cli.tables import Column
from relay.cli.watching import watch_option, watched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.client import Client
    from relay.client.types import Stats


@click.command()
@watch_option
@output_option()
@api_command
async def stats(client: Client, *, watch: bool, output: str) -> None:
    """Show counts by queue and state, how long jobs have been waiting, and rates.

    With -o name: the queues' names.
    """

    async def look() -> None:
        _write(await client.stats(), output)

    await watched(look, forever=watch)


def _write(found: Stats, output: str) -> None:
    if output == "json":
        render.as_json(found)
    elif output == "name":
        sys.stdout.write("".join(f"{queue}\n" for queue in found["queues"]))
    else:
        tables.write(_QUEUE_COLUMNS, list(found["queues"].items()))
        sys.stdout.write("\n")
        tables.write(_RATE_COLUMNS, list(found["rates"].items()))


def _count(status: str) -> Column[tuple[str, Mapping[str, Any]]]:
    return Column(status, lambda row: row[1].get(status, 0), is_number=True)


def _waiting(row: tuple[str, Mapping[str, Any]]) -> str | None:
    seconds = row[1].get("oldest_pending_s")
    return None if seconds is None else f"{seconds:.0f}s"


_QUEUE_COLUMNS: Sequence[Column[tuple[str, Mapping[str, Any]]]] = (
    Column("QUEUE", lambda row: row[0]),
    *(_count(status) for status in STATUSES),
    Column("WAITING", _waiting, is_number=True),
)
_RATE_COLUMNS: Sequence[Column[tuple[str, Mapping[str, float]]]] = (
    Column("RATE", lambda row: row[0].removesuffix("_per_s") + "/s"),
    Column("1 MIN", lambda row: row[1].get("1m"), is_number=True),
    Column("15 MIN", lambda row: row[1].get("15m"), is_number=True),
)
