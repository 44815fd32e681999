from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from relay.model.records import STDERR, STDOUT, Attempt, Job, JobRef, OutputRecord, Worker
from relay.model.states import JobStatus, Lane, Outcome, Reason

NOON = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
NOON_TEXT = "2030-01-31T12:00:00.000000Z"
JOB = Job(
    id=42,
    name="naïve",
    queue="etl",
    lane=Lane.HIGH,
    status=JobStatus.DEAD,
    reason=Reason.EXIT,
    worker_id=7,
    labels={"team": "data"},
    run_at=NOON.astimezone(timezone(timedelta(hours=2))),
    created_at=NOON,
    started_at=NOON,
    finished_at=NOON,
    max_retries=3,
    retries_used=3,
    spec='{"payload": {"command": "x"}}',
    attempt=4,
)
ATTEMPT = Attempt(
    attempt=4, outcome=Outcome.FAILED, reason=Reason.EXIT, exit_code=1, broken_limit=None, worker_id=7, started_at=NOON
)


def test_a_job_is_answered_with_the_documented_keys() -> None:
    expected = {
        "id": 42,
        "name": "naïve",
        "queue": "etl",
        "priority": "high",
        "status": "DEAD",
        "reason": "exit",
        "parent_id": None,
        "worker": 7,
        "labels": {"team": "data"},
        "lock": None,
        "run_at": NOON_TEXT,
        "created_at": NOON_TEXT,
        "started_at": NOON_TEXT,
        "finished_at": NOON_TEXT,
        "max_retries": 3,
        "retries_used": 3,
        "spec": {"payload": {"command": "x"}},
    }
    assert expected == JOB.as_json()


def test_an_attempt_is_answered_with_the_documented_keys() -> None:
    expected = {
        "attempt": 4,
        "outcome": "failed",
        "reason": "exit",
        "exit_code": 1,
        "signal": None,
        "limit": None,
        "error": None,
        "worker": 7,
        "started_at": NOON_TEXT,
        "finished_at": None,
        "cpu_s": None,
        "peak_memory_bytes": None,
        "leftover_processes": 0,
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "dropped_bytes": 0,
    }
    assert expected == ATTEMPT.as_json()


def test_the_text_of_a_job_says_the_same_as_its_object() -> None:
    assert JOB.as_json() == json.loads(JOB.as_json_text())
    assert JOB.as_json(attempts=[ATTEMPT]) == json.loads(JOB.as_json_text(attempts=[ATTEMPT]))
    assert JOB.as_json(attempts=[]) == json.loads(JOB.as_json_text(attempts=[]))


def test_a_jobs_spec_stays_out_of_its_repr() -> None:
    assert "command" not in repr(JOB)


def test_a_message_names_a_job_by_id_queue_and_lane() -> None:
    assert JobRef(42, "etl", Lane.HIGH) == JOB.ref


def test_output_that_is_utf_8_is_text() -> None:
    record = OutputRecord(1, 2, NOON, STDOUT, "naïve\n".encode())
    assert record.as_json() == {"attempt": 1, "seq": 2, "ts": NOON_TEXT, "stream": "stdout", "text": "naïve\n"}


def test_output_that_is_not_utf_8_is_base64() -> None:
    record = OutputRecord(1, 2, NOON, STDERR, b"\xff\x00")
    assert record.as_json() == {"attempt": 1, "seq": 2, "ts": NOON_TEXT, "stream": "stderr", "base64": "/wA="}


@given(st.binary())
def test_output_bytes_survive_the_json(data: bytes) -> None:
    record = json.loads(json.dumps(OutputRecord(1, 1, NOON, STDOUT, data).as_json()))
    assert data == (record["text"].encode() if "text" in record else base64.b64decode(record["base64"]))


def test_a_worker_is_answered_with_the_documented_keys() -> None:
    worker = Worker(
        id=7, host="h", pid=1, version="0.1", queues=("default",), slots=8, running=2, seen_at=NOON, state="active"
    )
    expected = {
        "id": 7,
        "host": "h",
        "pid": 1,
        "version": "0.1",
        "queues": ["default"],
        "slots": 8,
        "running": 2,
        "seen_at": NOON_TEXT,
        "state": "active",
    }
    assert expected == worker.as_json()
