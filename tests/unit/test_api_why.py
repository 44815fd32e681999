"""The sentence that says why a job is where it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.api import why
from relay.model.states import JobStatus, Reason
from relay.store.why import Circumstances

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
PENDING = Circumstances(
    id=42, queue="mail", status=JobStatus.PENDING, reason=None, dispatched=True, run_at=NOW - timedelta(seconds=3),
    expires_at=None, attempt=0, max_retries=3, retries_used=0, lock=None, worker_id=None, cancel_requested_at=None,
    finished_at=None, now=NOW, attempt_started_at=None, outcome=None, exit_code=None, signal=None, broken_limit=None,
    error=None, worker_host=None, worker_state=None, worker_seen_at=None, is_worker_silent=True, holder_id=None,
    holder_started_at=None, listening=2, slots=8, running=3, ahead=0, ahead_for_lock=0,
)  # fmt: skip
DEAD = replace(
    PENDING, status=JobStatus.DEAD, reason=Reason.EXIT, attempt=4, retries_used=3, exit_code=2, finished_at=NOW
)


def said(facts: Circumstances, *, is_kafka_up: bool = True) -> str:
    return why.sentence(facts, is_kafka_up=is_kafka_up)


def test_what_holds_a_job_up_first_is_told_first() -> None:
    facts = replace(PENDING, run_at=NOW + timedelta(minutes=5), lock="db", holder_id=7, listening=0)
    assert said(facts) == "It is due at 2030-01-01T12:05:00Z, in 5m."
    facts = replace(facts, run_at=NOW)
    assert said(facts) == "It waits for the lock 'db', which job 7 holds."
    facts = replace(facts, holder_id=None)
    assert said(facts) == "No worker listens to the queue 'mail': start one with 'relay work --queue mail'."
    facts = replace(facts, listening=1, ahead_for_lock=2)
    assert said(facts) == "It waits for the lock 'db', and 2 jobs wait before it."


def test_a_job_past_its_expiry_waits_for_nothing_unless_it_was_started_once() -> None:
    facts = replace(PENDING, expires_at=NOW - timedelta(seconds=1))
    assert said(facts) == "It expired: it had not started by 2030-01-01T11:59:59Z, and is about to be DEAD."
    assert "on its way" in said(replace(facts, attempt=1))


@pytest.mark.parametrize(
    ("facts", "is_kafka_up", "sentence"),
    [
        (replace(PENDING, running=8, ahead=12), True, "All 8 slots of the queue 'mail' are busy, and 12 jobs wait before it."),
        (replace(PENDING, running=9, ahead=10_000), True, "All 8 slots of the queue 'mail' are busy, and 10000+ jobs wait before it."),
        (PENDING, False, "Kafka can't be reached, so a worker with a free slot will fetch it from the database within seconds."),
        (PENDING, True, "It has been due since 2030-01-01T11:59:57Z and is on its way to a worker with a free slot."),
    ],
)  # fmt: skip
def test_a_job_that_may_run_waits_for_a_slot_or_its_way_there(
    facts: Circumstances, is_kafka_up: bool, sentence: str
) -> None:
    assert said(facts, is_kafka_up=is_kafka_up) == sentence


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({}, "attempt 4 failed (exit code 2), after 3 of 3 retries."),
        ({"retries_used": 0}, "attempt 4 failed (exit code 2), and this is not retried."),
        ({"reason": Reason.SIGNAL, "signal": "SIGKILL"}, "attempt 4 failed (killed by SIGKILL), after 3 of 3 retries."),
        ({"reason": Reason.TIMEOUT}, "attempt 4 failed (its time was up), after 3 of 3 retries."),
        (
            {"reason": Reason.LIMIT, "broken_limit": "memory"},
            "attempt 4 failed (it broke its limit on memory), after 3 of 3 retries.",
        ),
        (
            {"reason": Reason.START_ERROR, "error": "no such program"},
            "attempt 4 failed (it could not start: no such program), after 3 of 3 retries.",
        ),
        ({"reason": Reason.WORKER_LOST}, "its worker was lost in attempt 4, and it may not start again."),
    ],
)
def test_a_dead_job_tells_how_its_last_attempt_ended(changes: dict[str, object], ending: str) -> None:
    assert said(replace(DEAD, **changes)) == f"It is dead since 2030-01-01T12:00:00Z: {ending}"  # type: ignore[arg-type]


def test_a_running_job_without_its_workers_row_is_lost() -> None:
    facts = replace(PENDING, status=JobStatus.RUNNING, worker_id=9, attempt=1)
    assert said(facts) == "Its worker 9 is lost: the job will be rescued once that is certain."
