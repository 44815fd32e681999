"""The checker: what must hold of a run's facts, whatever was done to Relay meanwhile. Each invariant is a function that
yields violations.

It knows nothing of the faults: what a job may suffer from them is what the contract says. A checker that can't fail proves
nothing: `test_checker` forges facts for each function, and runs Relay with its fence, its renewal and its guard removed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, TypeVar

from tests.chaos import evidence
from tests.chaos.journal import Acknowledged, CancelAcknowledged, Sent, Surprise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.chaos.evidence import Line
    from tests.chaos.facts import Attempt, Facts, Job
    from tests.chaos.journal import Order

T = TypeVar("T")

TERMINAL = frozenset({"COMPLETED", "DEAD", "CANCELLED"})
CLOCK_S = 0.05  # `date` starts a process; all clocks are those of one machine
_COMPLETES = frozenset({("COMPLETED", None)})
_LOST = ("DEAD", "worker_lost")
MEANT: Mapping[str, frozenset[tuple[str, str | None]]] = {
    "failing": frozenset({("DEAD", "exit"), _LOST}),
    "at_most_once": _COMPLETES | {_LOST},
    "cancelled": _COMPLETES | {("CANCELLED", None)},
}
"""How jobs of a kind may end; the others complete."""


def acknowledged_jobs_exist_and_end(facts: Facts) -> Iterator[str]:
    """Every acknowledged job exists, and is terminal; so is every child."""
    for entry in _of(facts, Acknowledged):
        if entry.job_id not in facts.jobs:
            yield f"job {entry.job_id} ({entry.tag}) was acknowledged and does not exist"
    for job in facts.jobs.values():
        if job.status not in TERMINAL:
            yield f"job {job.id} is still {job.status} (attempt {job.attempt})"


def jobs_end_as_meant(facts: Facts) -> Iterator[str]:
    """No fault changes how a job ends, but that a job of at most one start may be lost."""
    for order, job in _ordered(facts):
        if job.status in TERMINAL and (job.status, job.reason) not in MEANT.get(order.kind, _COMPLETES):
            yield f"job {job.id} ({order.tag}) ended {job.status} {job.reason}"
    for job in facts.jobs.values():
        if job.parent_id is not None and job.status in TERMINAL and job.status != "COMPLETED":
            yield f"child {job.id} ended {job.status} {job.reason}"


def jobs_end_once(facts: Facts) -> Iterator[str]:
    """Nothing happens to a job in a round after the attempt that ended it."""
    for job_id, attempts in facts.attempts.items():
        ends = [each.attempt for each in attempts if each.outcome in {"succeeded", "cancelled"}]
        last = attempts[-1].attempt
        if len(ends) > 1 or (ends and ends[0] != last):
            yield f"job {job_id} ended in attempts {ends}, and its last attempt is {last}"


def attempts_never_overlap(facts: Facts) -> Iterator[str]:
    """No attempt finds a process of another attempt of its job still running."""
    for line in facts.lines:
        if line.what == "overlap":
            yield f"attempt {line.attempt} of job {line.job_id} ({line.tag}) overlaps with an earlier one"


def named_locks_exclude(facts: Facts) -> Iterator[str]:
    """Of all jobs with a named lock at most one runs: by their own files, and at every look into the tables."""
    for line in facts.lines:
        if line.what == "lock_overlap":
            yield f"job {line.job_id} ({line.tag}) runs together with another of its named lock"
    for name in facts.held_twice:
        yield f"named lock {name} was held twice"


def claims_start_once(facts: Facts) -> Iterator[str]:
    """No claim starts twice, and each start has the row of its attempt."""
    rows = {(each.job_id, each.attempt): each.claim_id for attempts in facts.attempts.values() for each in attempts}
    for claim_id, count in Counter(line.claim_id for line in facts.lines if line.what == "start").items():
        if count > 1:
            yield f"claim {claim_id} started {count} times"
    for line in facts.lines:
        if line.what == "start" and rows.get((line.job_id, line.attempt)) != line.claim_id:
            yield f"attempt {line.attempt} of job {line.job_id} started with a claim that has no row"


def attempts_have_no_gaps(facts: Facts) -> Iterator[str]:
    """Attempts are 1, 2, … n, the job's own count is n, and those without a start were given back before it."""
    started = {line.claim_id for line in facts.lines if line.what in {"start", "overlap"}}
    for job in facts.jobs.values():
        attempts = facts.attempts.get(job.id, [])
        if [each.attempt for each in attempts] != list(range(1, job.attempt + 1)):
            yield f"job {job.id} counts {job.attempt} attempts and has {[each.attempt for each in attempts]}"
        for each in attempts:
            if each.claim_id not in started and each.outcome in {"succeeded", "timed_out"}:
                yield f"attempt {each.attempt} of job {job.id} is {each.outcome} and never started"


