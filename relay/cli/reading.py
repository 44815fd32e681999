"""`relay list`, `show`, `why`, `tree`: look at jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli import filters, render, terminal
from relay.cli.options import api_command, identifier, output_option
from relay.cli.watching import watch_option, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.client import Client
    from relay.client.types import Tree


@click.command("list")
@filters.options(with_status=True)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@watch_option
@output_option()
@api_command
async def list_jobs(client: Client, *, limit: int, watch: bool, output: str, **chosen: Any) -> None:
    """List jobs, newest first."""
    wanted = filters.as_query(chosen)

    async def look() -> None:
        render.jobs(await client.jobs(wanted, limit=limit), output=output)

    await watched(look, forever=watch)


@click.command()
@click.argument("job_id", metavar="ID", type=identifier)
@output_option()
@api_command
async def show(client: Client, job_id: int, *, output: str) -> None:
    """Show a job and its attempts."""
    render.job(await client.job(job_id), output=output)


@click.command()
@click.argument("job_id", metavar="ID", type=identifier)
@output_option()
@api_command
async def why(client: Client, job_id: int, *, output: str) -> None:
    """Say why a job is where it is."""
    answer = await client.why(job_id)
    if output == "json":
        render.as_json(answer)
    elif output == "name":
        render.ids([job_id])
    else:
        reason = terminal.shown(str(answer.pop("reason", "")))
        sys.stdout.write(reason + "\n")
        render.facts({name: value for name, value in answer.items() if not isinstance(value, (dict, list))})


@click.command()
@click.argument("job_id", metavar="ID", type=identifier)
@output_option()
@api_command
async def tree(client: Client, job_id: int, *, output: str) -> None:
    """Show the chain that a job belongs to."""
    root = await client.tree(job_id)
    if output == "json":
        render.as_json(root)
    elif output == "name":
        render.ids([branch["job"]["id"] for branch, _ in _walk(root)])
    else:
        for branch, indent in _walk(root):
            job = branch["job"]
            mark = "  <" if job["id"] == job_id and branch is not root else ""
            reason = f" ({job['reason']})" if job["reason"] else ""
            sys.stdout.write(f"{indent}{job['id']} {terminal.cell(job['name'])} {job['status']}{reason}{mark}\n")


def _walk(branch: Tree, indent: str = "") -> Iterator[tuple[Tree, str]]:
    """A chain's jobs from the root down, with their indentation."""
    yield branch, indent
    for child in branch["children"]:
        yield from _walk(child, indent + "  ")
