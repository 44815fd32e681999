"""The shapes of answers: JSON bodies, and the headers that every answer carries.

Serialised by pydantic's Rust core in one call, with times as RFC 3339 UTC. The headers say that nothing here is a page to
be framed, guessed at or kept: `/docs` alone loosens the policy for its own style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "relay",
}
JSON_HEADERS: Mapping[str, str] = {**HEADERS, "Content-Type": "application/json"}


def as_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a JSON document."""
    merged = {**JSON_HEADERS, **headers} if headers else JSON_HEADERS
    return web.Response(status=status, body=to_json(value, inf_nan_mode="null"), headers=merged)


def raw_json(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a JSON document that is serialised already."""
    merged = {**JSON_HEADERS, **headers} if headers else JSON_HEADERS
    return web.Response(status=status, body=body, headers=merged)


def nothing() -> web.Response:
    """Answer 204."""
    return web.Response(status=204, headers=HEADERS)
