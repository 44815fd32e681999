"""Everything that the checker judges, gathered once when a run has become quiet: plain data, so that a test can forge it.

It comes from the generator's journal, from what the jobs wrote, from the tables (past all proxies), from Redis, from /proc
and from the logs.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
from redis import asyncio as redis

from relay.process import tree
from tests.chaos import lag

if TYPE_CHECKING:
    from datetime import datetime

    from tests.chaos.evidence import Line
    from tests.chaos.journal import Entry
    from tests.chaos.scene import Scene

OUTPUT = """
SELECT job_id, attempt, count(*) AS chunks, min(seq) AS first, max(seq) AS last,
       string_agg(data, ''::bytea ORDER BY seq) FILTER (WHERE stream = 1) AS stdout
  FROM output GROUP BY job_id, attempt
"""
JOBS = """
SELECT id, status, reason, attempt, round, max_retries, retries_used, fail_on_loss, lock, claim_id::text, cancel_requested_at, created_at,
       finished_at, parent_id, parent_edge, edge_index, parent_round, has_children
  FROM jobs
"""
ATTEMPTS = """
SELECT job_id, attempt, claim_id::text, round, worker_id, outcome, reason, exit_code, started_at, finished_at, dropped_bytes, stdout_bytes
  FROM attempts ORDER BY job_id, attempt
"""
FENCED = "SELECT job_id, detail ->> 'claim_id' AS claim_id FROM audit WHERE action = 'attempt.fenced'"
AGAIN_S = 0.2
GONE = -2  # what PTTL says of a key that is no more
_ERROR = re.compile(r"[ |]{0,8}([A-Za-z_][\w.]*(?:: .*)?)$")
CHILDREN = """
SELECT job_id, jsonb_array_length(coalesce(spec::jsonb -> 'on_success', '[]')) AS on_success,
       jsonb_array_length(coalesce(spec::jsonb -> 'on_failure', '[]')) AS on_failure
  FROM job_specs
"""


@dataclass(slots=True)
class Job:
    """A row of `jobs`."""

    id: int
    status: str
    reason: str | None
    attempt: int
    round: int
    max_retries: int
    retries_used: int
    fail_on_loss: bool
    lock: str | None
    claim_id: str | None
    cancel_requested_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    parent_id: int | None
    parent_edge: str | None
    edge_index: int | None
    parent_round: int | None
    has_children: bool


@dataclass(slots=True)
class Attempt:
    """A row of `attempts`."""

    job_id: int
    attempt: int
    claim_id: str
    round: int
    worker_id: int
    outcome: str | None
    reason: str | None
    exit_code: int | None
    started_at: datetime
    finished_at: datetime | None
    dropped_bytes: int
    stdout_bytes: int


@dataclass(slots=True)
class Output:
    """What is stored of an attempt's output: how many chunks, the first and last number, and stdout's bytes."""

    chunks: int
    first: int
    last: int
    stdout: bytes


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is left in Redis: its job, its owner, milliseconds to live (-1: for ever)."""

    job_id: int
    claim_id: str
    ttl_ms: int


@dataclass(slots=True)
class Facts:
    """All evidence of one run."""

    entries: list[Entry] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    jobs: dict[int, Job] = field(default_factory=dict)
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    output: dict[tuple[int, int], Output] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    children: dict[int, dict[str, int]] = field(default_factory=dict)
    """By job: how many children its spec names, by edge."""
    fenced: list[tuple[int, str]] = field(default_factory=list)
    fenced_logged: int = 0
    locks: list[Lock] = field(default_factory=list)
    carriers: dict[int, str] = field(default_factory=dict)
    """Live processes by pid, with the claim that they carry."""
    zombies: list[int] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    """Where a secret was found."""
    held_twice: list[str] = field(default_factory=list)
    """Named locks that a look during the run saw held by several jobs."""
    tracebacks: list[str] = field(default_factory=list)
    lag: int = 0
    """Messages in Kafka that the workers have not yet done with."""


