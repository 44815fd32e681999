"""Rows become the model's records here, and nowhere else.

Every statement that answers jobs or attempts selects the same columns under the same names, so one function reads each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from relay.model.records import Attempt, Job
from relay.model.states import JobStatus, Lane, Outcome, Reason

if TYPE_CHECKING:
    from relay.store.connection import Record

MAX_ID: Final = 2**63 - 1


def row_id(number: int) -> int:
    """Give the number as a row's id; one that no bigint holds becomes 0, which no row has."""
    return number if 0 <= number <= MAX_ID else 0


def job(row: Record) -> Job:
    """Read a job from a row of `jobs` and `job_specs`."""
    return Job(
        id=row["id"],
        name=row["name"],
        queue=row["queue"],
        lane=Lane(row["lane"]),
        status=JobStatus(row["status"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        parent_id=row["parent_id"],
        worker_id=row["worker_id"],
        labels=json.loads(row["labels"]),
        lock=row["lock"],
        run_at=row["run_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        max_retries=row["max_retries"],
        retries_used=row["retries_used"],
        spec=row["spec"],
        attempt=row["attempt"],
        round=row["round"],
        dispatched=row["dispatched"],
        expires_at=row["expires_at"],
        cancel_requested_at=row["cancel_requested_at"],
    )


def attempt(row: Record) -> Attempt:
    """Read an attempt."""
    return Attempt(
        attempt=row["attempt"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=Reason(row["reason"]) if row["reason"] else None,
        exit_code=row["exit_code"],
        signal=row["signal"],
        broken_limit=row["broken_limit"],
        error=row["error"],
        worker_id=row["worker_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cpu_s=row["cpu_s"],
        peak_memory_bytes=row["peak_memory_bytes"],
        leftover_processes=row["leftover_processes"],
        stdout_bytes=row["stdout_bytes"],
        stderr_bytes=row["stderr_bytes"],
        dropped_bytes=row["dropped_bytes"],
    )
