"""The API's answers as the type checker sees them. They stay the JSON objects that came over the wire.

Nothing is checked at run time: a newer server may add members, and `-o json` must show them.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

Stream: TypeAlias = Literal["stdout", "stderr"]
Filters: TypeAlias = list[tuple[str, str]]
"""List filters as query parameters: `("status", "DEAD")`, `("label", "team:data")`."""

TERMINAL = frozenset({"COMPLETED", "DEAD", "CANCELLED"})


class Attempt(TypedDict):
    """One execution of a job."""

    attempt: int
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: str | None
    limit: str | None
    error: str | None
    worker: int
    started_at: str
    finished_at: str | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    leftover_processes: int
    stdout_bytes: int
    stderr_bytes: int
    dropped_bytes: int


class Job(TypedDict):
    """One job; `attempts` where a single job was asked for."""

    id: int
    name: str
    queue: str
    priority: str
    status: str
    reason: str | None
    parent_id: int | None
    worker: int | None
    labels: dict[str, str]
    lock: str | None
    run_at: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    max_retries: int
    retries_used: int
    spec: dict[str, object]
    attempts: NotRequired[list[Attempt]]


class Tree(TypedDict):
    """A job of a chain and what came of it."""

    job: Job
    children: list[Tree]


class Worker(TypedDict):
    """One worker process."""

    id: int
    host: str
    pid: int
    version: str
    queues: list[str]
    slots: int
    running: int
    seen_at: str
    state: str


class Record(TypedDict):
    """Some output of a job: `text`, or `base64` where the bytes are not UTF-8."""

    attempt: int
    seq: int
    ts: str
    stream: Stream
    text: NotRequired[str]
    base64: NotRequired[str]


class Stats(TypedDict):
    """Counts by state and by queue, and rates: `rates["completed_per_s"]["1m"]`."""

    states: dict[str, int]
    queues: dict[str, dict[str, float | None]]
    oldest_pending_s: float | None
    rates: dict[str, dict[str, float]]
