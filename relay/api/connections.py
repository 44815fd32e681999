"""The listening side: connections with deadlines of their own, and problem documents for what is not even HTTP.

aiohttp closes an idle connection, but has no deadline for a request's head: a client that sends one header line a minute holds a
connection for ever (its keep-alive timer only fires between requests). So a sweep closes every connection that has not
brought a whole head for `HEAD_DEADLINE_S` since it opened or since its last answer; while a request is handled the
handler's own deadlines count. Header floods end at aiohttp's limits (8 KiB a line, 128 headers) with a 400.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from aiohttp import http_exceptions, web

from relay import errors
from relay.api import problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEAD_DEADLINE_S = 30.0
MAX_CONNECTIONS = 4096
SWEEP_S = 1.0
_silent = logging.getLogger(
    "relay.http"
)  # aiohttp logs every broken request with a traceback: a scanner fills the disk
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("quiet_since",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the wait for the first request's head."""
        self.quiet_since: float = asyncio.get_running_loop().time()
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses by itself (a malformed head, a header too long) in Relay's way."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status == 400 or isinstance(exc, http_exceptions.HttpProcessingError):
            first_line = (message or "").strip().splitlines()[:1]
            response = problems.answer(
                errors.BadRequest(f"this is not valid HTTP: {''.join(first_line) or 'bad request'}")
            )
        else:
            cause = exc if isinstance(exc, Exception) else RuntimeError(f"aiohttp answered {status}")
            response = problems.answer_unexpected(cause, method=request.method, path=request.path)
        response.force_close()
        return response


class Server(web.Server):
    """The connections, their common handler, and the sweep over them."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler)

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection (asyncio calls this)."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=75.0,
            access_log=None,  # type: ignore[arg-type]  # None means none
            logger=_silent,
            auto_decompress=False,
            lingering_time=2.0,
        )

    async def sweep(self) -> None:
        """Close the connections past their deadline, and the newest ones past the limit, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            oldest = loop.time() - HEAD_DEADLINE_S
            connections = self.connections
            late = [one for one in connections if isinstance(one, Connection) and one.quiet_since < oldest]
            for connection in late + connections[MAX_CONNECTIONS:]:
                connection.force_close()


def busy(request: web.BaseRequest) -> None:
    """Stop the clock of a request's connection: its handler has deadlines of its own."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.quiet_since = math.inf


def quiet(request: web.BaseRequest) -> None:
    """Start the clock again: the next head is awaited from now on."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.quiet_since = asyncio.get_running_loop().time()
