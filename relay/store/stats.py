"""Counts and rates, exact, read when asked for.

Live and failed states have indexes of their own and cost what they hold. COMPLETED has none, so that a finish needn't keep
one up: it is all jobs less the others, near 0.1 s per million jobs. Whoever asks often (a scrape, a refreshing page) should keep
an answer for some seconds, and leave COMPLETED out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from relay.model.states import JobStatus
from relay.store import filters, queries

if TYPE_CHECKING:
    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are by queue and state (no entry: none), and for how long the first PENDING one has been due."""

    jobs: dict[tuple[str, JobStatus], int]
    oldest_pending_s: dict[str, float]
    """By queue; only queues with a PENDING job that is due."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Jobs in the last minute and in the last 15."""

    submitted_in_1_min: int
    submitted_in_15_min: int
    completed_in_1_min: int
    completed_in_15_min: int
    dead_in_1_min: int
    dead_in_15_min: int


async def count_jobs(conn: Connection) -> Counts:
    """Count the jobs of each queue and state but COMPLETED."""
    rows = await conn.fetch(queries.text("count_jobs"))
    waits = {
        row["queue"]: (row["now"] - row["oldest_at"]).total_seconds() for row in rows if row["oldest_at"] is not None
    }
    return Counts(
        {(row["queue"], JobStatus(row["status"])): row["jobs"] for row in rows},
        {queue: wait_s for queue, wait_s in waits.items() if wait_s >= 0},
    )


async def count_completed(conn: Connection, others: Counts) -> dict[str, int]:
    """Count the COMPLETED jobs of each queue, given the others' counts of a moment ago."""
    totals = await count_all_jobs(conn)
    for (queue, _), jobs in others.jobs.items():
        totals[queue] = totals.get(queue, 0) - jobs
    return {queue: jobs for queue, jobs in totals.items() if jobs > 0}


async def count_all_jobs(conn: Connection) -> dict[str, int]:
    """Count the jobs of each queue, whatever their state."""
    return {row["queue"]: row["jobs"] for row in await conn.fetch(queries.text("count_all_jobs"))}


async def count_fenced(conn: Connection) -> int:
    """Count the finishes that came too late, ever."""
    fenced: int = await conn.fetchval(queries.text("count_fenced"))
    return fenced


async def measure_rates(conn: Connection) -> Rates:
    """Count what was submitted and what ended lately."""
    async with filters.planned(conn):
        first_id = await filters.find_first_id(conn, datetime.now(UTC) - timedelta(minutes=15) - filters.MARGIN)
        row = await conn.fetchrow(queries.text("measure_rates"), first_id)
    assert row is not None
    return Rates(**dict(row))
