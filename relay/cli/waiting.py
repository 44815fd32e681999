"""`relay wait`: until jobs have ended. One job gives its own exit code, several give 0 only if all COMPLETED."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli import terminal
from relay.cli.options import api_command, duration, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.client import Client
    from relay.client.types import Job

EXIT_TIMEOUT = 124
_AT_ONCE = 16


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=identifier)
@click.option("--timeout", type=duration, metavar="D", help="Give up after this time, with exit code 124.")
@api_command
async def wait(client: Client, job_ids: tuple[int, ...], *, timeout: float | None) -> int:
    """Wait until jobs have ended, and exit as the job did; of several: 0 if all COMPLETED, else 1."""
    return await for_all(client, job_ids, timeout_s=timeout)


async def for_all(client: Client, job_ids: Sequence[int], *, timeout_s: float | None = None) -> int:
    """Wait for all of them; the exit code. Jobs that did not complete are named on stderr."""
    import asyncio  # noqa: PLC0415 - slow to import, and not needed for help

    from relay.client.types import TERMINAL  # noqa: PLC0415 - likewise
    from relay.model.exits import exit_code_of  # noqa: PLC0415 - likewise

    places = asyncio.Semaphore(_AT_ONCE)
    ends_at = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s

    async def one(job_id: int) -> Job:
        async with places:
            left_s = None if ends_at is None else max(ends_at - asyncio.get_running_loop().time(), 0.0)
            return await client.wait_until_terminal(job_id, timeout_s=left_s)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job_id)) for job_id in dict.fromkeys(job_ids)]
    jobs = [task.result() for task in tasks]
    for job in jobs:
        tell(job)
    if any(job["status"] not in TERMINAL for job in jobs):
        return EXIT_TIMEOUT
    return exit_code_of(jobs[0]) if len(jobs) == 1 else int(any(job["status"] != "COMPLETED" for job in jobs))


def tell(job: Job) -> None:
    """Say on stderr how a job ended, unless it completed."""
    if job["status"] != "COMPLETED":
        reason = f" ({job['reason']})" if job["reason"] else ""
        terminal.say(f"job {job['id']} is {job['status']}{reason}: 'relay why {job['id']}' tells more")


def tell_surprise(job: Job) -> None:
    """Say on stderr what neither a followed job's output nor its exit code can: that Relay ended it, or could not start it."""
    found = [attempt["error"] for attempt in job.get("attempts", ()) if attempt["error"]]
    if job["reason"] == "start_error" and found:
        terminal.say(f"job {job['id']} could not start: {found[-1]}")
    elif job["reason"] not in {None, "exit", "signal"}:
        tell(job)
