"""What an attempt's end means for its job.

One pure function, so that the worker and any test agree. A lost attempt is not settled here, since nobody saw its end: the
rescue decides from the job's row (`on_worker_lost`). A start error has exit code 127 or 126, and `no_retry_codes` may name
these; `success_codes` can't make a success of it, for nothing ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.model import backoff
from relay.model.results import Ending
from relay.model.states import JobStatus, Outcome, Reason

if TYPE_CHECKING:
    import random

    from relay.model.results import Result
    from relay.model.spec import JobSpec


class Settlement(NamedTuple):
    """The job's next status and the attempt's outcome; `retry_delay_s` only with FAILED."""

    status: JobStatus
    outcome: Outcome
    reason: Reason | None = None
    retry_delay_s: float | None = None


_FAILURES = {
    Ending.EXITED: (Outcome.FAILED, Reason.EXIT),
    Ending.SIGNALED: (Outcome.FAILED, Reason.SIGNAL),
    Ending.TIMED_OUT: (Outcome.TIMED_OUT, Reason.TIMEOUT),
    Ending.START_ERROR: (Outcome.FAILED, Reason.START_ERROR),
    Ending.LIMIT: (Outcome.FAILED, Reason.LIMIT),
}


def settle(spec: JobSpec, result: Result, *, retries_used: int, rng: random.Random) -> Settlement:
    """Decide what becomes of a job whose attempt ended so, after `retries_used` retries in this round."""
    if result.ending is Ending.RELEASED:
        if spec.on_worker_lost == "fail" and _was_started(result):
            return Settlement(JobStatus.DEAD, Outcome.RELEASED, Reason.WORKER_LOST)
        return Settlement(JobStatus.PENDING, Outcome.RELEASED)
    if result.ending is Ending.CANCELLED:
        return Settlement(JobStatus.CANCELLED, Outcome.CANCELLED)
    if result.ending is Ending.EXITED and result.exit_code in spec.payload.success_codes:
        return Settlement(JobStatus.COMPLETED, Outcome.SUCCEEDED)
    outcome, reason = _FAILURES[result.ending]
    if retries_used >= spec.max_retries or _is_final(spec, result):
        return Settlement(JobStatus.DEAD, outcome, reason)
    delay_s = backoff.delay_s(spec.backoff, retry=retries_used + 1, rng=rng)
    return Settlement(JobStatus.FAILED, outcome, reason, delay_s)


def refuse() -> Settlement:
    """Decide for a job whose stored spec can't be read: DEAD at once, since a retry would read the same."""
    return Settlement(JobStatus.DEAD, Outcome.FAILED, Reason.START_ERROR)


def _was_started(result: Result) -> bool:
    """Whether a program ran: then a job that must run at most once does not run again, however its worker let go of it."""
    return result.exit_code is not None or result.signal is not None


def _is_final(spec: JobSpec, result: Result) -> bool:
    """Whether the exit code rules retries out. After a timeout or a limit the code is an answer to our signal: no say."""
    return result.ending in {Ending.EXITED, Ending.START_ERROR} and result.exit_code in spec.no_retry_codes
