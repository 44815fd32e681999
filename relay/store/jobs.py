"""Jobs as the API reads and changes them.

Every change names the states it starts from, locks the row first, and answers the state it found, so that a refusal can say
why without a second look. Its audit row is written by the same statement. Nothing is published here: `Changed.refs`, and the
heads of `Changed.locks`, are the caller's to publish after the commit; if that fails a steal finds them.
A reader who needs a job and its attempts reads the job first: a terminal job's attempts are complete, not the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from relay import errors
from relay.model.records import JobRef
from relay.model.states import TERMINAL, JobStatus, Lane
from relay.store import filters, queries, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.model.records import Attempt, Job
    from relay.store.connection import Connection, Record
    from relay.store.filters import Filters

RETRIABLE: Final = (JobStatus.DEAD, JobStatus.FAILED, JobStatus.CANCELLED)
MAX_TREE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first. `next_id` is the `before_id` of the next page; None: this was the last."""

    items: list[Job]
    next_id: int | None


@dataclass(slots=True)
class Tree:
    """A job with the chain below it."""

    job: Job
    children: list[Tree] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class State:
    """What of a job those who wait for a change compare."""

    status: JobStatus
    attempt: int
    round: int
    is_cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed job, and what to publish after the commit: references, and the heads of freed or wanted named locks."""

    job: Job
    refs: tuple[JobRef, ...] = ()
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retried:
    """One job that a retry was tried on: the status it had, and whether that allowed it."""

    ref: JobRef
    before: JobStatus
    lock: str | None
    is_retried: bool


async def get_job(conn: Connection, job_id: int) -> Job | None:
    """Read one job; None: there is none with this id, which may be any number."""
    row = await conn.fetchrow(queries.text("get_job"), rows.row_id(job_id))
    return None if row is None else rows.job(row)


async def get_jobs(conn: Connection, job_ids: Sequence[int]) -> dict[int, Job]:
    """Read these jobs, by id; unknown ids are left out."""
    found = await conn.fetch(queries.text("get_jobs"), [rows.row_id(job_id) for job_id in job_ids])
    return {row["id"]: rows.job(row) for row in found}


async def list_states(conn: Connection, job_ids: Sequence[int]) -> dict[int, State]:
    """Read the states of these jobs, by id; unknown ids are left out."""
    found = await conn.fetch(queries.text("list_states"), [rows.row_id(job_id) for job_id in job_ids])
    return {
        row["id"]: State(JobStatus(row["status"]), row["attempt"], row["round"], row["is_cancel_requested"])
        for row in found
    }


async def list_jobs(conn: Connection, wanted: Filters, *, limit: int, before_id: int | None = None) -> Page:
    """List the newest jobs that match, of those with an id below `before_id`. Opens a transaction."""
    async with filters.planned(conn):
        arguments = await filters.arguments(conn, wanted, before_id=before_id)
        found = await conn.fetch(queries.text("list_jobs"), *arguments, limit + 1)
    items = [rows.job(row) for row in found[:limit]]
    return Page(items, items[-1].id if len(found) > limit else None)


async def list_attempts(conn: Connection, job_id: int) -> list[Attempt]:
    """List a job's attempts, first to last."""
    found = await conn.fetch(queries.text("list_attempts"), rows.row_id(job_id))
    return [rows.attempt(row) for row in found]


async def list_tree(conn: Connection, job_id: int) -> Tree | None:
    """Read the whole chain that a job belongs to, from its root; None: no such job.

    A chain that retries by hand have grown past `MAX_TREE` jobs is shown without its deepest ones.
    """
    found = await conn.fetch(queries.text("list_tree"), rows.row_id(job_id), MAX_TREE)
    trees: dict[int | None, Tree] = {}
    for row in found:
        tree = trees[row["id"]] = Tree(rows.job(row))
        if len(trees) > 1:
            trees[tree.job.parent_id].children.append(tree)
    return next(iter(trees.values()), None)


async def cancel_job(conn: Connection, job_id: int, *, actor: str) -> Changed:
    """Cancel a job, or ask its worker to. Idempotent. Raises NotFound, and Conflict when it is COMPLETED or DEAD."""
    row = await conn.fetchrow(queries.text("cancel_job"), rows.row_id(job_id), actor)
    before = _status_before(row, job_id)
    if before in (JobStatus.COMPLETED, JobStatus.DEAD):
        raise errors.Conflict(f"job {job_id} is {before}: only a job that has not ended can be cancelled")
    assert row is not None
    is_lock_waited_for = before is JobStatus.PENDING and row["lock"] is not None
    return Changed(await _read_back(conn, job_id), locks=(row["lock"],) if is_lock_waited_for else ())


async def retry_job(conn: Connection, job_id: int, *, actor: str) -> Changed:
    """Send a job round again with fresh retries. Raises NotFound, and Conflict unless it is DEAD, FAILED or CANCELLED."""
    tried = await retry_jobs(conn, [job_id], statuses=RETRIABLE, actor=actor)
    if not tried:
        raise errors.NotFound(f"there is no job {job_id}")
    retried = tried[0]
    if not retried.is_retried:
        raise errors.Conflict(f"job {job_id} is {retried.before}: only DEAD, FAILED and CANCELLED jobs can be retried")
    job = await _read_back(conn, job_id)
    return Changed(job, refs=() if retried.lock else (retried.ref,), locks=(retried.lock,) if retried.lock else ())


async def retry_jobs(
    conn: Connection, job_ids: Sequence[int], *, statuses: Sequence[JobStatus], actor: str
) -> list[Retried]:
    """Send those of these jobs round again that are in one of `statuses`; unknown ids are left out."""
    found = await conn.fetch(
        queries.text("retry_jobs"), [rows.row_id(job_id) for job_id in job_ids], list(statuses), actor
    )
    return [
        Retried(
            JobRef(row["id"], row["queue"], Lane(row["lane"])), JobStatus(row["status"]), row["lock"], row["is_retried"]
        )
        for row in found
    ]


async def delete_job(conn: Connection, job_id: int, *, actor: str) -> None:
    """Delete a terminal job with all that belongs to it. Raises NotFound, and Conflict when it is not terminal."""
    found = await delete_jobs(conn, [job_id], statuses=tuple(TERMINAL), actor=actor)
    if job_id not in found:
        raise errors.NotFound(f"there is no job {job_id}")
    if found[job_id] is not None:
        raise errors.Conflict(
            f"job {job_id} is {found[job_id]}: only a job that has ended can be deleted; cancel it first"
        )


async def delete_jobs(
    conn: Connection, job_ids: Sequence[int], *, statuses: Sequence[JobStatus], actor: str
) -> dict[int, JobStatus | None]:
    """Delete those of these jobs that are in one of `statuses`: None for each deleted, its status for one that was not."""
    found = await conn.fetch(
        queries.text("delete_jobs"), [rows.row_id(job_id) for job_id in job_ids], list(statuses), actor
    )
    return {row["id"]: None if row["is_deleted"] else JobStatus(row["status"]) for row in found}


def _status_before(row: Record | None, job_id: int) -> JobStatus:
    if row is None:
        raise errors.NotFound(f"there is no job {job_id}")
    return JobStatus(row["status"])


async def _read_back(conn: Connection, job_id: int) -> Job:
    job = await get_job(conn, job_id)
    if job is None:  # deleted since
        raise errors.NotFound(f"there is no job {job_id}")
    return job
