"""Finish: recorded once, only while the claim holds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.bus import messages
from relay.model.settle import Settlement
from relay.model.states import JobStatus, Outcome
from relay.store import finish, jobs, logs, rescue
from relay.store.finish import Chunk
from tests.integration import seeding, working

if TYPE_CHECKING:
    from relay.store.claims import Claimed
    from relay.store.connection import Connection


@pytest.fixture
async def worker_id(conn: Connection) -> int:
    return await working.register(conn)


async def claimed_job(conn: Connection, worker_id: int, **spec: object) -> Claimed:
    return await working.claim_one(conn, worker_id, await seeding.insert_one(conn, **spec))


async def state_of(conn: Connection, job_id: int) -> tuple[str, str | None]:
    row = await conn.fetchrow("SELECT status, reason FROM jobs WHERE id = $1", job_id)
    assert row is not None
    return row["status"], row["reason"]


@pytest.mark.parametrize(
    ("settlement", "expected"),
    [
        (working.OK, ("COMPLETED", None)),
        (working.failed(), ("FAILED", "exit")),
        (working.DEAD, ("DEAD", "exit")),
        (working.RELEASED, ("PENDING", None)),
        (Settlement(JobStatus.CANCELLED, Outcome.CANCELLED), ("CANCELLED", None)),
        (working.REFUSED, ("DEAD", "start_error")),
    ],
)
async def test_a_finish_ends_attempt_and_job(
    conn: Connection, worker_id: int, settlement: Settlement, expected: tuple[str, str | None]
) -> None:
    claimed = await claimed_job(conn, worker_id)

    recorded = await finish.finish(conn, worker_id, [working.end(claimed, settlement, exit_code=3)])

    assert recorded.answers[0].status is settlement.status
    assert await state_of(conn, claimed.job_id) == expected
    attempt = await conn.fetchrow("SELECT outcome, exit_code FROM attempts WHERE job_id = $1", claimed.job_id)
    assert attempt is not None
    assert tuple(attempt) == (settlement.outcome.value, 3)


async def test_a_retry_is_due_after_its_delay_and_counted(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    before = datetime.now(UTC)

    await finish.finish(conn, worker_id, [working.end(claimed, working.failed(60))])

    row = await conn.fetchrow("SELECT run_at, retries_used, dispatched FROM jobs WHERE id = $1", claimed.job_id)
    assert row is not None
    assert timedelta(seconds=59) < row["run_at"] - before < timedelta(seconds=62)
    assert (row["retries_used"], row["dispatched"]) == (1, False)


async def test_a_released_job_uses_no_retry_and_is_published_again(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)

    recorded = await finish.finish(conn, worker_id, [working.end(claimed, working.RELEASED)])

    assert [messages.topic(ref.lane, ref.queue) for ref in recorded.due] == ["relay.jobs.normal.default"]
    assert [ref.id for ref in recorded.due] == [claimed.job_id]
    assert await conn.fetchval("SELECT retries_used FROM jobs WHERE id = $1", claimed.job_id) == 0


async def test_a_stale_claim_cannot_finish_a_job(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    forged = working.end(claimed, claim_id=str(uuid.uuid4()))

    recorded = await finish.finish(conn, worker_id, [forged])

    assert recorded.answers[0].status is None
    assert await state_of(conn, claimed.job_id) == ("RUNNING", None)
    assert await conn.fetchval("SELECT outcome FROM attempts WHERE job_id = $1", claimed.job_id) is None
    assert (f"worker:{worker_id}", "attempt.fenced") in await seeding.audited(conn, claimed.job_id)


async def test_an_earlier_attempts_claim_cannot_finish_the_next_one(conn: Connection, worker_id: int) -> None:
    first = await claimed_job(conn, worker_id)
    await finish.finish(conn, worker_id, [working.end(first, working.RELEASED)])
    second = await working.claim_one(conn, worker_id, first.job_id)

    recorded = await finish.finish(conn, worker_id, [working.end(first)])

    assert recorded.answers[0].status is None
    assert await state_of(conn, first.job_id) == ("RUNNING", None)
    assert second.attempt == 2


async def test_a_finish_whose_answer_was_lost_can_be_repeated(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    end = working.end(claimed)
    await finish.finish(conn, worker_id, [end])

    again = await finish.finish(conn, worker_id, [end])

    assert again.answers[0].status is JobStatus.COMPLETED
    assert "attempt.fenced" not in [action for _, action in await seeding.audited(conn, claimed.job_id)]


async def test_one_fenced_finish_does_not_hold_up_its_batch(conn: Connection, worker_id: int) -> None:
    good, bad = await claimed_job(conn, worker_id), await claimed_job(conn, worker_id)

    recorded = await finish.finish(conn, worker_id, [working.end(bad, claim_id=str(uuid.uuid4())), working.end(good)])

    assert [answer.status for answer in recorded.answers] == [None, JobStatus.COMPLETED]


async def test_a_late_finish_beside_its_jobs_present_one_is_fenced(conn: Connection, worker_id: int) -> None:
    first = await claimed_job(conn, worker_id)
    await rescue.lose_attempts(conn, [rescue.LostClaim(first.job_id, first.claim_id)])
    second = await working.claim_one(conn, worker_id, first.job_id)
    chunks = [Chunk(1, datetime.now(UTC), 1, claim.claim_id.encode()) for claim in (first, second)]

    recorded = await finish.finish(
        conn, worker_id, [working.end(first, chunks=chunks[:1]), working.end(second, chunks=chunks[1:])]
    )

    assert [answer.status for answer in recorded.answers] == [None, JobStatus.COMPLETED]
    stored = await conn.fetch("SELECT attempt, data FROM output WHERE job_id = $1", first.job_id)
    assert [tuple(row) for row in stored] == [(2, second.claim_id.encode())]


async def test_a_job_with_a_cancel_flag_ends_cancelled_unless_it_succeeded(conn: Connection, worker_id: int) -> None:
    failed, succeeded = await claimed_job(conn, worker_id), await claimed_job(conn, worker_id)
    for claimed in (failed, succeeded):
        await jobs.cancel_job(conn, claimed.job_id, actor=seeding.ACTOR)

    await finish.finish(conn, worker_id, [working.end(failed, working.failed()), working.end(succeeded)])

    assert await state_of(conn, failed.job_id) == ("CANCELLED", None)
    assert await state_of(conn, succeeded.job_id) == ("COMPLETED", None)


async def test_the_last_output_comes_with_the_finish(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    chunk = Chunk(1, datetime.now(UTC), 1, bytes(range(256)))

    await finish.finish(conn, worker_id, [working.end(claimed, chunks=[chunk])])

    (record,) = await logs.read_output(conn, claimed.job_id, 1)
    assert record.data == bytes(range(256))


async def test_output_of_a_closed_attempt_is_dropped(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    first, late = (Chunk(seq, datetime.now(UTC), 1, b"x") for seq in (1, 2))
    await finish.append_output(conn, [(claimed.job_id, 1, claimed.claim_id, first)])
    await finish.finish(conn, worker_id, [working.end(claimed)])

    await finish.append_output(conn, [(claimed.job_id, 1, claimed.claim_id, late)])

    assert [record.seq for record in await logs.read_output(conn, claimed.job_id, 1)] == [1]


async def test_output_can_be_sent_twice(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id)
    sent = [(claimed.job_id, 1, claimed.claim_id, Chunk(1, datetime.now(UTC), 1, b"x"))]

    await finish.append_output(conn, sent)
    await finish.append_output(conn, sent)

    assert len(await logs.read_output(conn, claimed.job_id, 1)) == 1


async def test_children_come_with_the_finish_and_not_with_a_fenced_one(conn: Connection, worker_id: int) -> None:
    claimed = await claimed_job(conn, worker_id, on_success=seeding.TRUE)
    fenced = working.end(claimed, claim_id=str(uuid.uuid4()), has_children=True)

    assert (await finish.finish(conn, worker_id, [fenced])).due == []
    recorded = await finish.finish(conn, worker_id, [working.end(claimed, has_children=True)])

    assert len(recorded.due) == 1
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE parent_id = $1", claimed.job_id) == 1
