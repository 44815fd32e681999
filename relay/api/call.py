"""What a handler gets: the request, who sent it, and the parts of Relay it may use.

Handlers hold no state and import no globals; everything reaches them through `Call`, so that tests and `relay serve`
compose the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay import errors
from relay.api import bodies
from relay.api.query import Query
from relay.model import jsontext
from relay.store import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from aiohttp import web

    from relay.api.auth import Principal, Tokens
    from relay.api.fleet import Numbers
    from relay.api.health import Looks
    from relay.api.streams import Readers
    from relay.api.submissions import Submissions
    from relay.api.watch import Watch
    from relay.config import Settings
    from relay.lease import Leases
    from relay.maintenance.state import State
    from relay.model.records import JobRef
    from relay.store.connection import Connection, Pool

MAX_ID = 2**63 - 1


class Publisher(Protocol):
    """What the API needs of `relay.bus.Publisher`."""

    @property
    def is_up(self) -> bool | None:
        """Whether Kafka took the last message."""

    def publish(self, refs: Sequence[JobRef]) -> None:
        """Hand the jobs to Kafka without waiting."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the API is made of; lives as long as the server."""

    settings: Settings
    cluster_id: UUID
    pool: Pool
    leases: Leases
    publisher: Publisher
    tokens: Tokens
    submissions: Submissions
    watch: Watch
    readers: Readers
    looks: Looks
    numbers: Numbers
    maintenance: State

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a database connection; an outage raises Unavailable."""
        return connection.connection(self.pool)


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through its handler."""

    request: web.BaseRequest
    parts: Parts
    principal: Principal
    params: Mapping[str, str]
    query_text: str

    @property
    def query(self) -> Query:
        """A fresh reader of the query string."""
        return Query.of_text(self.query_text)

    def no_query(self) -> None:
        """Refuse any query parameter."""
        if self.query_text:
            self.query.done()

    def id(self) -> int:
        """The path's id; raise NotFound for what can't be one."""
        text = self.params["id"]
        if text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) <= MAX_ID:
            return int(text)
        raise errors.NotFound(f"there is no {text[:40]!r} here: ids are whole numbers")

    async def json(self, *, limit_bytes: int | None = None) -> object:
        """Read the body as one JSON value."""
        bodies.check_media_type(self.request)
        body = await bodies.read(self.request, limit_bytes=limit_bytes or self.parts.settings.max_body_bytes)
        return jsontext.parse_json(body)

    async def json_object(self) -> dict[str, object]:
        """Read the body as a JSON object."""
        if not self.request.body_exists:
            raise errors.BadRequest("a body is needed: a JSON object, such as {}")
        value = await self.json()
        if not isinstance(value, dict):
            raise errors.BadRequest("the body must be a JSON object")
        return value
