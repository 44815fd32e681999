"""Every error a user can meet, in one tree.

A class's docstring is its default message. Each class knows the HTTP status and the stable `code` of its problem document
(RFC 9457), and the exit code of the command line (0 done, 1 failed, 2 usage, 3 not found, 4 not authorised, 5 conflict,
6 unreachable, 78 bad configuration). Outcomes that belong to normal work (a nonzero exit, a fenced write, a lost lease)
are values, not errors, and are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (`on_success.payload.timeout`; empty: the whole), and what."""

    path: str
    message: str


class RelayError(Exception):
    """Something went wrong in Relay."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self, detail: str | None = None, *, faults: Sequence[Fault] = (), retry_after_s: int | None = None
    ) -> None:
        """`detail` is one plain line that says what to do; without it the class's docstring stands."""
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)


class BadRequest(RelayError):
    """The request can't be read."""

    code, status, exit_code = "bad_request", 400, 2


class BadJson(BadRequest):
    """The body is not valid JSON."""

    code = "bad_json"


class InvalidSpec(RelayError):
    """The job spec is not valid."""

    code, status, exit_code = "invalid_spec", 422, 2


class IdempotencyKeyReused(RelayError):
    """This idempotency key was used for another spec: use a new key."""

    code, status, exit_code = "idempotency_key_reused", 422, 2


class Unauthorized(RelayError):
    """A valid token is needed: send 'Authorization: Bearer TOKEN' (make one with 'relay token create')."""

    code, status, exit_code = "unauthorized", 401, 4


class Forbidden(RelayError):
    """This is not allowed."""

    code, status, exit_code = "forbidden", 403, 4


class NotFound(RelayError):
    """There is no such thing."""

    code, status, exit_code = "not_found", 404, 3


class MethodNotAllowed(RelayError):
    """This method is not allowed here."""

    code, status, exit_code = "method_not_allowed", 405, 2


class Conflict(RelayError):
    """The job's state does not allow this."""

    code, status, exit_code = "conflict", 409, 5


class TooLarge(RelayError):
    """The body is too large."""

    code, status, exit_code = "too_large", 413, 2


class UnsupportedMediaType(RelayError):
    """Send JSON: 'Content-Type: application/json'."""

    code, status, exit_code = "unsupported_media_type", 415, 2


class MisdirectedRequest(RelayError):
    """This Host is not served here: add it to RELAY_ALLOWED_HOSTS."""

    code, status, exit_code = "misdirected_request", 421, 2


class TooManyRequests(RelayError):
    """Too many requests at once: try again later."""

    code, status, exit_code = "too_many_requests", 429, 1


class Unavailable(RelayError):
    """The database can't be reached: nothing was accepted, try again."""

    code, status, exit_code = "unavailable", 503, 6


class Unreachable(RelayError):
    """The API can't be reached."""

    code, status, exit_code = "unreachable", 503, 6


class BadConfig(RelayError):
    """The configuration is not valid."""

    code, status, exit_code = "bad_config", 500, 78
