"""`relay worker`: who runs the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli import render, tables, terminal
from relay.cli.options import api_command, output_option, worker_identifier

if TYPE_CHECKING:
    from relay.client import Client


@click.group()
def worker() -> None:
    """List or drain workers."""


@worker.command("list")
@output_option()
@api_command
async def list_workers(client: Client, *, output: str) -> None:
    """List workers."""
    workers = await client.workers()
    if output == "json":
        render.as_json(workers)
    elif output == "name":
        render.ids([each["id"] for each in workers])
    else:
        tables.write(render.WORKER_COLUMNS, workers)


@worker.command()
@click.argument("worker_id", metavar="ID", type=worker_identifier)
@api_command
async def drain(client: Client, worker_id: int) -> None:
    """Let a worker end: it claims no more, and its running jobs may finish."""
    await client.drain(worker_id)
    terminal.say(f"worker {worker_id} is draining: it ends when its jobs have, or after its drain timeout")
