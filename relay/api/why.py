"""GET /v1/jobs/{id}/why: one true sentence, and the facts it is made of.

The sentence names what the job waits for, in the order in which that would hold it up: its time, its lock, a worker that listens,
a free slot, the way there. For an ended job it says how it ended. Pure but for the one read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay import errors
from relay.api import answers
from relay.model import durations
from relay.model.states import JobStatus, Reason
from relay.model.times import format_time
from relay.store import why

if TYPE_CHECKING:
    from datetime import datetime

    from aiohttp import web

    from relay.api.call import Call
    from relay.store.why import Circumstances


async def explain_job(call: Call) -> web.Response:
    """Answer why a job is where it is."""
    call.no_query()
    job_id = call.id()
    async with call.parts.connection() as conn:
        facts = await why.get_circumstances(conn, job_id)
    if facts is None:
        raise errors.NotFound(f"there is no job {job_id}")
    is_kafka_up = call.parts.publisher.is_up is not False
    return answers.as_json({"reason": sentence(facts, is_kafka_up=is_kafka_up), **members(facts)})


def sentence(facts: Circumstances, *, is_kafka_up: bool) -> str:
    """Say why the job is where it is."""
    match facts.status:
        case JobStatus.PENDING:
            return _pending(facts, is_kafka_up=is_kafka_up)
        case JobStatus.FAILED:
            return _failed(facts)
        case JobStatus.RUNNING:
            return _running(facts)
        case JobStatus.COMPLETED:
            return f"It completed at {_at(facts.finished_at)}, in attempt {facts.attempt}."
        case JobStatus.CANCELLED:
            return f"It was cancelled at {_at(facts.finished_at)}."
        case JobStatus.DEAD:
            return _dead(facts)


def _pending(facts: Circumstances, *, is_kafka_up: bool) -> str:
    if facts.expires_at is not None and facts.expires_at <= facts.now and facts.attempt == 0:
        return f"It expired: it had not started by {_at(facts.expires_at)}, and is about to be DEAD."
    if facts.run_at > facts.now:
        return f"It is due at {_at(facts.run_at)}, in {_left(facts, facts.run_at)}."
    if facts.holder_id is not None:
        since = f" since {_at(facts.holder_started_at)}" if facts.holder_started_at else ""
        return f"It waits for the lock {facts.lock!r}, which job {facts.holder_id} holds{since}."
    return _queueing(facts, is_kafka_up=is_kafka_up)


def _queueing(facts: Circumstances, *, is_kafka_up: bool) -> str:
    """Say what a job that may run waits for."""
    if facts.listening == 0:
        return f"No worker listens to the queue '{facts.queue}': start one with 'relay work --queue {facts.queue}'."
    if facts.lock is not None and facts.ahead_for_lock:
        return f"It waits for the lock {facts.lock!r}, and {_jobs(facts.ahead_for_lock)} before it."
    if facts.running >= facts.slots:
        ahead = f", and {_jobs(facts.ahead)} before it" if facts.ahead else ""
        return f"All {facts.slots} slots of the queue '{facts.queue}' are busy{ahead}."
    if not is_kafka_up:
        return "Kafka can't be reached, so a worker with a free slot will fetch it from the database within seconds."
    if facts.ahead:
        return f"It is on its way to a worker, and {_jobs(facts.ahead)} before it."
    return f"It has been due since {_at(facts.run_at)} and is on its way to a worker with a free slot."


def _failed(facts: Circumstances) -> str:
    retry = f"retry {facts.retries_used} of {facts.max_retries}"
    when = f"follows in {_left(facts, facts.run_at)}" if facts.run_at > facts.now else "is due now"
    return f"Attempt {facts.attempt} failed ({_ending(facts)}); {retry} {when}."


def _running(facts: Circumstances) -> str:
    where = f"worker {facts.worker_id}" + (f" on {facts.worker_host}" if facts.worker_host else "")
    if facts.is_worker_silent:
        seen = f", silent since {_at(facts.worker_seen_at)}" if facts.worker_seen_at else ""
        return f"Its {where} is lost{seen}: the job will be rescued once that is certain."
    if facts.cancel_requested_at is not None:
        return f"It is being cancelled since {_at(facts.cancel_requested_at)}: {where} is stopping its processes."
    return f"It runs on {where} since {_at(facts.attempt_started_at)}, attempt {facts.attempt}."


def _dead(facts: Circumstances) -> str:
    at = _at(facts.finished_at)
    if facts.reason is Reason.EXPIRED:
        return f"It expired: it had not started by {_at(facts.expires_at)}."
    if facts.reason is Reason.WORKER_LOST:
        return f"It is dead since {at}: its worker was lost in attempt {facts.attempt}, and it may not start again."
    used_up = facts.retries_used >= facts.max_retries
    why_last = f"after {facts.retries_used} of {facts.max_retries} retries" if used_up else "and this is not retried"
    return f"It is dead since {at}: attempt {facts.attempt} failed ({_ending(facts)}), {why_last}."


def _ending(facts: Circumstances) -> str:
    """Say how the last attempt ended, in a few words."""
    match facts.reason:
        case Reason.EXIT:
            return f"exit code {facts.exit_code}"
        case Reason.SIGNAL:
            return f"killed by {facts.signal}"
        case Reason.TIMEOUT:
            return "its time was up"
        case Reason.LIMIT:
            return f"it broke its limit on {facts.broken_limit}"
        case Reason.START_ERROR:
            return f"it could not start: {facts.error}"
        case _:
            return str(facts.reason or "unknown")


def members(facts: Circumstances) -> dict[str, object]:
    """Return the facts as JSON members; those that don't apply are null."""
    return {
        "status": facts.status,
        "queue": facts.queue,
        "attempt": facts.attempt,
        "run_at": format_time(facts.run_at),
        "retries_used": facts.retries_used,
        "max_retries": facts.max_retries,
        "worker": facts.worker_id,
        "worker_seen_at": None if facts.worker_seen_at is None else format_time(facts.worker_seen_at),
        "cancel_requested_at": None if facts.cancel_requested_at is None else format_time(facts.cancel_requested_at),
        "lock": facts.lock,
        "lock_held_by": facts.holder_id,
        "jobs_ahead": facts.ahead_for_lock if facts.lock is not None else facts.ahead,
        "workers_listening": facts.listening,
        "slots": facts.slots,
        "slots_busy": facts.running,
    }


def _jobs(count: int) -> str:
    told = f"{count}{'+' if count >= 10_000 else ''}"
    return f"{told} job waits" if count == 1 else f"{told} jobs wait"


def _left(facts: Circumstances, moment: datetime) -> str:
    return durations.format_duration(max(1, round((moment - facts.now).total_seconds())))


def _at(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else format_time(moment)[:19] + "Z"
