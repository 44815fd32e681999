"""`relay dead`: the dead letters, which are the DEAD jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from relay.cli import filters, render, terminal
from relay.cli.options import Callback, api_command, output_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.client import Client


@click.group()
def dead() -> None:
    """List, retry or purge dead letters: jobs that are DEAD."""


@dead.command("list")
@filters.options(with_status=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@output_option()
@api_command
async def list_dead(client: Client, *, limit: int, output: str, **chosen: Any) -> None:
    """List dead letters, newest first."""
    render.jobs(await client.dead_letters(filters.as_query(chosen), limit=limit), output=output)


def _confirmed(command: Callback) -> Callback:
    command = click.option("--yes", "-y", is_flag=True, help="Don't ask.")(command)
    return click.option("--dry-run", is_flag=True, help="Only count them.")(command)


@dead.command("retry")
@filters.options(with_status=False)
@_confirmed
@api_command
async def retry_dead(client: Client, *, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Give all dead letters that match fresh retries."""
    await _change(client, "retry", filters.as_json(chosen), dry_run=dry_run, yes=yes)


@dead.command("purge")
@filters.options(with_status=False)
@_confirmed
@api_command
async def purge_dead(client: Client, *, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Delete all dead letters that match, with their attempts and output."""
    await _change(client, "purge", filters.as_json(chosen), dry_run=dry_run, yes=yes)


async def _change(client: Client, action: str, wanted: Mapping[str, object], *, dry_run: bool, yes: bool) -> None:
    """Count, ask, do. Without a terminal to ask on, `--yes` is required."""
    done = {"retry": "retried", "purge": "purged"}[action]
    if dry_run or not yes:
        count = await client.change_dead_letters(action, wanted, dry_run=True)
        if dry_run or count == 0:
            sys.stdout.write(f"{_letters(count)} would be {done}\n")
            return
        if not terminal.is_terminal(sys.stdin):
            raise click.UsageError(f"{_letters(count)} would be {done}: say --yes to do it, or --dry-run to count only")
        click.confirm(f"{action.capitalize()} {_letters(count)}?", abort=True, err=True)
    count = await client.change_dead_letters(action, wanted, dry_run=False)
    sys.stdout.write(f"{_letters(count)} {done}\n")


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
