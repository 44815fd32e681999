"""Finish: an attempt's result becomes the truth, if its claim still holds.

Attempt, job, last output, children and the named lock's release are one transaction, guarded by `claim_id`: a late attempt
gets no row and changes nothing. A batch is one statement; only when an ended job has children is a transaction opened
around it. No row does not yet mean fenced: the answer to an earlier COMMIT may have been lost, so the attempt is read
first, and only a claim that somebody else ended counts as late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.model.records import JobRef
from relay.model.states import TERMINAL, JobStatus, Lane
from relay.store import children, queries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from relay.model.results import Result
    from relay.model.settle import Settlement
    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output: `seq` counts from 1 within the attempt, `stream` is 1 (stdout) or 2 (stderr)."""

    seq: int
    ts: datetime
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """One attempt's end, with the output that is not stored yet."""

    job_id: int
    attempt: int
    claim_id: str
    result: Result
    settlement: Settlement
    has_children: bool
    chunks: tuple[Chunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finish did. `status` is None when it was fenced. `lock` is the named lock that it freed."""

    status: JobStatus | None
    lock: str | None = None
    ref: JobRef | None = None


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """A batch's answers in order, and the jobs to publish once it is committed."""

    answers: list[Finished]
    due: list[JobRef]


async def finish(conn: Connection, worker_id: int, finishes: Sequence[Finish]) -> FinishedBatch:
    """Record these results. Safe to repeat: a result that is recorded already is answered as recorded.

    Raises asyncpg's errors; after a connection error whether it was committed is unknown: call again.
    """
    if any(finish.has_children for finish in finishes):
        async with conn.transaction():
            rows = await finish_attempts(conn, finishes)
            ended = [
                children.Ended(row["id"], row["round"], JobStatus(row["status"]))
                for row in rows
                if row["has_children"] and JobStatus(row["status"]) in TERMINAL
            ]
            due = await children.create_children(conn, ended) if ended else []
    else:
        rows, due = await finish_attempts(conn, finishes), []
    # By claim, not by job: a batch may hold a late result beside that of the same job's present claim.
    answers = {str(row["claim_id"]): _answer(row) for row in rows}
    late = [finish for finish in finishes if finish.claim_id not in answers]
    if late:
        answers.update(await _recall(conn, worker_id, late))
    due += [
        answer.ref
        for answer in answers.values()
        if answer.ref and answer.status is JobStatus.PENDING and not answer.lock
    ]
    return FinishedBatch([answers[finish.claim_id] for finish in finishes], due)


def _answer(row: asyncpg.Record) -> Finished:
    return Finished(JobStatus(row["status"]), row["lock"], JobRef(row["id"], row["queue"], Lane(row["lane"])))


async def finish_attempts(conn: Connection, finishes: Sequence[Finish]) -> list[asyncpg.Record]:
    """Write the results whose claims hold, and return those jobs' rows."""
    chunks = [(finish.claim_id, chunk) for finish in finishes for chunk in finish.chunks]
    settlements = [finish.settlement for finish in finishes]
    results = [finish.result for finish in finishes]
    return await conn.fetch(
        queries.text("finish_attempts"),
        [finish.job_id for finish in finishes],
        [finish.claim_id for finish in finishes],
        [settlement.status.value for settlement in settlements],
        [settlement.outcome.value for settlement in settlements],
        [settlement.reason.value if settlement.reason else None for settlement in settlements],
        [settlement.retry_delay_s for settlement in settlements],
        [result.exit_code for result in results],
        [result.signal for result in results],
        [result.broken_limit for result in results],
        [result.error for result in results],
        [result.cpu_s for result in results],
        [result.peak_memory_bytes for result in results],
        [result.leftover_processes for result in results],
        [result.stdout_bytes for result in results],
        [result.stderr_bytes for result in results],
        [result.dropped_bytes for result in results],
        [claim_id for claim_id, _ in chunks],
        [chunk.seq for _, chunk in chunks],
        [chunk.stream for _, chunk in chunks],
        [chunk.ts for _, chunk in chunks],
        [chunk.data for _, chunk in chunks],
    )


async def _recall(conn: Connection, worker_id: int, late: Sequence[Finish]) -> dict[str, Finished]:
    """Tell finishes whose first answer was lost from fenced ones, and note the fenced."""
    closed = await list_closed_attempts(conn, late)
    recorded = {
        finish.claim_id: Finished(finish.settlement.status)
        for finish in late
        if closed.get(finish.claim_id) == finish.settlement.outcome.value
    }
    fenced = [finish for finish in late if finish.claim_id not in recorded]
    if fenced:
        await record_fenced(conn, worker_id, fenced)
    return recorded | {finish.claim_id: Finished(None) for finish in fenced}


async def list_closed_attempts(conn: Connection, finishes: Sequence[Finish]) -> dict[str, str]:
    """Return the outcome by claim id of those attempts that have ended."""
    rows = await conn.fetch(
        queries.text("list_closed_attempts"),
        [finish.job_id for finish in finishes],
        [finish.claim_id for finish in finishes],
    )
    return {str(row["claim_id"]): row["outcome"] for row in rows}


async def record_fenced(conn: Connection, worker_id: int, finishes: Sequence[Finish]) -> None:
    """Write one audit row for each finish that came too late."""
    await conn.execute(
        queries.text("record_fenced"),
        worker_id,
        [finish.job_id for finish in finishes],
        [finish.claim_id for finish in finishes],
    )


async def append_output(conn: Connection, chunks: Sequence[tuple[int, int, str, Chunk]]) -> None:
    """Store output of running attempts (job id, attempt, claim id, chunk). Safe to repeat; a closed attempt's is dropped."""
    await conn.execute(
        queries.text("append_output"),
        [job_id for job_id, _, _, _ in chunks],
        [attempt for _, attempt, _, _ in chunks],
        [claim_id for _, _, claim_id, _ in chunks],
        [chunk.seq for *_, chunk in chunks],
        [chunk.stream for *_, chunk in chunks],
        [chunk.ts for *_, chunk in chunks],
        [chunk.data for *_, chunk in chunks],
    )