def completed_jobs_did_complete(facts: Facts) -> Iterator[str]:
    """COMPLETED: exactly one attempt succeeded, and the job itself says so, with the same exit code, before it was recorded."""
    ends = {line.claim_id: line for line in facts.lines if line.what == "end"}
    for job in facts.jobs.values():
        succeeded = [each for each in facts.attempts.get(job.id, []) if each.outcome == "succeeded"]
        if len(succeeded) != (job.status == "COMPLETED"):
            yield f"job {job.id} is {job.status} and {len(succeeded)} attempts succeeded"
        for each in facts.attempts.get(job.id, []):
            if each.outcome in {"succeeded", "failed"} and each.reason != "start_error":
                yield from _contradictions(each, ends.get(each.claim_id))


def _contradictions(attempt: Attempt, end: Line | None) -> Iterator[str]:
    name = f"attempt {attempt.attempt} of job {attempt.job_id}"
    if attempt.reason == "signal":
        return
    if end is None or end.code != attempt.exit_code:
        yield f"{name} is {attempt.outcome} ({attempt.exit_code}), and the job says {end and end.code}"
    elif attempt.finished_at is not None and end.at > attempt.finished_at.timestamp() + CLOCK_S:
        yield f"{name} was recorded before it ended"


def starts_are_bounded(facts: Facts) -> Iterator[str]:
    """Retries stay within max_retries; a job of at most one start has one, but for those that a drain gave back."""
    starts = Counter(line.job_id for line in facts.lines if line.what == "start")
    for job in facts.jobs.values():
        outcomes = Counter(each.outcome for each in facts.attempts.get(job.id, []))
        used = outcomes["failed"] + outcomes["timed_out"] + outcomes["lost"]
        if used > job.max_retries + 1:
            yield f"job {job.id} used {used} of {job.max_retries + 1} attempts"
        if job.fail_on_loss and starts[job.id] > 1 + outcomes["released"]:
            yield f"job {job.id} of at most one start started {starts[job.id]} times"


def fenced_finishes_are_noted(facts: Facts) -> Iterator[str]:
    """Each fenced finish has its audit row, and was fenced rightly: its attempt is closed in another way."""
    if facts.fenced_logged > len(facts.fenced):
        yield f"{facts.fenced_logged} finishes were fenced, and {len(facts.fenced)} audit rows say so"
    rows = {each.claim_id: each for attempts in facts.attempts.values() for each in attempts}
    for job_id, claim_id in facts.fenced:
        row = rows.get(claim_id)
        if row is None or row.outcome is None or row.outcome in {"succeeded", "failed"}:
            yield f"claim {claim_id} of job {job_id} was fenced, and its attempt is {row and row.outcome}"


def open_attempts_run(facts: Facts) -> Iterator[str]:
    """An attempt is open if and only if its job runs under its claim."""
    for job in facts.jobs.values():
        open_ = [each.claim_id for each in facts.attempts.get(job.id, []) if each.outcome is None]
        if open_ != ([job.claim_id] if job.status == "RUNNING" else []):
            yield f"job {job.id} is {job.status} and has {len(open_)} open attempts"


def chains_are_whole(facts: Facts) -> Iterator[str]:
    """One child per edge, index and round; none before its parent's end; none for the other outcome; none missing."""
    born: dict[int, list[tuple[str | None, int | None]]] = defaultdict(list)
    for job in facts.jobs.values():
        if job.parent_id is None:
            continue
        parent = facts.jobs.get(job.parent_id)
        born[job.parent_id].append((job.parent_edge, job.edge_index))
        if parent is None or parent.finished_at is None or job.created_at < parent.finished_at:
            yield f"child {job.id} was created before the end of {job.parent_id}"
    for parent in facts.jobs.values():
        edge = {"COMPLETED": "on_success", "DEAD": "on_failure"}.get(parent.status, "")
        wanted = [(edge, index) for index in range(facts.children.get(parent.id, {}).get(edge, 0))]
        if sorted(born[parent.id], key=str) != sorted(wanted, key=str):
            yield f"job {parent.id} is {parent.status} and has the children {born[parent.id]}"


def output_is_what_was_printed(facts: Facts) -> Iterator[str]:
    """Numbers are contiguous; the bytes are those printed, or their beginning when the attempt was cut short."""
    printed = {order.tag: order.lines for order in _orders(facts).values()}
    tags = {(line.job_id, line.attempt): line.tag for line in facts.lines if line.what == "start"}
    for (job_id, attempt), output in facts.output.items():
        if output.first != 1 or output.last != output.chunks:
            yield f"output of job {job_id}/{attempt} has {output.chunks} chunks from {output.first} to {output.last}"
    for job_id, attempts in facts.attempts.items():
        for each in attempts:
            tag = tags.get((job_id, each.attempt))
            whole = b"" if tag is None else evidence.printed(tag, each.attempt, printed.get(tag, 0))
            stored = facts.output.get((job_id, each.attempt))
            stdout = stored.stdout if stored is not None else b""
            is_whole = each.outcome in {"succeeded", "failed"} and each.exit_code != 99
            if stdout != whole if is_whole else not whole.startswith(stdout):
                yield f"output of job {job_id}/{each.attempt} ({each.outcome}) is not what it printed: {stdout[:80]!r}"


