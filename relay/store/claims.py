"""Claims: PENDING to RUNNING for one worker, by name (a message came) or by looking (steal).

`claim` is the only way into RUNNING. One statement takes a whole batch under `FOR UPDATE SKIP LOCKED`, opens the
attempts, and beats the worker's heart in the same transaction: trust may begin with its sending (design: leases). What
it returns is all that running needs, so that nothing is read again. Stealing only finds candidates; they are then
claimed like any other, lock first, so that both paths obey one rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from relay.store import queries

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Claimed:
    """One job claimed for this worker. `spec` is the normalised spec's JSON; the parent's facts are null without one."""

    job_id: int
    queue: str
    lane: int
    attempt: int
    claim_id: str
    retries_used: int
    lock: str | None
    spec: str
    parent_id: int | None
    parent_edge: str | None
    parent_attempt: int | None
    parent_exit_code: int | None


async def claim(conn: Connection, worker_id: int, wanted: Sequence[tuple[int, str]]) -> list[Claimed]:
    """Claim what can be claimed of `wanted` (job id, fresh claim id), in one transaction.

    A job that is not returned was not claimed, and needs nothing more. If one row spoils the batch (two jobs of a named
    lock at once), the rows are taken singly.

    Raises asyncpg's connection errors; then whether it was committed is unknown, and the heartbeat will tell.
    """
    try:
        return await claim_jobs(conn, worker_id, wanted)
    except asyncpg.UniqueViolationError:
        if len(wanted) == 1:
            return []  # another job of the same lock was claimed at this moment: wait for its release
    return [claimed for pair in wanted for claimed in await claim(conn, worker_id, [pair])]


async def claim_jobs(conn: Connection, worker_id: int, wanted: Sequence[tuple[int, str]]) -> list[Claimed]:
    """Claim a batch with one statement; raises UniqueViolationError if two jobs of a named lock were claimed at once."""
    rows = await conn.fetch(
        queries.text("claim_jobs"), worker_id, [job_id for job_id, _ in wanted], [claim_id for _, claim_id in wanted]
    )
    return [
        Claimed(
            job_id=row["id"],
            queue=row["queue"],
            lane=row["lane"],
            attempt=row["attempt"],
            claim_id=str(row["claim_id"]),
            retries_used=row["retries_used"],
            lock=row["lock"],
            spec=row["spec"],
            parent_id=row["parent_id"],
            parent_edge=row["parent_edge"],
            parent_attempt=row["parent_attempt"],
            parent_exit_code=row["parent_exit_code"],
        )
        for row in rows
    ]


async def steal_jobs(
    conn: Connection, queues: Sequence[str], *, overdue_s: float, limit: int, rng: random.Random
) -> list[int]:
    """Ids of at most `limit` jobs without a named lock that have been due for `overdue_s`, high lane first.

    Several workers look at the same time, so each takes a random share of a longer list, lane by lane.
    """
    rows = await conn.fetch(queries.text("steal_jobs"), list(queues), overdue_s, limit * 4)
    return _share([(row["lane"], row["id"]) for row in rows], limit, rng)


async def steal_locked_jobs(
    conn: Connection, queues: Sequence[str], *, overdue_s: float, limit: int, rng: random.Random
) -> list[int]:
    """As `steal_jobs`, for jobs with a named lock: only the first waiter of each free lock."""
    rows = await conn.fetch(queries.text("steal_locked_jobs"), list(queues), overdue_s, limit * 4)
    return _share([(row["lane"], row["id"]) for row in rows], limit, rng)


def _share(found: list[tuple[int, int]], limit: int, rng: random.Random) -> list[int]:
    keyed = sorted(found, key=lambda item: (item[0], rng.random()))
    return [job_id for _, job_id in keyed[:limit]]
