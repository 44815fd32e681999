"""Read a request's body within bounds of size and time.

aiohttp has no deadline for a body, and its own decompression would inflate a chunk before anyone counts it; so bodies are
read here: counted as they come, inflated piece by piece with a limit on what comes out, given up after a deadline. A body
that has already arrived whole, as nearly all do, costs no timer.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from relay import errors

if TYPE_CHECKING:
    from aiohttp import web

DEADLINE_S = 30.0
JSON_TYPES = frozenset({"application/json"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class SlowBody(errors.BadRequest):
    """The body did not arrive in time."""

    code = "slow_body"


def media_type(request: web.BaseRequest) -> str:
    """Return the Content-Type without its parameters, lower case; empty when there is none."""
    value = request.headers.get("Content-Type", "")
    return value if value == "application/json" else value.partition(";")[0].strip().lower()


def check_media_type(request: web.BaseRequest, *, allowed: frozenset[str] = JSON_TYPES) -> None:
    """Raise UnsupportedMediaType unless the body is of an allowed type."""
    if media_type(request) not in allowed:
        raise errors.UnsupportedMediaType(f"send one of: {', '.join(sorted(allowed))} (as Content-Type)")


async def read(request: web.BaseRequest, *, limit_bytes: int) -> bytes:
    """Return the body, inflated if it came compressed.

    Raises TooLarge past `limit_bytes` (of the inflated body too), SlowBody past the deadline, UnsupportedMediaType for an
    encoding other than gzip, BadRequest for a broken one.
    """
    _check_length(request, limit_bytes)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise errors.UnsupportedMediaType(f"Content-Encoding {encoding!r} is not understood: send gzip or none")
    content = request.content
    if content.is_eof():
        body = content.read_nowait(-1)
    else:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = await _read_slowly(request, limit_bytes)
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body if encoding == "identity" else _inflate(body, limit_bytes)


def _check_length(request: web.BaseRequest, limit_bytes: int) -> None:
    length = request.headers.get("Content-Length")
    if length is not None and int(length) > limit_bytes:
        raise _too_large(limit_bytes)


async def _read_slowly(request: web.BaseRequest, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(DEADLINE_S):
            while part := await request.content.readany():
                parts.append(part)
                size += len(part)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
    except TimeoutError:
        raise SlowBody(f"the body did not arrive within {DEADLINE_S:.0f} s") from None
    return b"".join(parts)


def _inflate(body: bytes, limit_bytes: int) -> bytes:
    """Inflate gzip, never past one byte more than is allowed."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise errors.BadRequest(f"the gzip body is broken: {error}") from error
    if len(inflated) > limit_bytes:
        raise _too_large(limit_bytes)
    if not inflater.eof or inflater.unused_data:
        raise errors.BadRequest("the gzip body is broken: it ends early, or something follows it")
    return inflated


def _too_large(limit_bytes: int) -> errors.TooLarge:
    return errors.TooLarge(f"the body is larger than {limit_bytes} bytes (RELAY_MAX_BODY)")
