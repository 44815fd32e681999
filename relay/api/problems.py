"""Errors as RFC 9457 problem documents.

Every refusal, whoever raises it, leaves as `application/problem+json` with a stable `code`; validation faults are listed
with their paths. What a client did wrong is told in full; what went wrong inside is logged with an id and told as a 500
that names the id and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web
from pydantic_core import to_json

from relay import errors, log
from relay.api import answers, routing

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = log.get(__name__)

CONTENT_TYPE = "application/problem+json"


def document(error: errors.RelayError) -> dict[str, object]:
    """Return the error as RFC 9457 members, with `errors` where single faults are known."""
    members: dict[str, object] = {
        "type": f"urn:relay:problem:{error.code}",
        "title": (type(error).__doc__ or "").strip().splitlines()[0],
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.faults:
        members["errors"] = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    return members


def answer(error: errors.RelayError) -> web.Response:
    """Return the response for an error that has a status of its own."""
    body = to_json(document(error), inf_nan_mode="null")
    response = web.Response(status=error.status, body=body, headers=_headers(error))
    if error.status in {413, 421} or (error.status == 400 and error.code == "slow_body"):
        response.force_close()  # a body that was not read would be taken for the next request
    return response


def answer_unexpected(error: Exception, *, method: str, path: str) -> web.Response:
    """Log an error that nobody foresaw, under an id that the client gets too."""
    incident = uuid4().hex[:12]
    _log.error("request.crashed", incident=incident, method=method, path=path, exc_info=error)
    return answer(errors.RelayError(f"something went wrong inside Relay; its log tells more under incident {incident}"))


def _headers(error: errors.RelayError) -> Mapping[str, str]:
    headers = {**answers.HEADERS, "Content-Type": CONTENT_TYPE}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="relay"'
    if isinstance(error, routing.MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    retry_after_s = error.retry_after_s or (1 if error.status in {429, 503} else None)
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return headers
