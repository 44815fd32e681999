"""What the store should hold: jobs and attempts in plain Python, and what each call of the store makes of them.

The model knows no SQL and no clock. A job is due or not, late or not, since the machine moves whole hours; children are
owed (`births`) until the tables show them, since only PostgreSQL knows their ids. It is written from the contract's
states, one small rule per method, so that a disagreement points at one statement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.model import chain
from relay.model.states import TERMINAL, JobStatus, Outcome, Reason
from relay.store.submit import Parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.model.results import Result
    from relay.model.settle import Settlement
    from relay.model.spec import JobSpec
    from tests.integration.lifecycle_tables import Row

RETRIABLE = {JobStatus.DEAD, JobStatus.FAILED, JobStatus.CANCELLED}


@dataclass(slots=True)
class Attempt:
    """One attempt of a job; `output` is the number of chunks stored."""

    claim_id: str
    worker_id: int
    round: int
    outcome: Outcome | None = None
    reason: Reason | None = None
    exit_code: int | None = None
    output: int = 0


@dataclass(slots=True)
class Job:
    """One job. `is_late`: None without an expiry."""

    id: int
    spec: JobSpec
    parent: Parent | None
    is_due: bool
    is_late: bool | None
    key: str | None = None
    status: JobStatus = JobStatus.PENDING
    reason: Reason | None = None
    round: int = 0
    retries_used: int = 0
    is_dispatched: bool = False
    is_cancel_requested: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        """Whether it only waits for a worker, or for its lock."""
        return self.status is JobStatus.PENDING and self.is_due

    @property
    def is_expirable(self) -> bool:
        return self.status is JobStatus.PENDING and not self.attempts and bool(self.is_late)

    def move(self, status: JobStatus, reason: Reason | None = None) -> None:
        """Change the status, and the reason with it."""
        self.status, self.reason = status, reason if status in (JobStatus.FAILED, JobStatus.DEAD) else None

    def claim(self, claim_id: str, worker_id: int) -> None:
        self.move(JobStatus.RUNNING)
        self.is_dispatched = True
        self.attempts.append(Attempt(claim_id, worker_id, self.round))

    def finish(self, result: Result, settlement: Settlement) -> None:
        last = self.attempts[-1]
        last.outcome, last.reason, last.exit_code = settlement.outcome, settlement.reason, result.exit_code
        is_cancelled = self.is_cancel_requested and settlement.status is not JobStatus.COMPLETED
        self.move(JobStatus.CANCELLED if is_cancelled else settlement.status, settlement.reason)
        self.is_dispatched = self.status is not JobStatus.FAILED
        if self.status is JobStatus.FAILED:
            self.retries_used += 1
            self.is_due = False

    def lose(self) -> None:
        self.attempts[-1].outcome, self.attempts[-1].reason = Outcome.LOST, Reason.WORKER_LOST
        self.is_dispatched = True
        if self.is_cancel_requested:
            self.move(JobStatus.CANCELLED)
        elif self.spec.on_worker_lost == "fail" or self.retries_used == self.spec.max_retries:
            self.move(JobStatus.DEAD, Reason.WORKER_LOST)
        else:
            self.retries_used += 1
            self.move(JobStatus.PENDING)

    def cancel(self) -> None:
        if self.status is JobStatus.RUNNING:
            self.is_cancel_requested = True
        elif self.status in (JobStatus.PENDING, JobStatus.FAILED):
            self.move(JobStatus.CANCELLED)

    def retry(self) -> None:
        self.move(JobStatus.PENDING)
        self.round += 1
        self.retries_used = 0
        self.is_due, self.is_late, self.is_cancel_requested = True, None, False
        self.is_dispatched = self.spec.lock is None

    def dispatch(self) -> None:
        if self.status in (JobStatus.PENDING, JobStatus.FAILED) and self.is_due and not self.is_dispatched:
            self.move(JobStatus.PENDING)
            self.is_dispatched = True


@dataclass(slots=True)
class Model:
    """All jobs, what is owed, and what the audit should count."""

    jobs: dict[int, Job] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    births: dict[Parent, JobSpec] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    audits: Counter[str] = field(default_factory=Counter)

    def add(self, job_id: int, spec: JobSpec, *, key: str | None = None, parent: Parent | None = None) -> None:
        """Have a job from now on; one whose expiry has passed is DEAD, and its children are owed."""
        is_late = None if spec.expires_at is None else spec.expires_at.year < 2100
        is_due = spec.delay is None and (spec.run_at is None or spec.run_at.year < 2100)
        job = self.jobs[job_id] = Job(job_id, spec, parent, is_due, is_late, key)
        job.is_dispatched = is_due and not is_late and spec.lock is None
        if key is not None:
            self.keys[key] = job_id
        if is_late:
            self.expire(job)

    def adopt(self, rows: Iterable[Row]) -> None:
        """Learn the ids of children: each must be owed."""
        for row in rows:
            if row["id"] not in self.jobs:
                edge = Parent(row["parent_id"], row["parent_edge"], row["edge_index"], row["parent_round"])
                assert edge in self.births, f"job {row['id']} is nobody's child: {edge}"
                self.add(row["id"], self.births.pop(edge), parent=edge)

    def expire(self, job: Job) -> None:
        job.move(JobStatus.DEAD, Reason.EXPIRED)
        self.owe(job)

    def owe(self, job: Job) -> None:
        """Note the children that this job's end brings about."""
        for edge, index, spec in chain.children(job.spec, job.status):
            self.births[Parent(job.id, edge, index, job.round)] = spec

    def delete(self, job: Job) -> None:
        del self.jobs[job.id]
        self.deleted.append(job.id)
        if job.key is not None:
            del self.keys[job.key]

    def holder(self, lock: str | None) -> Job | None:
        """The job that holds this lock."""
        running = (job for job in self.jobs.values() if job.status is JobStatus.RUNNING)
        return next((job for job in running if job.spec.lock == lock), None) if lock else None

    def heads(self) -> set[int]:
        """The first waiter of each free lock that has not expired, one per queue."""
        first: dict[tuple[str, str], Job] = {}
        for job in sorted(self.jobs.values(), key=lambda job: (job.spec.lane, job.id)):
            if job.is_waiting and not job.is_expirable and job.spec.lock and self.holder(job.spec.lock) is None:
                first.setdefault((job.spec.lock, job.spec.queue), job)
        return {job.id for job in first.values()}

    def claimable(self, job_ids: Iterable[int]) -> list[Job]:
        """Those of these jobs that a claim can take now, each by itself."""
        heads = self.heads()
        found = [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]
        return [
            job
            for job in found
            if job.is_waiting and not job.is_expirable and (job.spec.lock is None or job.id in heads)
        ]

    def claim(self, worker_id: int, wanted: Sequence[tuple[int, str]]) -> set[int]:
        """Claim what can be claimed: at once, or singly where two of one lock would be claimed together."""
        ready = self.claimable(job_id for job_id, _ in wanted)
        locks = Counter(job.spec.lock for job in ready if job.spec.lock)
        if locks.total() > len(locks):
            return set().union(*(self.claim(worker_id, [pair]) for pair in wanted))
        for job in ready:
            job.claim(dict(wanted)[job.id], worker_id)
        return {job.id for job in ready}

    def in_status(self, *statuses: JobStatus) -> list[Job]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def attempt_of(self, job_id: int, claim_id: str) -> Attempt | None:
        """The attempt with this claim; None: it never was, or its job is deleted."""
        attempts = self.jobs[job_id].attempts if job_id in self.jobs else []
        return next((attempt for attempt in attempts if attempt.claim_id == claim_id), None)

    def end(self, job: Job) -> None:
        """Owe a job's children, if it has ended."""
        if job.status in TERMINAL:
            self.owe(job)
