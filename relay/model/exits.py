"""The exit code of `relay run` and `relay wait`: as if the job's command had been run right here.

Where the job ended by other means than its command, the codes are those that shells and `timeout(1)` use; 125 is Relay's
own failure, as with `docker run` and `timeout`. Works on the API's JSON, since the command line knows nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.model.results import signal_number
from relay.model.states import JobStatus, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

CANCELLED = 130
TIMED_OUT = 124
LIMIT = 137
RELAY_FAILED = 125
NOT_EXECUTABLE = 126


def exit_code_of(job: Mapping[str, Any]) -> int:
    """Return the exit code for a job as `GET /v1/jobs/{id}` answers it; 125 for one that has not ended."""
    status, reason = job["status"], job.get("reason")
    if status == JobStatus.COMPLETED:
        return 0
    if status == JobStatus.CANCELLED:
        return CANCELLED
    if reason == Reason.TIMEOUT:
        return TIMED_OUT
    if reason == Reason.LIMIT:
        return LIMIT
    if reason in {Reason.EXIT, Reason.SIGNAL, Reason.START_ERROR}:
        return _of_attempt(_last_attempt(job, reason), reason)
    return RELAY_FAILED


def _last_attempt(job: Mapping[str, Any], reason: str) -> Mapping[str, Any]:
    """Find the attempt that gave the job its reason; a released one after it says nothing."""
    attempts = [attempt for attempt in job.get("attempts") or () if attempt.get("reason") == reason]
    return attempts[-1] if attempts else {}


def _of_attempt(attempt: Mapping[str, Any], reason: str) -> int:
    if reason == Reason.SIGNAL:
        number = signal_number(attempt.get("signal") or "")
        return 128 + number if number and number < 128 else 1
    if reason == Reason.START_ERROR:
        return attempt.get("exit_code") or NOT_EXECUTABLE
    return attempt.get("exit_code") or 1
