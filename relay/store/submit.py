"""Submit: new jobs become rows.

Many requests share one statement and one commit, since a commit of its own per job costs ten times as much; requests share
nothing else, so a used idempotency key spoils only its own. Jobs that are due are answered as references to publish after the
commit: if that fails, a steal finds them. A job whose `expires_at` has passed is DEAD from the start, and its `on_failure`
children are born with it.
Which of several concurrent submits with one new key wins is left to chance; all are answered the winner's id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from relay.model import chain
from relay.model.records import Job, JobRef
from relay.model.states import JobStatus, Reason
from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from relay.model.spec import JobSpec
    from relay.store.connection import Connection, Record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parent:
    """The edge that a chain's child hangs on."""

    job_id: int
    edge: str
    index: int
    round: int


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert. `spec_json` is the normalised spec; `delay_s` counts from the insert; `key` needs its `fingerprint`."""

    spec: JobSpec
    spec_json: str
    delay_s: float | None = None
    key: str | None = None
    fingerprint: bytes | None = None
    parent: Parent | None = None


class Inserted(NamedTuple):
    """What became of one NewJob. A tuple, since a batch makes ten thousand of them.

    `is_replayed`: the key was used for the same spec, and `id` is that first job's. `is_conflict`: it was used for another
    spec; nothing was inserted. `refs` are to publish after the commit, as are the heads of `locks`.
    """

    id: int
    status: JobStatus = JobStatus.PENDING
    run_at: datetime | None = None
    created_at: datetime | None = None
    is_replayed: bool = False
    is_conflict: bool = False
    refs: tuple[JobRef, ...] = ()
    locks: tuple[str, ...] = ()


async def insert_jobs(conn: Connection, jobs: Sequence[NewJob], *, actors: Sequence[str | None]) -> list[Inserted]:
    """Insert these jobs, each for its actor (None: no audit row), and answer in their order.

    One statement with its own commit unless the caller has a transaction open, which it needs where one conflict must spoil
    all. Raises asyncpg.DataError and the like if PostgreSQL refuses a value: insert singly to find which.
    """
    if any(job.spec.expires_at and job.spec.on_failure for job in jobs) and not conn.is_in_transaction():
        async with conn.transaction():
            return await insert_jobs(conn, jobs, actors=actors)
    answers: dict[int, Inserted] = {}
    left: Sequence[int] = range(len(jobs))
    while left:
        columns = _columns([jobs[n] for n in left], [actors[n] for n in left])
        for row in await conn.fetch(queries.text("insert_jobs"), *columns):
            n = left[row["n"] - 1]
            answers[n] = _inserted(jobs[n], row)
        left = [n for n in left if n not in answers]
        if left:
            answers |= await _replays(conn, jobs, left)
            left = [n for n in left if n not in answers]
    await _add_expired_chains(conn, jobs, answers)
    return [answers[n] for n in range(len(jobs))]


def _columns(jobs: Sequence[NewJob], actors: Sequence[str | None]) -> Iterable[Sequence[object] | None]:
    """Turn jobs into the statement's arrays. An array of nulls only is sent as one null: most jobs have few options."""
    specs = [job.spec for job in jobs]
    parents = [job.parent for job in jobs]
    yield [spec.queue for spec in specs]
    yield [spec.lane for spec in specs]
    yield _unless_empty([spec.run_at for spec in specs])
    yield _unless_empty([job.delay_s for job in jobs])
    yield _unless_empty([spec.expires_at for spec in specs])
    yield [spec.max_retries for spec in specs]
    yield [spec.on_worker_lost == "fail" for spec in specs]
    yield [bool(spec.on_success or spec.on_failure) for spec in specs]
    yield _unless_empty([spec.lock for spec in specs])
    yield [spec.name for spec in specs]
    yield _unless_empty([_labels(spec.labels) for spec in specs])
    yield [job.spec_json for job in jobs]
    yield _unless_empty(actors)
    yield _unless_empty([job.key for job in jobs])
    yield _unless_empty([job.fingerprint for job in jobs])
    yield _unless_empty([parent.job_id if parent else None for parent in parents])
    yield _unless_empty([parent.edge if parent else None for parent in parents])
    yield _unless_empty([parent.index if parent else None for parent in parents])
    yield _unless_empty([parent.round if parent else None for parent in parents])


