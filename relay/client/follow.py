"""Read a job's output over server-sent events: across cuts, restarts of the API and retries of the job.

The id of an event is `attempt:seq`. After a cut the stream is asked for again with the last id that was handed on, and what
comes twice all the same is dropped, so a reader sees each record once and in order.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple, cast

import aiohttp

from relay.client.transport import Call, Transport
from relay.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.client.types import Filters, Record

_LONGEST_EVENT_BYTES = 64 << 20
_PAUSE_S = 0.5


class Event(NamedTuple):
    """One server-sent event; `id` is empty where the server gave none."""

    kind: str
    data: str
    id: str


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Cut a stream of bytes into events; a last one that is not complete is dropped, and will come again."""
    buffer = bytearray()
    fields: dict[str, list[str]] = {}
    async for chunk in chunks:
        buffer += chunk
        *lines, rest = bytes(buffer).split(b"\n") if b"\n" in chunk else [bytes(buffer)]
        if len(rest) > _LONGEST_EVENT_BYTES:
            raise Unreachable("the API sent an event without an end")
        if lines:
            buffer = bytearray(rest)
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", errors="replace")
            if text:
                name, _, value = text.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            elif fields:
                if "data" in fields:
                    yield Event(
                        (fields.get("event") or ["message"])[-1],
                        "\n".join(fields["data"]),
                        (fields.get("id") or [""])[-1],
                    )
                fields = {}


async def records(
    transport: Transport, path: str, *, params: Filters, after: tuple[int, int] | None
) -> AsyncIterator[Record]:
    """Yield records until the server says that the end is reached: those that come after `after` (attempt, seq).

    None: from where the server begins by itself, which is the last attempt, or the tail that `params` asks for.
    """
    last = after
    while True:
        headers = {} if last is None else {"Last-Event-ID": f"{last[0]}:{last[1]}"}
        call = Call("GET", path, params=params, accept="text/event-stream", headers=headers, is_repeatable=True)
        async with transport.open(call) as response:
            try:
                async for event in events(response.content.iter_any()):
                    if event.kind == "end":
                        return
                    record = _record(event)
                    if record is None:
                        continue
                    position = (record["attempt"], record["seq"])
                    if last is None or position > last:
                        last = position
                        yield record
            except (aiohttp.ClientError, TimeoutError):
                pass  # cut: ask again for what comes after the last record
        await asyncio.sleep(_PAUSE_S)


def _record(event: Event) -> Record | None:
    return cast("Record", json.loads(event.data)) if event.kind == "output" else None
