"""Rows as the rest of Relay sees them, and the JSON that the API answers.

Attribute names are the database's column names; `as_json` gives the API's names. `Job.spec` stays JSON text on its way
from the database to the answer: `as_json_text` splices it in, since parsing and writing it again would cost more than
the rest of the answer together.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from relay.model.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from relay.model.states import JobStatus, Lane, Outcome, Reason

STDOUT, STDERR = 1, 2
STREAM_NAMES: Mapping[int, str] = {STDOUT: "stdout", STDERR: "stderr"}


class JobRef(NamedTuple):
    """All that a message about a job needs."""

    id: int
    queue: str
    lane: Lane


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. `spec` is its normalised spec as JSON text; `worker_id` is of the last claim, None before the first."""

    id: int
    name: str
    queue: str
    lane: Lane
    status: JobStatus
    reason: Reason | None = None
    parent_id: int | None = None
    worker_id: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    lock: str | None = None
    run_at: datetime
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    max_retries: int
    retries_used: int = 0
    spec: str = field(repr=False)
    attempt: int = 0
    round: int = 0
    dispatched: bool = False
    expires_at: datetime | None = None
    cancel_requested_at: datetime | None = None

    @property
    def ref(self) -> JobRef:
        """This job as a message names it."""
        return JobRef(self.id, self.queue, self.lane)

    def as_json(self, *, attempts: Sequence[Attempt] | None = None) -> dict[str, object]:
        """Give the job as the API answers it; with `attempts` only where they are handed in."""
        answer = self._head()
        answer["spec"] = json.loads(self.spec)
        if attempts is not None:
            answer["attempts"] = [attempt.as_json() for attempt in attempts]
        return answer

    def as_json_text(self, *, attempts: Sequence[Attempt] | None = None) -> str:
        """Give `as_json` as text, without parsing the spec."""
        head = to_json(self._head()).decode()
        tail = ""
        if attempts is not None:
            rows = to_json([attempt.as_json() for attempt in attempts]).decode()
            tail = f',"attempts":{rows}'
        return f'{head[:-1]},"spec":{self.spec}{tail}}}'

    def _head(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "queue": self.queue,
            "priority": self.lane.label,
            "status": self.status,
            "reason": self.reason,
            "parent_id": self.parent_id,
            "worker": self.worker_id,
            "labels": dict(self.labels),
            "lock": self.lock,
            "run_at": format_time(self.run_at),
            "created_at": format_time(self.created_at),
            "started_at": _time(self.started_at),
            "finished_at": _time(self.finished_at),
            "max_retries": self.max_retries,
            "retries_used": self.retries_used,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a job. `outcome` is None while it runs."""

    attempt: int
    outcome: Outcome | None = None
    reason: Reason | None = None
    exit_code: int | None = None
    signal: str | None = None
    broken_limit: str | None = None
    error: str | None = None
    worker_id: int
    started_at: datetime
    finished_at: datetime | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    leftover_processes: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_bytes: int = 0

    def as_json(self) -> dict[str, object]:
        """Give the attempt as the API answers it."""
        return {
            "attempt": self.attempt,
            "outcome": self.outcome,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "limit": self.broken_limit,
            "error": self.error,
            "worker": self.worker_id,
            "started_at": format_time(self.started_at),
            "finished_at": _time(self.finished_at),
            "cpu_s": self.cpu_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            "leftover_processes": self.leftover_processes,
            "stdout_bytes": self.stdout_bytes,
            "stderr_bytes": self.stderr_bytes,
            "dropped_bytes": self.dropped_bytes,
        }


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """Some bytes of output. `seq` is contiguous from 1 within an attempt, over both streams; `stream` is 1 or 2."""

    attempt: int
    seq: int
    ts: datetime
    stream: int
    data: bytes

    def as_json(self) -> dict[str, object]:
        """Give the record, with `text` where the bytes are UTF-8 and `base64` where not."""
        record: dict[str, object] = {
            "attempt": self.attempt,
            "seq": self.seq,
            "ts": format_time(self.ts),
            "stream": STREAM_NAMES[self.stream],
        }
        try:
            record["text"] = self.data.decode()
        except UnicodeDecodeError:
            record["base64"] = base64.b64encode(self.data).decode("ascii")
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker process. `pid` is of the worker itself, not of its guard; `state` is active, draining or lost."""

    id: int
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    slots: int
    running: int
    seen_at: datetime
    state: str

    def as_json(self) -> dict[str, object]:
        """Give the worker as the API answers it."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "queues": list(self.queues),
            "slots": self.slots,
            "running": self.running,
            "seen_at": format_time(self.seen_at),
            "state": self.state,
        }
