"""Jobs that `relay dev` runs by itself: the probe that shows that everything works, and the command it was given."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from relay import errors
from relay.client import Client
from relay.dev.roles import DRAIN_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.client.types import Job, Record
    from relay.config.local import DevState
    from relay.dev.interrupts import Interrupts

PROBE_S = 30.0


class Writer(Protocol):
    """Where a job's output goes."""

    def write(self, record: Record) -> None:
        """Write one record."""

    def close(self) -> None:
        """Write what was held back."""


async def probe(state: DevState, *, queue: str) -> int:
    """Run a job to its end and delete it: its id. Raises Unavailable when it does not complete."""
    async with Client(state.api, state.token) as client:
        spec = {"name": "relay-dev-probe", "queue": queue, "priority": "high", "payload": {"command": "true"}}
        job = await client.submit(spec)
        ended = await client.wait_until_terminal(job["id"], timeout_s=PROBE_S)
        if ended["status"] != "COMPLETED":
            why = (await client.why(job["id"]))["reason"]
            raise errors.Unavailable(f"the probe job is {ended['status']} after {PROBE_S:g} s: {why}")
        await client.delete(job["id"])
        return job["id"]


async def run(
    state: DevState, command: Sequence[str], *, queue: str, writer: Writer, interrupts: Interrupts
) -> Job | None:
    """Run the command as a job and hand its output on: the job as it ended. None: a signal came, and it was cancelled."""
    spec = {"queue": queue, "max_retries": 0, "payload": {"command": command[0], "args": list(command[1:])}}
    async with Client(state.api, state.token) as client, asyncio.TaskGroup() as group:
        job = await client.submit(spec)
        following = group.create_task(_follow(client, job["id"], writer))
        signalled = group.create_task(interrupts.first.wait())
        await asyncio.wait((following, signalled), return_when=asyncio.FIRST_COMPLETED)
        signalled.cancel()
        if not following.done():
            await _cancel(client, job["id"], following, interrupts)
            return None
        return following.result()


def surprise(job: Job) -> str | None:
    """What neither the job's output nor its exit code says: that it could not start, or that Relay ended it. None: nothing."""
    found = [attempt["error"] for attempt in job.get("attempts", ()) if attempt["error"]]
    if job["reason"] == "start_error" and found:
        return f"the command could not start: {found[-1]}"
    return None if job["reason"] in {None, "exit", "signal"} else f"the command was ended: {job['reason']}"


async def _follow(client: Client, job_id: int, writer: Writer) -> Job:
    async for record in client.follow(job_id):
        writer.write(record)
    writer.close()
    return await client.wait_until_terminal(job_id)


async def _cancel(client: Client, job_id: int, following: asyncio.Task[Job], interrupts: Interrupts) -> None:
    """Cancel the job and follow it to its end, for as long as a Ctrl-C leaves it."""
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_ask_for_end(client, job_id))
        forced = group.create_task(interrupts.second.wait())
        await asyncio.wait((following, forced), timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, forced, following):
            task.cancel()


async def _ask_for_end(client: Client, job_id: int) -> None:
    with contextlib.suppress(errors.RelayError):  # ended by itself, or out of reach: what still runs is killed
        await client.cancel(job_id)
