"""Rescue in PostgreSQL: what must be seen before an attempt is called lost, and the one write that does it.

The write names the claim and, unless the worker is known to be gone, the `hb_seq` that the rescuer saw: a worker that has
beaten since keeps its claims. When it may be called is not decided here (design: leases): maintenance calls it after a
full TTL of silence, a worker for claims of its own that it does not know, or for a dead predecessor's once nothing of
that one is left running. Safe to repeat and to run in many processes: a claim is lost at most once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from relay.model.records import JobRef
from relay.model.states import TERMINAL, JobStatus, Lane
from relay.store import children, queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.connection import Connection, Record


class LostClaim(NamedTuple):
    """A claim to be lost. With `hb_seq`, only if that worker has not beaten since; None: it is known to be over."""

    job_id: int
    claim_id: str
    worker_id: int | None = None
    hb_seq: int | None = None


class Heartbeat(NamedTuple):
    """A worker's counter as it stands. `is_marked`: its row says `lost` already, or there is no row (`hb_seq` -1)."""

    worker_id: int
    hb_seq: int
    lease_ttl_s: float
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A worker that ran before on this host: `pid` and `pid_start` (clock ticks since boot) tell whether it still does."""

    worker_id: int
    pid: int
    pid_start: int
    hb_seq: int
    claims: tuple[LostClaim, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """What was lost: (job id, claim id) pairs whose Redis lock can go, and what to tell and publish after the commit.

    `due` are jobs that may be claimed now; of `freed_locks` the heads are to be found and published.
    """

    pairs: tuple[tuple[int, str], ...] = ()
    freed_locks: tuple[str, ...] = ()
    due: tuple[JobRef, ...] = ()

    @property
    def job_ids(self) -> tuple[int, ...]:
        """The jobs whose state changed."""
        return tuple(job_id for job_id, _ in self.pairs)


async def list_heartbeats(conn: Connection) -> list[Heartbeat]:
    """Return every worker's heartbeat counter."""
    rows = await conn.fetch(queries.text("list_heartbeats"))
    return [Heartbeat(row["id"], row["hb_seq"], row["lease_ttl_s"], row["is_marked"]) for row in rows]


async def list_suspects(conn: Connection, silent: Mapping[int, int]) -> list[LostClaim]:
    """Return the claims of these silent workers (id → `hb_seq` as it was seen)."""
    return [
        LostClaim(row["id"], str(row["claim_id"]), row["worker_id"], silent[row["worker_id"]])
        for row in await list_claims_of(conn, list(silent))
    ]


async def list_claims_of(conn: Connection, worker_ids: Sequence[int]) -> list[Record]:
    """Return the running claims of these workers."""
    return await conn.fetch(queries.text("list_claims_of"), worker_ids)


async def lose_attempts(conn: Connection, claims: Sequence[LostClaim]) -> Lost:
    """Record these attempts as lost, those whose claims still hold.

    Their jobs are PENDING again at once (a retry is used), CANCELLED where that was asked for, or DEAD, with their on_failure
    children in the same transaction.
    """
    async with conn.transaction():
        rows = await lose_claims(conn, claims)
        ended = [
            children.Ended(row["id"], row["round"], JobStatus(row["status"]))
            for row in rows
            if row["has_children"] and row["status"] in TERMINAL
        ]
        born = await children.create_children(conn, ended) if ended else []
    again = [
        JobRef(row["id"], row["queue"], Lane(row["lane"]))
        for row in rows
        if row["status"] == JobStatus.PENDING and row["lock"] is None
    ]
    return Lost(
        pairs=tuple((row["id"], str(row["claim_id"])) for row in rows),
        freed_locks=tuple(sorted({row["lock"] for row in rows if row["lock"] is not None})),
        due=(*again, *born),
    )


async def lose_claims(conn: Connection, claims: Sequence[LostClaim]) -> list[Record]:
    """End the attempts alone; for `lose_attempts`, which adds their children."""
    return await conn.fetch(
        queries.text("lose_claims"),
        [claim.job_id for claim in claims],
        [claim.claim_id for claim in claims],
        [claim.hb_seq for claim in claims],
        sorted({claim.worker_id for claim in claims if claim.worker_id is not None}),
    )


async def mark_lost(conn: Connection, silent: Mapping[int, int]) -> list[int]:
    """Mark these workers (id → `hb_seq` as it was seen) as lost for people to see; return those that were not yet."""
    rows = await conn.fetch(queries.text("mark_lost"), list(silent), list(silent.values()))
    return [row["id"] for row in rows]


async def list_predecessors(conn: Connection, worker_id: int) -> list[Predecessor]:
    """Return the earlier workers of this worker's host, kernel boot and pid namespace, with their running claims.

    The caller finds out which of them are gone: another process may have the pid now, so its start time counts too.
    """
    rows = await conn.fetch(queries.text("list_predecessors"), worker_id)
    return [_predecessor(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]


def _predecessor(rows: Sequence[Record]) -> Predecessor:
    first = rows[0]
    claims = (LostClaim(row["job_id"], str(row["claim_id"])) for row in rows if row["job_id"] is not None)
    return Predecessor(first["id"], first["pid"], first["pid_start"], first["hb_seq"], tuple(claims))
