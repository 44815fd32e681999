"""`relay stats`: counts by queue and state, waiting, rates.

The answer's shape is the API's to extend: whatever it holds is shown, nested names joined by dots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli import render
from relay.cli.options import api_command
from relay.cli.watching import watch_option, watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.client import Client


@click.command()
@watch_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@api_command
async def stats(client: Client, *, watch: bool, output: str) -> None:
    """Show counts by queue and state, how long jobs have been waiting, and rates."""

    async def look() -> None:
        answer = await client.stats()
        if output == "json":
            render.as_json(answer)
        else:
            render.facts(dict(_flat(answer)))

    await watched(look, forever=watch)


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _flat(each, f"{prefix}{name}.")
        else:
            yield prefix + name, each
