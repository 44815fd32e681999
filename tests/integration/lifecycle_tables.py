"""What the tables hold, and what must be true of them after every step.

Three kinds of check: the invariants that can be seen in the tables alone, the changes between two readings (each one legal),
and the agreement with the model. The first two don't know the model, so a mistake there can't hide one in the store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from relay.model.states import JobStatus, is_legal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.connection import Connection, Record
    from tests.integration.lifecycle import Job, Model

Row: TypeAlias = "Record"

JOBS = """
SELECT jobs.*, jobs.claim_id::text AS claim, jobs.run_at <= clock_timestamp() AS is_due,
       jobs.expires_at <= clock_timestamp() AS is_late, jobs.cancel_requested_at IS NOT NULL AS is_cancel_requested
  FROM jobs ORDER BY jobs.id"""
ATTEMPTS = """
SELECT attempts.*, attempts.claim_id::text AS claim,
       array(SELECT convert_from(data, 'UTF8') FROM output
              WHERE output.day = attempts.output_day AND output.job_id = attempts.job_id AND output.attempt = attempts.attempt
              ORDER BY seq) AS output
  FROM attempts ORDER BY job_id, attempt"""
REST = """
SELECT (SELECT count(*) FROM job_specs) AS specs, (SELECT count(*) FROM output) AS chunks,
       array(SELECT key FROM idempotency_keys ORDER BY key) AS keys,
       array(SELECT job_id FROM idempotency_keys ORDER BY key) AS key_jobs,
       array(SELECT action FROM audit) AS audits"""
# TRUNCATE costs 50 ms for so many tables and indexes, this 1 ms.
EMPTY = """
DELETE FROM jobs; DELETE FROM job_specs; DELETE FROM attempts; DELETE FROM output; DELETE FROM idempotency_keys;
DELETE FROM named_locks; DELETE FROM audit; ALTER SEQUENCE jobs_id_seq RESTART"""


class Tables(NamedTuple):
    """One reading of all tables of a job's life."""

    jobs: dict[int, Row]
    attempts: dict[int, list[Row]]
    keys: dict[str, int]
    audits: Counter[str]
    strays: int


async def read(conn: Connection) -> Tables:
    """Read everything. `strays` are specs and chunks of output that belong to nothing."""
    jobs = {row["id"]: row for row in await conn.fetch(JOBS)}
    attempts: dict[int, list[Row]] = defaultdict(list)
    for row in await conn.fetch(ATTEMPTS):
        attempts[row["job_id"]].append(row)
    rest = await conn.fetchrow(REST)
    assert rest is not None
    owned = sum(len(row["output"]) for rows in attempts.values() for row in rows)
    strays = rest["specs"] - len(jobs) + rest["chunks"] - owned + len(attempts.keys() - jobs.keys())
    keys = dict(zip(rest["keys"], rest["key_jobs"], strict=True))
    return Tables(jobs, attempts, keys, Counter(rest["audits"]), strays)


def check_invariants(tables: Tables) -> None:
    """Check what must hold of any reading."""
    assert tables.strays == 0
    for job_id, job in tables.jobs.items():
        attempts = tables.attempts.get(job_id, [])
        check_numbers(job, attempts)
        check_outcomes(job, attempts)
        check_times(job, attempts)
    held = [job["lock"] for job in tables.jobs.values() if job["status"] == "RUNNING" and job["lock"]]
    assert len(held) == len(set(held)), "two jobs hold one lock"
    check_children(tables.jobs)
    assert set(tables.keys.values()) <= tables.jobs.keys()
    assert len(set(tables.keys.values())) == len(tables.keys)


def check_numbers(job: Row, attempts: Sequence[Row]) -> None:
    """Attempts are 1…n without gaps, of rounds that only grow; the last one is open exactly while the job runs."""
    assert [attempt["attempt"] for attempt in attempts] == list(range(1, job["attempt"] + 1))
    rounds = [attempt["round"] for attempt in attempts] + [job["round"]]
    assert rounds == sorted(rounds)
    unended = [(attempt["attempt"], attempt["claim"]) for attempt in attempts if attempt["outcome"] is None]
    assert unended == ([(job["attempt"], job["claim"])] if job["status"] == "RUNNING" else [])


