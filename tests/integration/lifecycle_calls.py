"""The calls that the lifecycle machine makes: each asks the store, asks the model, and compares the answers.

A call counts what it met (`met`), so that a run can show it has been everywhere. What the store says to publish is kept
(`told`) until the tables are read: whoever makes a job claimable must say so, or it would wait for a steal.
"""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.model import settle
from relay.model.results import Ending, Result
from relay.model.spec import JobSpec
from relay.model.states import TERMINAL, JobStatus
from relay.store import claims, due, finish, jobs, locks, rescue, submit, workers
from relay.store.finish import Chunk, Finish
from tests.integration import lifecycle_specs, lifecycle_tables
from tests.integration.lifecycle import RETRIABLE, Model

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from relay.model.records import JobRef
    from relay.store.claims import Claimed
    from relay.store.connection import Connection
    from tests.integration.lifecycle import Job
    from tests.integration.lifecycle_specs import Shape
    from tests.integration.lifecycle_tables import Tables

ACTOR = "token:1"
QUEUES = ("default", "other")
STRANGER = -1  # no worker has this id


class Calls:
    """One example's calls, on empty tables."""

    def __init__(self, conn: Connection, worker_ids: Sequence[int], met: Counter[str]) -> None:
        self.conn = conn
        self.worker_ids = worker_ids
        self.met = met
        self.model = Model()
        self.claimed: list[Claimed] = []
        self.told_jobs: set[int] = set()
        self.told_locks: set[str] = set()
        self.tables: Tables
        self._heads: set[int] = set()
        self._uuids = random.Random(0)

    async def begin(self) -> None:
        """Empty the tables."""
        await self.conn.execute(lifecycle_tables.EMPTY)
        self.tables = await lifecycle_tables.read(self.conn)

    async def check(self, *, has_time_passed: bool) -> set[tuple[JobStatus, JobStatus]]:
        """Read the tables, check everything, and return the transitions since the last reading."""
        before, after = self.tables, await lifecycle_tables.read(self.conn)
        lifecycle_tables.check_invariants(after)
        changes = lifecycle_tables.check_changes(before, after)
        self.model.adopt(after.jobs.values())
        lifecycle_tables.check_model(after, self.model)
        if not has_time_passed:
            self._check_told(before)
        self.tables, self._heads = after, self.model.heads()
        self.told_jobs, self.told_locks = set(), set()
        return changes

    def _check_told(self, before: Tables) -> None:
        """Whoever became claimable was named for publishing, itself or by its lock; nobody else was."""
        for job in self.model.in_status(JobStatus.PENDING):
            old = before.jobs.get(job.id)
            is_new = old is None or (old["status"], old["dispatched"]) != ("PENDING", True)
            if job.spec.lock is None and job.is_dispatched and is_new:
                assert job.id in self.told_jobs, f"job {job.id} was dispatched, and nobody was told"
        for job_id in self.model.heads() - self._heads:
            job = self.model.jobs[job_id]
            assert job_id in self.told_jobs or job.spec.lock in self.told_locks, f"nobody was told of waiter {job_id}"
        assert all(self.model.jobs[job_id].is_waiting for job_id in self.told_jobs)

    def _tell(self, refs: Iterable[JobRef], lock_names: Iterable[str | None]) -> None:
        self.told_jobs.update(ref.id for ref in refs)
        self.told_locks.update(name for name in lock_names if name is not None)

    def new_claim_id(self) -> str:
        return str(uuid.UUID(int=self._uuids.getrandbits(128), version=4))

    async def submit(self, requests: Sequence[tuple[Shape, str | None]]) -> None:
        specs = [lifecycle_specs.spec_of(shape) for shape, _ in requests]
        new = [
            submit.NewJob(spec, spec.normalised_json(), spec.delay, key, spec.fingerprint() if key else None)
            for spec, (_, key) in zip(specs, requests, strict=True)
        ]
        answers = await submit.insert_jobs(self.conn, new, actors=[ACTOR] * len(new))
        for job, answer in zip(new, answers, strict=True):
            self._tell(answer.refs, answer.locks)
            if job.key in self.model.keys:
                first = self.model.jobs[self.model.keys[job.key]]
                is_same = first.spec == job.spec
                assert (answer.id, answer.is_replayed, answer.is_conflict) == (first.id, is_same, not is_same)
                self.met["a key replayed" if is_same else "a key reused for another spec"] += 1
            else:
                self.model.add(answer.id, job.spec, key=job.key)
                self.model.audits["job.submit"] += 1
                assert answer.status == self.model.jobs[answer.id].status

    async def claim(self, worker_id: int, job_ids: Sequence[int]) -> None:
        """Have a worker claim these jobs, whatever their states."""
        wanted = [(job_id, self.new_claim_id()) for job_id in job_ids]
        taken = await claims.claim(self.conn, worker_id, wanted)
        if worker_id == STRANGER:
            assert taken == []
            return
        self._count_refusals(job_ids)
        assert {each.job_id for each in taken} == self.model.claim(worker_id, wanted)
        for each in taken:
            job = self.model.jobs[each.job_id]
            assert (each.attempt, each.claim_id) == (len(job.attempts), dict(wanted)[job.id])
            assert (each.retries_used, each.lock) == (job.retries_used, job.spec.lock)
            assert JobSpec.from_normalised(each.spec) == job.spec
            assert (each.parent_attempt, each.parent_exit_code) == self._parent_facts(job)
        self.claimed += taken

    def _count_refusals(self, job_ids: Sequence[int]) -> None:
        for job in (self.model.jobs[job_id] for job_id in job_ids if job_id in self.model.jobs):
            if job.is_waiting and job.spec.lock and self.model.holder(job.spec.lock):
                self.met["a claim that met a held lock"] += 1
            elif job.is_waiting and not job.is_expirable and job.spec.lock and job.id not in self.model.heads():
                self.met["a claim that met an earlier waiter"] += 1
            if job.is_waiting and job.is_expirable:
                self.met["a claim of a job past its expiry"] += 1
        ready = [job.spec.lock for job in self.model.claimable(job_ids) if job.spec.lock]
        self.met["two of one lock claimed at once"] += len(ready) > len(set(ready))

    def _parent_facts(self, job: Job) -> tuple[int | None, int | None]:
        parent = self.model.jobs.get(job.parent.job_id) if job.parent else None
        if parent is None or job.parent is None:
            return None, None
        numbered = [n for n, each in enumerate(parent.attempts, 1) if each.round == job.parent.round]
        return (numbered[-1], parent.attempts[numbered[-1] - 1].exit_code) if numbered else (None, None)

    def is_open(self, claim: Claimed) -> bool:
        attempt = self.model.attempt_of(claim.job_id, claim.claim_id)
        return attempt is not None and attempt.outcome is None

    async def finish(self, ends: Sequence[tuple[Claimed, Result]], *, has_output: bool = False) -> None:
        """Record results, of claims that hold or don't, in one batch."""
        batch = [self._finish(claim, result, has_output=has_output) for claim, result in ends]
        recorded = await finish.finish(self.conn, self.worker_ids[0], batch)
        self._tell(recorded.due, [answer.lock for answer in recorded.answers])
        for each, answer in zip(batch, recorded.answers, strict=True):
            attempt = self.model.attempt_of(each.job_id, each.claim_id)
            if attempt is None or (attempt.outcome and attempt.outcome != each.settlement.outcome):
                assert answer == finish.Finished(None)
                self.model.audits["attempt.fenced"] += 1
                self.met["a fenced finish"] += 1
            elif attempt.outcome:
                assert (answer.status, answer.lock) == (each.settlement.status, None)
                self.met["a finish recorded before"] += 1
            else:
                job = self.model.jobs[each.job_id]
                job.finish(each.result, each.settlement)
                attempt.output += len(each.chunks)
                self.model.end(job)
                assert (answer.status, answer.lock) == (job.status, job.spec.lock)

    def _finish(self, claim: Claimed, result: Result, *, has_output: bool) -> Finish:
        spec = JobSpec.from_normalised(claim.spec)
        job = self.model.jobs.get(claim.job_id)
        if result.ending is Ending.CANCELLED and not (job and job.is_cancel_requested):
            result = Result(Ending.RELEASED)
        return Finish(
            job_id=claim.job_id,
            attempt=claim.attempt,
            claim_id=claim.claim_id,
            result=result,
            settlement=settle.settle(spec, result, retries_used=claim.retries_used, rng=random.Random(0)),
            has_children=bool(spec.on_success or spec.on_failure),
            chunks=(self._chunk(claim),) if has_output else (),
        )

    def _chunk(self, claim: Claimed, *, is_old: bool = False) -> Chunk:
        """The attempt's next chunk, or its last one again; its data tells whose it is."""
        attempt = self.model.attempt_of(claim.job_id, claim.claim_id)
        seq = max((attempt.output if attempt else 0) + (not is_old), 1)
        return Chunk(seq, datetime.now(UTC), 1, f"{claim.claim_id} {seq}".encode())

    async def append_output(self, claim: Claimed, *, is_old: bool) -> None:
        chunk = self._chunk(claim, is_old=is_old)
        await finish.append_output(self.conn, [(claim.job_id, claim.attempt, claim.claim_id, chunk)])
        attempt = self.model.attempt_of(claim.job_id, claim.claim_id)
        if attempt and attempt.outcome is None:
            attempt.output = max(attempt.output, chunk.seq)
        else:
            self.met["output of a closed attempt"] += 1

    async def lose(self, claim: Claimed, seen: str) -> None:
        """Lose a claim: `seen` is its worker's heartbeat, an older one, or none."""
        attempt = self.model.attempt_of(claim.job_id, claim.claim_id)
        worker_id = attempt.worker_id if attempt else self.worker_ids[0]
        (hb_seq,) = [beat.hb_seq for beat in await rescue.list_heartbeats(self.conn) if beat.worker_id == worker_id]
        if seen == "beaten since":
            await workers.beat(self.conn, worker_id, running=1, is_draining=False)
        lost = await rescue.lose_attempts(
            self.conn,
            [rescue.LostClaim(claim.job_id, claim.claim_id, worker_id, None if seen == "nothing" else hb_seq)],
        )
        self._tell(lost.due, lost.freed_locks)
        holds = self.is_open(claim) and seen != "beaten since"
        assert lost.pairs == (((claim.job_id, claim.claim_id),) if holds else ())
        if holds:
            job = self.model.jobs[claim.job_id]
            job.lose()
            self.model.end(job)
        self.met["a loss refused"] += not holds

    async def cancel(self, job_id: int) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.status in (JobStatus.COMPLETED, JobStatus.DEAD):
            with pytest.raises(errors.Conflict if job else errors.NotFound):
                await jobs.cancel_job(self.conn, job_id, actor=ACTOR)
            return
        was_asked, was = job.is_cancel_requested, job.status
        changed = await jobs.cancel_job(self.conn, job_id, actor=ACTOR)
        self._tell(changed.refs, changed.locks)
        job.cancel()
        self.model.audits["job.cancel"] += was is not JobStatus.CANCELLED and not was_asked
        assert changed.job.status == job.status

    async def retry(self, job_id: int) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.status not in RETRIABLE:
            with pytest.raises(errors.Conflict if job else errors.NotFound):
                await jobs.retry_job(self.conn, job_id, actor=ACTOR)
            return
        changed = await jobs.retry_job(self.conn, job_id, actor=ACTOR)
        self._tell(changed.refs, changed.locks)
        job.retry()
        self.model.audits["job.retry"] += 1

    async def delete(self, job_id: int) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.status not in TERMINAL:
            with pytest.raises(errors.Conflict if job else errors.NotFound):
                await jobs.delete_job(self.conn, job_id, actor=ACTOR)
            return
        await jobs.delete_job(self.conn, job_id, actor=ACTOR)
        self.model.delete(job)
        self.model.audits["job.delete"] += 1

    async def dispatch(self) -> None:
        found = await due.dispatch_due(self.conn)
        self._tell(found.refs, found.locks)
        for job in self.model.in_status(JobStatus.PENDING, JobStatus.FAILED):
            job.dispatch()

    async def expire(self) -> None:
        found = await due.expire_due(self.conn)
        self._tell(found.refs, found.locks)
        late = [job for job in self.model.jobs.values() if job.is_expirable]
        assert sorted(found.jobs) == sorted(job.id for job in late)
        for job in late:
            self.model.expire(job)

    async def make_due(self, job: Job) -> None:
        await self.conn.execute("UPDATE jobs SET run_at = clock_timestamp() - interval '1 s' WHERE id = $1", job.id)
        job.is_due = True

    async def make_late(self, job: Job) -> None:
        await self.conn.execute("UPDATE jobs SET expires_at = clock_timestamp() WHERE id = $1", job.id)
        job.is_late = True

    async def look(self) -> None:
        """Ask who could be claimed: the heads of all locks, and what a steal would find."""
        heads = {ref.id for ref in await locks.heads(self.conn, ["a", "b", "no such lock"])}
        assert heads == self.model.heads()
        for steal, expected in (
            (claims.steal_locked_jobs, heads),
            (claims.steal_jobs, {job.id for job in self.model.jobs.values() if job.is_waiting and not job.spec.lock}),
        ):
            found = await steal(self.conn, QUEUES, overdue_s=0, limit=1000, rng=random.Random(0))
            assert set(found) == expected
