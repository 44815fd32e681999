"""`relay retry`, `cancel`, `delete`: change jobs, several at a time.

Each id is tried even if one before it was refused; the exit code is the first refusal's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli import render, terminal
from relay.cli.options import api_command, identifier, output_option
from relay.errors import RelayError, Unauthorized, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from relay.client import Client
    from relay.client.types import Job

_ids = click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=identifier)


@click.command()
@_ids
@output_option("name")
@api_command
async def retry(client: Client, job_ids: tuple[int, ...], *, output: str) -> int:
    """Give DEAD, FAILED or CANCELLED jobs fresh retries: they are PENDING again."""
    jobs, code = await _each(job_ids, client.retry)
    _write(jobs, output, is_single=len(job_ids) == 1)
    return code


@click.command()
@_ids
@output_option("name")
@api_command
async def cancel(client: Client, job_ids: tuple[int, ...], *, output: str) -> int:
    """Cancel jobs: a running one is CANCELLED once its processes are gone."""
    jobs, code = await _each(job_ids, client.cancel)
    _write(jobs, output, is_single=len(job_ids) == 1)
    return code


@click.command()
@_ids
@api_command
async def delete(client: Client, job_ids: tuple[int, ...]) -> int:
    """Delete ended jobs with their attempts and output."""
    _, code = await _each(job_ids, client.delete)
    return code


async def _each(job_ids: Sequence[int], change: Callable[[int], Awaitable[Any]]) -> tuple[list[Any], int]:
    """The answers of those that were not refused, and the exit code."""
    answers: list[Any] = []
    code = 0
    for job_id in job_ids:
        try:
            answers.append(await change(job_id))
        except (Unauthorized, Unreachable):
            raise  # the same for every id
        except RelayError as error:
            terminal.complain(error.detail if str(job_id) in error.detail else f"job {job_id}: {error.detail}")
            code = code or error.exit_code
    return answers, code


def _write(jobs: Sequence[Job], output: str, *, is_single: bool) -> None:
    if is_single and jobs and output == "json":
        render.as_json(jobs[0])
    elif jobs or not is_single:
        render.jobs(jobs, output=output)
