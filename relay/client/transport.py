"""One HTTP call after another, repeated where that helps and does no harm.

A call that never reached the server, or was refused with 429 or 503, is repeated whatever it was; one whose answer was lost only
if it `is_repeatable`. Patience is short before the first answer, since the address is likely to be wrong, and long after
it, since then the API is most likely being restarted.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp

import relay
from relay import errors
from relay.client import problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.client.resolve import Endpoint

FIRST_PATIENCE_S = 2.0
PATIENCE_S = 60.0
CONNECT_S = 5.0
SILENCE_S = 60.0  # the server sends something at least every 15 s while a stream is idle
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_BUSY = frozenset({429, 503})
_GATEWAY = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `is_repeatable`: doing it twice is the same as doing it once."""

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    accept: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False
    silence_s: float = SILENCE_S


@dataclass(frozen=True, slots=True)
class _Failure:
    error: errors.RelayError
    may_repeat: bool
    pause_s: float = 0.0


class Transport:
    """A session with one API; an async context manager."""

    def __init__(
        self, endpoint: Endpoint, *, first_patience_s: float = FIRST_PATIENCE_S, patience_s: float = PATIENCE_S
    ) -> None:
        self._endpoint = endpoint
        self._patience_s = first_patience_s
        self._later_patience_s = max(first_patience_s, patience_s)
        self._session: aiohttp.ClientSession | None = None
        self._random = random.Random()  # noqa: S311 - spreads repetitions, protects nothing

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": f"relay/{relay.__version__}"}
        if self._endpoint.token:
            headers["Authorization"] = f"Bearer {self._endpoint.token}"
        self._session = aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def json(self, call: Call) -> Any:
        """The answer's JSON; None when it has no body. Raises the error that the API answered, or Unreachable."""
        response = await self._insist(call, whole=True)
        body = await response.read()
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise self._not_relay(response.status) from None

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """A success whose body is yet to be read; what goes wrong while it is read is the caller's. Raises as `json` does."""
        response = await self._insist(call, whole=False)
        try:
            yield response
        finally:
            response.close()

    async def _insist(self, call: Call, *, whole: bool) -> aiohttp.ClientResponse:
        """Send the call until it succeeds, can't, or patience is spent. `whole`: an answer counts once it is read."""
        deadline = time.monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            outcome = await self._try(call, whole=whole)
            if not isinstance(outcome, _Failure):
                return outcome
            pause_s = max(pause_s, outcome.pause_s)
            if not outcome.may_repeat or time.monotonic() + pause_s > deadline:
                raise outcome.error
            await asyncio.sleep(pause_s * self._random.uniform(0.75, 1.25))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _try(self, call: Call, *, whole: bool) -> aiohttp.ClientResponse | _Failure:
        try:
            response = await self._send(call)
            if whole and response.status < 300:
                await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return _Failure(self._unreachable(error), may_repeat=not isinstance(error, aiohttp.ClientSSLError))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _Failure(self._unreachable(error), may_repeat=call.is_repeatable)
        self._patience_s = self._later_patience_s
        return response if response.status < 300 else await self._refusal(response, call)

    async def _send(self, call: Call) -> aiohttp.ClientResponse:
        assert self._session is not None, "use the client in 'async with'"
        headers = {"Accept": call.accept, **call.headers}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        return await self._session.request(
            call.method,
            f"{self._endpoint.api}{call.path}",
            params=call.params or None,
            data=call.body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=call.silence_s),
        )

    async def _refusal(self, response: aiohttp.ClientResponse, call: Call) -> _Failure:
        try:
            body = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            body = b""
        error = problems.error_of(response.status, response.headers, body) or self._not_relay(response.status)
        may_repeat = response.status in _BUSY or (response.status in _GATEWAY and call.is_repeatable)
        return _Failure(error, may_repeat=may_repeat, pause_s=float(error.retry_after_s or 0))

    def _not_relay(self, status: int) -> errors.RelayError:
        api = self._endpoint.api
        return errors.Unreachable(f"{api} answered, but not as Relay does (HTTP {status}): check --api or RELAY_API")

    def _unreachable(self, error: Exception) -> errors.Unreachable:
        return errors.Unreachable(
            f"can't reach the API at {self._endpoint.api} ({_reason(error)}): "
            "start one ('relay dev' or 'relay serve'), or name it with --api or RELAY_API"
        )


def _reason(error: Exception) -> str:
    """Why, in a few words and without repeating the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted here"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unknown host"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "it hung up"
    text = (cause.strerror if isinstance(cause, OSError) else str(cause)) or type(cause).__name__
    return " ".join(text.split())[:120]