def nothing_is_left_running(facts: Facts) -> Iterator[str]:
    """No process carries a claim that is over; no worker has zombies."""
    running = {job.claim_id for job in facts.jobs.values() if job.status == "RUNNING"}
    for pid, claim_id in facts.carriers.items():
        if claim_id not in running:
            yield f"process {pid} still carries claim {claim_id}"
    for pid in facts.zombies:
        yield f"process {pid} is a zombie below a worker"


def locks_end(facts: Facts) -> Iterator[str]:
    """No lock in Redis is without an end, and none outlives its job's claim (the run has been quiet for a TTL)."""
    for lock in facts.locks:
        if lock.ttl_ms < 0:
            yield f"the lock of job {lock.job_id} has no TTL"
        if facts.jobs[lock.job_id].claim_id != lock.claim_id:
            yield f"the lock of job {lock.job_id} is held by {lock.claim_id}, which does not run"


def keys_accept_once(facts: Facts) -> Iterator[str]:
    """One job per idempotency key, the one that was acknowledged, each time."""
    acknowledged: dict[str, set[int]] = defaultdict(set)
    for entry in _of(facts, Acknowledged):
        acknowledged[entry.tag].add(entry.job_id)
    for tag, ids in acknowledged.items():
        if ids != {facts.keys.get(tag)}:
            yield f"key {tag} was acknowledged as {sorted(ids)} and is job {facts.keys.get(tag)}"
    roots = sum(job.parent_id is None for job in facts.jobs.values())
    if roots != len(facts.keys):
        yield f"{len(facts.keys)} keys and {roots} jobs"


def nothing_starts_too_early_or_too_late(facts: Facts) -> Iterator[str]:
    """No claim after an acknowledged cancellation, and none before a job is due."""
    for entry in _of(facts, CancelAcknowledged):
        for each in facts.attempts.get(entry.job_id, []):
            if each.started_at.timestamp() > entry.at + CLOCK_S:
                yield f"job {entry.job_id} was claimed after its cancellation was acknowledged ({entry.status})"
    for order, job in _ordered(facts):
        first = next(iter(facts.attempts.get(job.id, [])), None)
        is_delayed = order.kind in {"delayed", "cancelled"}
        if is_delayed and first is not None and (first.started_at - job.created_at).total_seconds() < 1 - CLOCK_S:
            yield f"job {job.id} was claimed before it was due"


def answers_are_expected(facts: Facts) -> Iterator[str]:
    """No answer but an acknowledgement or 503 with Retry-After; no traceback; no secret in a log."""
    for entry in _of(facts, Surprise):
        yield f"{entry.tag} was answered {entry.status}: {entry.body}"
    yield from (f"secret: {leak}" for leak in facts.leaks)
    yield from (f"traceback in {line}" for line in facts.tracebacks)


def kafka_is_read_to_its_end(facts: Facts) -> Iterator[str]:
    """No message waits for workers that have nothing to do."""
    if facts.lag != 0:
        yield f"{facts.lag} messages in Kafka are not done" if facts.lag > 0 else "Kafka does not answer"


INVARIANTS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    acknowledged_jobs_exist_and_end,
    jobs_end_as_meant,
    jobs_end_once,
    attempts_never_overlap,
    named_locks_exclude,
    claims_start_once,
    attempts_have_no_gaps,
    completed_jobs_did_complete,
    starts_are_bounded,
    fenced_finishes_are_noted,
    open_attempts_run,
    chains_are_whole,
    output_is_what_was_printed,
    nothing_is_left_running,
    locks_end,
    keys_accept_once,
    nothing_starts_too_early_or_too_late,
    answers_are_expected,
    kafka_is_read_to_its_end,
)


def check(facts: Facts) -> dict[str, list[str]]:
    """All violations by invariant; empty: everything held."""
    found = {invariant.__name__: list(invariant(facts)) for invariant in INVARIANTS}
    return {name: violations for name, violations in found.items() if violations}


def _of(facts: Facts, kind: type[T]) -> Iterator[T]:
    return (entry for entry in facts.entries if isinstance(entry, kind))


def _orders(facts: Facts) -> dict[str, Order]:
    return {entry.order.tag: entry.order for entry in _of(facts, Sent)}


def _ordered(facts: Facts) -> Iterator[tuple[Order, Job]]:
    """Each order whose job is known, with it."""
    for tag, order in _orders(facts).items():
        job = facts.jobs.get(facts.keys.get(tag, 0))
        if job is not None:
            yield order, job
