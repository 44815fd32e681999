"""Children: the jobs of a chain that an ended job brings about.

They are inserted in the transaction that ends their parent, so there is never an end without its children, nor children without
the end. A unique index on (parent, edge, index, round) makes a second insert an error instead of a second child.
Jobs without children never get here: the flag `has_children` spares them the look at their spec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.model.spec import JobSpec
from relay.store import locks, queries, submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.model.records import JobRef
    from relay.model.states import JobStatus
    from relay.store.connection import Connection


class Ended(NamedTuple):
    """A job that ended for good, in this round."""

    job_id: int
    round: int
    status: JobStatus


async def create_children(conn: Connection, ended: Sequence[Ended]) -> list[JobRef]:
    """Insert the children of these jobs in the caller's transaction; return those that may run now, to publish after the commit.

    Of children that wait for a named lock, only those are returned that are first in line.
    """
    stored = await list_specs(conn, [end.job_id for end in ended])
    born = [
        child
        for end in ended
        if end.job_id in stored
        for child in submit.children_of(
            JobSpec.from_normalised(stored[end.job_id]), end.status, job_id=end.job_id, job_round=end.round
        )
    ]
    if not born:
        return []
    inserted = await submit.insert_jobs(conn, born, actors=[None] * len(born))
    names = {name for child in inserted for name in child.locks}
    return [ref for child in inserted for ref in child.refs] + await locks.heads(conn, sorted(names))


async def list_specs(conn: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """Return the normalised specs of these jobs as JSON text."""
    rows = await conn.fetch(queries.text("list_specs"), job_ids)
    return {row["job_id"]: row["spec"] for row in rows}
