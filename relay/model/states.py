"""The states of a job, and which may follow which.

    PENDING --> RUNNING --> COMPLETED | FAILED | DEAD | PENDING (released, or lost with a retry left) | CANCELLED
    PENDING --> CANCELLED | DEAD (expired)
    FAILED  --> PENDING (the retry is due) | CANCELLED
    DEAD | FAILED | CANCELLED --> PENDING (a retry by hand)

The table is for tests, answers and checkers: what enforces it are the statements in sql/queries, each of which names the
state that it expects. COMPLETED is final; DEAD and CANCELLED are terminal too, but a person may send the job round again.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobStatus(StrEnum):
    """Where a job is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    RELEASED = "released"


class Reason(StrEnum):
    """Why a job is FAILED or DEAD, or its attempt did not succeed."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    START_ERROR = "start_error"
    LIMIT = "limit"
    WORKER_LOST = "worker_lost"
    EXPIRED = "expired"


class Lane(IntEnum):
    """A priority as the database and Kafka sort it: lower first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @property
    def label(self) -> str:
        """The word that specs and answers use: high, normal or low."""
        return self.name.lower()


TERMINAL: frozenset[JobStatus] = frozenset({JobStatus.COMPLETED, JobStatus.DEAD, JobStatus.CANCELLED})

LEGAL: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.DEAD}),
        JobStatus.RUNNING: frozenset(
            {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.DEAD, JobStatus.PENDING, JobStatus.CANCELLED}
        ),
        JobStatus.FAILED: frozenset({JobStatus.PENDING, JobStatus.CANCELLED}),
        JobStatus.COMPLETED: frozenset(),
        JobStatus.DEAD: frozenset({JobStatus.PENDING}),
        JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
    }
)


def is_legal(before: JobStatus, after: JobStatus) -> bool:
    """Say whether a job in `before` may become `after` in one step."""
    return after in LEGAL[before]
