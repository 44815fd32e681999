"""A job's output over HTTP, as a program reads it: bytes, records, or events as they come."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from relay.client import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.stack import Cluster

TEXT, RECORDS, EVENTS = "text/plain", "application/json", "text/event-stream"


class Event(NamedTuple):
    """One server-sent event."""

    kind: str
    data: Any
    id: str


async def read(relay: Cluster, job_id: int, query: str = "", *, accept: str = TEXT) -> bytes:
    """The body of an answer."""
    async with _asked(relay, job_id, query, {"Accept": accept}) as answer:
        return await answer.read()


async def read_records(relay: Cluster, job_id: int) -> list[Any]:
    """The records of the last attempt."""
    return list(json.loads(await read(relay, job_id, accept=RECORDS))["items"])


@contextlib.asynccontextmanager
async def following(
    relay: Cluster, job_id: int, query: str = "follow=true", *, last_id: str | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    """The job's events as they come. Leaving the block cuts the line."""
    headers = {"Accept": EVENTS} | ({} if last_id is None else {"Last-Event-ID": last_id})
    async with _asked(relay, job_id, query, headers) as answer:
        assert answer.content_type == EVENTS
        async with contextlib.aclosing(_events(answer)) as events:  # type: ignore[type-var]
            yield events


def bytes_of(record: Mapping[str, str]) -> bytes:
    """What a record holds."""
    return base64.b64decode(record["base64"]) if "base64" in record else record["text"].encode()


@contextlib.asynccontextmanager
async def _asked(
    relay: Cluster, job_id: int, query: str, headers: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    given = {"Authorization": f"Bearer {relay.token}", **headers}
    async with (
        aiohttp.ClientSession(headers=given) as session,
        session.get(f"{relay.api}/v1/jobs/{job_id}/logs?{query}") as answer,
    ):
        assert answer.status == 200, await answer.text()
        yield answer


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    async for kind, data, id_ in follow.events(answer.content.iter_any()):
        yield Event(kind, json.loads(data), id_)