async def gather(scene: Scene, *, is_lag_awaited: bool = True) -> Facts:
    """Gather all evidence. The run must be quiet: nothing here is read at one instant.

    Until Kafka has been read to its end may take as long as a killed worker's place in the group is kept: some 10 s.
    """
    facts = Facts(entries=list(scene.journal.entries), lines=scene.folder.lines(), held_twice=list(scene.held_twice))
    await _read_tables(scene.dsn, facts)
    await _read_locks(scene, facts)
    if is_lag_awaited:
        facts.lag = await lag.settled(scene)
    _read_processes(scene, facts)
    await asyncio.to_thread(_read_logs, scene, facts)
    return facts


async def _read_tables(dsn: str, facts: Facts) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            facts.jobs = {row["id"]: Job(**row) for row in await connection.fetch(JOBS)}
            for row in await connection.fetch(ATTEMPTS):
                facts.attempts.setdefault(row["job_id"], []).append(Attempt(**row))
            facts.output = {
                (row["job_id"], row["attempt"]): Output(row["chunks"], row["first"], row["last"], row["stdout"] or b"")
                for row in await connection.fetch(OUTPUT)
            }
            rows = await connection.fetch("SELECT key, job_id FROM idempotency_keys")
            facts.keys = {row["key"]: row["job_id"] for row in rows}
            facts.fenced = [(row["job_id"], row["claim_id"]) for row in await connection.fetch(FENCED)]
            facts.children = {
                row["job_id"]: {"on_success": row["on_success"], "on_failure": row["on_failure"]}
                for row in await connection.fetch(CHILDREN)
            }
    finally:
        await connection.close()


async def _read_locks(scene: Scene, facts: Facts) -> None:
    """Keep the locks that are there for a whole TTL: a message about a job that has ended makes one for a moment."""
    deadline = time.monotonic() + scene.ttl_s
    facts.locks = await _look_at_locks(scene, facts)
    while facts.locks and time.monotonic() < deadline:
        await asyncio.sleep(AGAIN_S)
        again = {(lock.job_id, lock.claim_id) for lock in await _look_at_locks(scene, facts)}
        facts.locks = [lock for lock in facts.locks if (lock.job_id, lock.claim_id) in again]


async def _look_at_locks(scene: Scene, facts: Facts) -> list[Lock]:
    found: list[Lock] = []
    async with redis.from_url(scene.stores.redis.url) as client:
        async for key in client.scan_iter(match="relay:lock:*"):
            owner, ttl_ms = await client.get(key), await client.pttl(key)
            job_id = int(key.rpartition(b":")[2])
            if isinstance(owner, bytes) and job_id in facts.jobs and ttl_ms != GONE:
                found.append(Lock(job_id, owner.decode(), ttl_ms))
    return found


def _read_processes(scene: Scene, facts: Facts) -> None:
    own = {attempt.claim_id for attempts in facts.attempts.values() for attempt in attempts}
    procs = tree.snapshot()
    for pid in procs:
        claim = tree.claim_of(pid)
        if claim in own:
            facts.carriers[pid] = claim
    for place in scene.fleet.works:
        if place.is_running:
            below = {each.pid for each in tree.descendants(place.pid, procs=procs)} | {place.pid}
            facts.zombies += [each.pid for each in procs.values() if each.state == "Z" and each.ppid in below]


def _read_logs(scene: Scene, facts: Facts) -> None:
    secrets = {"token": scene.token, "password of Redis": scene.stores.redis.password}
    secrets["password of PostgreSQL"] = str(urlsplit(scene.dsn).password)
    for place in scene.fleet.all:
        text = place.log.read_text(errors="replace")
        facts.fenced_logged += text.count(" finish.fenced ")
        facts.leaks += [f"{name} in {place.log.name}" for name, secret in secrets.items() if secret in text]
        facts.tracebacks += [f"{place.log.name}: {line}" for line in _failures(text)]


def _failures(log: str) -> list[str]:
    """The error at the end of each traceback; of a group, the group and what is in it."""
    found: list[str] = []
    is_inside = False
    for line in log.splitlines():
        if "Traceback (most recent call last)" in line:
            is_inside = True
        elif is_inside and (error := _ERROR.match(line)):
            found.append(error.group(1)[:300])
            is_inside = False
    return found