def _unless_empty(column: Sequence[T | None]) -> Sequence[T | None] | None:
    return column if column.count(None) < len(column) else None


def _labels(labels: Mapping[str, str]) -> str | None:
    return json.dumps(labels, ensure_ascii=False) if labels else None


def _inserted(job: NewJob, row: Record) -> Inserted:
    spec = job.spec
    return Inserted(
        row["id"],
        JobStatus.DEAD if row["is_expired"] else JobStatus.PENDING,
        row["run_at"],
        row["created_at"],
        refs=(JobRef(row["id"], spec.queue, spec.lane),) if row["is_due"] and spec.lock is None else (),
        locks=(spec.lock,) if row["is_due"] and spec.lock is not None else (),
    )


async def _replays(conn: Connection, jobs: Sequence[NewJob], left: Sequence[int]) -> dict[int, Inserted]:
    """Answer the jobs whose keys are taken. One whose key was freed meanwhile gets no answer: insert it again."""
    taken = await list_idempotency_keys(conn, [key for n in left if (key := jobs[n].key) is not None])
    answers = {}
    for n in left:
        key, fingerprint = jobs[n].key, jobs[n].fingerprint
        if key in taken:
            job_id, first = taken[key]
            answers[n] = Inserted(job_id, is_replayed=first == fingerprint, is_conflict=first != fingerprint)
    return answers


async def list_idempotency_keys(conn: Connection, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Return the job id and the fingerprint of those of these keys that are in use."""
    rows = await conn.fetch(queries.text("list_idempotency_keys"), keys)
    return {row["key"]: (row["job_id"], row["fingerprint"]) for row in rows}


async def _add_expired_chains(conn: Connection, jobs: Sequence[NewJob], answers: dict[int, Inserted]) -> None:
    """Insert the children of jobs that are DEAD from the start, and theirs; note in the answers what is due."""
    born = [
        (n, child)
        for n, answer in answers.items()
        if answer.status is JobStatus.DEAD
        for child in children_of(jobs[n].spec, answer.status, job_id=answer.id, job_round=0)
    ]
    if not born:
        return
    inserted = await insert_jobs(conn, [child for _, child in born], actors=[None] * len(born))
    for (n, _), child in zip(born, inserted, strict=True):
        answer = answers[n]
        answers[n] = answer._replace(refs=answer.refs + child.refs, locks=answer.locks + child.locks)


def children_of(spec: JobSpec, status: JobStatus, *, job_id: int, job_round: int) -> list[NewJob]:
    """Make the jobs that a job's end brings about; none unless it ended COMPLETED or DEAD and has children for that."""
    return [
        NewJob(child, child.normalised_json(), child.delay, parent=Parent(job_id, edge, index, job_round))
        for edge, index, child in chain.children(spec, status)
    ]


def as_job(new: NewJob, inserted: Inserted) -> Job:
    """Show a job that was just inserted, without reading it back. Not for replays and conflicts: read those."""
    assert inserted.run_at is not None
    assert inserted.created_at is not None
    is_dead = inserted.status is JobStatus.DEAD
    return Job(
        id=inserted.id,
        name=new.spec.name,
        queue=new.spec.queue,
        lane=new.spec.lane,
        status=inserted.status,
        reason=Reason.EXPIRED if is_dead else None,
        parent_id=new.parent.job_id if new.parent else None,
        labels=new.spec.labels,
        lock=new.spec.lock,
        run_at=inserted.run_at,
        created_at=inserted.created_at,
        finished_at=inserted.created_at if is_dead else None,
        max_retries=new.spec.max_retries,
        spec=new.spec_json,
        dispatched=bool(inserted.refs),
        expires_at=new.spec.expires_at,
    )