def check_outcomes(job: Row, attempts: Sequence[Row]) -> None:
    """Only a COMPLETED job has succeeded, once and at last; retries are bounded; a loss that fails a job ends its round."""
    succeeded = [(each["round"], each["attempt"]) for each in attempts if each["outcome"] == "succeeded"]
    assert succeeded == ([(job["round"], job["attempt"])] if job["status"] == "COMPLETED" else [])
    assert job["retries_used"] <= job["max_retries"]
    used = Counter(each["round"] for each in attempts if each["outcome"] not in (None, "released", "cancelled"))
    assert all(number <= job["max_retries"] + 1 for number in used.values())
    if job["fail_on_loss"]:
        lasts = {each["round"]: each["attempt"] for each in attempts}
        assert all(each["attempt"] == lasts[each["round"]] for each in attempts if each["outcome"] == "lost")


def check_times(job: Row, attempts: Sequence[Row]) -> None:
    """Nothing starts before run_at, after an acknowledged cancel, or after the job's end."""
    for attempt in attempts:
        if attempt["outcome"] is None:
            assert attempt["started_at"] >= job["run_at"], "started before run_at"
        for end in (job["cancel_requested_at"], job["finished_at"]):
            assert end is None or attempt["started_at"] <= end, "started after the end, or after a cancel"


def check_children(jobs: Mapping[int, Row]) -> None:
    """One child per edge and round, none before its parent's end, none for the other outcome."""
    edges: Counter[tuple[object, ...]] = Counter()
    for child in jobs.values():
        parent = jobs.get(child["parent_id"])
        edges[child["parent_id"], child["parent_edge"], child["edge_index"], child["parent_round"]] += 1
        if parent is None:
            continue
        if child["parent_round"] == parent["round"]:
            assert parent["status"] == {"on_success": "COMPLETED", "on_failure": "DEAD"}[child["parent_edge"]]
            assert child["created_at"] >= parent["finished_at"]
        else:
            assert child["parent_round"] < parent["round"], "a child of a round that has not begun"
            assert child["parent_edge"] == "on_failure", "a COMPLETED job went round again"
    assert all(count == 1 for (parent_id, *_), count in edges.items() if parent_id is not None)


def check_changes(before: Tables, after: Tables) -> set[tuple[JobStatus, JobStatus]]:
    """Check each job's change between two readings, one step apart; return the transitions."""
    seen = set()
    for job_id in before.jobs.keys() & after.jobs.keys():
        old, new = before.jobs[job_id], after.jobs[job_id]
        if old["status"] != new["status"]:
            change = JobStatus(old["status"]), JobStatus(new["status"])
            assert is_legal(*change), f"job {job_id} went {old['status']} -> {new['status']}"
            seen.add(change)
        is_claimed = old["status"] == "PENDING" and new["status"] == "RUNNING"
        assert new["attempt"] - old["attempt"] == is_claimed
        is_new_round = old["status"] in ("FAILED", "DEAD", "CANCELLED") and new["status"] == "PENDING"
        assert new["round"] - old["round"] in ((0, 1) if is_new_round else (0,))
        assert old["status"] != "COMPLETED" or old == new, "a COMPLETED job changed"
    return seen


def check_model(tables: Tables, model: Model) -> None:
    """Check that the tables hold what the model expects, neither more nor less."""
    assert not model.births, f"children are missing: {model.births}"
    assert tables.jobs.keys() == model.jobs.keys()
    assert tables.keys == model.keys
    assert tables.audits == model.audits
    for job in model.jobs.values():
        row = tables.jobs[job.id]
        assert {name: row[name] for name in expected(job)} == expected(job), f"job {job.id}"
        assert [
            (each["claim"], each["worker_id"], each["round"], each["outcome"], each["reason"], each["exit_code"])
            for each in tables.attempts.get(job.id, [])
        ] == [
            (each.claim_id, each.worker_id, each.round, each.outcome, each.reason, each.exit_code)
            for each in job.attempts
        ]
        assert [each["output"] for each in tables.attempts.get(job.id, [])] == [
            [f"{each.claim_id} {seq}" for seq in range(1, each.output + 1)] for each in job.attempts
        ]


def expected(job: Job) -> dict[str, object]:
    """The columns that the model knows."""
    return {
        "status": job.status,
        "reason": job.reason,
        "attempt": len(job.attempts),
        "round": job.round,
        "retries_used": job.retries_used,
        "max_retries": job.spec.max_retries,
        "dispatched": job.is_dispatched,
        "is_due": job.is_due,
        "is_late": job.is_late,
        "is_cancel_requested": job.is_cancel_requested,
        "claim": job.attempts[-1].claim_id if job.status == JobStatus.RUNNING else None,
        "lock": job.spec.lock,
        "queue": job.spec.queue,
        "lane": job.spec.lane,
    }
