"""Long answers: raw bytes and server-sent events, to readers that may be slow, stalled or gone.

A reader gets as far behind as the socket's buffers and one chunk, never more: a write that can't be placed for `WRITE_S` ends the
connection. Readers of events are counted, because each holds a connection open: past `MAX_READERS` there is 429. An idle
stream carries a comment now and then, so that a reader that has gone is noticed and proxies keep the line open. When the
server goes away, or the database, streams end with a hint when to come back; `Last-Event-ID` then resumes them.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import to_json

from relay import errors, log
from relay.api import answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MAX_READERS = 512
WRITE_S = 10.0
IDLE_S = 15.0
RETRY_MS = 1000
_FLUSH_BYTES = 64 * 1024
_log = log.get(__name__)


class Readers:
    """Counts the readers of events."""

    def __init__(self, limit: int = MAX_READERS) -> None:
        self._limit = limit
        self.count = 0

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Hold a reader's place; raise TooManyRequests when there is none."""
        if self.count >= self._limit:
            raise errors.TooManyRequests(f"{self._limit} streams are being read already", retry_after_s=5)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Stream:
    """A response written piece by piece. Raises ConnectionError once its reader is gone or hopelessly slow."""

    def __init__(self, request: web.BaseRequest, *, content_type: str) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={**answers.HEADERS, "Content-Type": content_type})

    async def open(self) -> None:
        """Send the head."""
        await self.response.prepare(self._request)

    def check_line(self) -> None:
        """Raise ConnectionError if the reader has gone: without a write nothing else would tell."""
        if is_gone(self._request):
            raise ConnectionResetError("the reader has gone")

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the reader is slow, but not for ever."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self.response.write(data)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError(f"the reader took nothing for {WRITE_S:.0f} s") from None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Send head and end around the block. An error within cuts the line, so that a part isn't taken for the whole."""
        await self.open()
        try:
            yield
        except Exception as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            if isinstance(error, ConnectionError | errors.Unavailable):
                raise ConnectionResetError(str(error)) from error
            _log.error("stream.crashed", path=self._request.path, exc_info=error)
            raise ConnectionResetError("the stream broke off") from error
        await self.response.write_eof()


class Events(Stream):
    """A stream of server-sent events."""

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__(request, content_type="text/event-stream; charset=utf-8")
        self.response.headers["X-Accel-Buffering"] = "no"
        self._pending = bytearray()

    async def send(self, event: str, data: object, *, event_id: str | None = None) -> None:
        """Queue one event; it is sent with the next flush, or at once when enough has gathered."""
        head = f"id: {event_id}\nevent: {event}\ndata: " if event_id else f"event: {event}\ndata: "
        self._pending += head.encode() + to_json(data, inf_nan_mode="null") + b"\n\n"
        if len(self._pending) >= _FLUSH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send what is queued."""
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            await self.write(data)

    async def keep_alive(self) -> None:
        """Send a comment: proves the line."""
        await self.write(b": still here\n\n")

    async def say_come_back(self) -> None:
        """Tell the reader to connect again soon, from where it stood."""
        await self.flush()
        await self.write(f"retry: {RETRY_MS}\n: come back\n\n".encode())


def is_gone(request: web.BaseRequest) -> bool:
    """Say whether the client has hung up."""
    return request.transport is None or request.transport.is_closing()


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event; False when the time is up first. Clears it."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
