"""GET /v1/jobs/{id}/logs: a job's output as bytes, as records, or as it comes.

`text/plain` is what the job wrote, byte for byte, in order of arrival; `application/json` are the records; server-sent events with
`follow=true` go on across retries until the job is terminal, or until the one attempt asked for has ended. Everything is read
and sent in pages, so neither a large output nor a slow reader costs more than a page of memory.

Of a followed job the state is read first, then its output: once the state says that an attempt has ended, what is read
after it is all there is. A record's event id, `attempt:seq`, is where `Last-Event-ID` resumes; `0:0` is the beginning.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import to_json

from relay import errors
from relay.api import accept as accepting
from relay.api import answers, streams
from relay.api.query import BadQuery
from relay.model.records import STDERR, STDOUT
from relay.model.states import TERMINAL
from relay.store import jobs, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.api.call import Call
    from relay.model.records import OutputRecord
    from relay.store.jobs import State

PAGE_BYTES = 1 << 20
POLL_S = 0.5  # without wake-ups; with them a line is seen at once
_STREAMS = {"stdout": STDOUT, "stderr": STDERR}
MEDIA = _TEXT, _JSON, _EVENTS = "text/plain", "application/json", "text/event-stream"


@dataclass(slots=True)
class Reading:
    """What is read, and how far it has come."""

    job_id: int
    attempt: int
    is_one_attempt: bool
    stream: int | None
    after_seq: int = 0
    skip_bytes: int = 0


async def read_logs(call: Call) -> web.StreamResponse:
    """Answer a job's output."""
    query = call.query
    attempt = query.integer("attempt", low=1, high=2**31 - 1)
    stream = query.parsed("stream", _stream)
    tail = query.integer("tail", low=0, high=2**62)
    is_followed = query.flag("follow")
    query.done()
    kind = _choose(call.request.headers.get("Accept", "*/*"), is_followed=is_followed)
    resume = _last_event_id(call) if kind == _EVENTS else None
    reading, state = await _begin(call, attempt=attempt, stream=stream, resume=resume)
    if tail is not None and resume is None:
        await _skip_to_tail(call, reading, tail)
    if call.request.method == "HEAD":
        return web.Response(headers={**answers.HEADERS, "Content-Type": kind})
    if kind == _EVENTS:
        return await _send_events(call, reading, is_followed=is_followed)
    return await (_send_text(call, reading) if kind == _TEXT else _send_records(call, reading, state))


def _stream(word: str) -> int:
    if word.lower() not in _STREAMS:
        raise ValueError("must be stdout or stderr")
    return _STREAMS[word.lower()]


def _choose(accept: str, *, is_followed: bool) -> str:
    """Choose the form of the answer; without a wish it is text, and when following events."""
    if not is_followed:
        return accepting.choose(accept, MEDIA) or _TEXT
    weights = accepting.weights(accept, MEDIA)
    if weights and not weights.get(_EVENTS):
        raise BadQuery("follow=true answers text/event-stream: send 'Accept: text/event-stream'")
    return _EVENTS


def _last_event_id(call: Call) -> tuple[int, int] | None:
    text = call.request.headers.get("Last-Event-ID")
    if not text:
        return None
    attempt, _, seq = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (attempt, seq)):
        raise errors.BadRequest("the header Last-Event-ID must be the id of an event, ATTEMPT:SEQ")
    return min(int(attempt), 2**31 - 1), int(seq)


async def _begin(
    call: Call, *, attempt: int | None, stream: int | None, resume: tuple[int, int] | None
) -> tuple[Reading, State]:
    job_id = call.id()
    async with call.parts.connection() as conn:
        state = (await jobs.list_states(conn, [job_id])).get(job_id)
    if state is None:
        raise errors.NotFound(f"there is no job {job_id}")
    if attempt is not None and attempt > state.attempt:
        raise errors.NotFound(f"job {job_id} has no attempt {attempt} (yet)")
    last = max(1, state.attempt)
    if resume is None:
        return Reading(job_id, attempt or last, attempt is not None, stream), state
    resumed = min(max(1, resume[0]), last)
    is_same = attempt in {None, resumed} and resumed == resume[0]
    reading = Reading(job_id, attempt or resumed, attempt is not None, stream, after_seq=resume[1] if is_same else 0)
    return reading, state


async def _skip_to_tail(call: Call, reading: Reading, tail_bytes: int) -> None:
    async with call.parts.connection() as conn:
        tail = await logs.output_tail(
            conn, reading.job_id, reading.attempt, stream=reading.stream, tail_bytes=tail_bytes
        )
    reading.after_seq, reading.skip_bytes = tail.after_seq, tail.skip_bytes
    if tail_bytes == 0 and tail.skip_bytes:  # all of the last record
        reading.after_seq, reading.skip_bytes = tail.after_seq + 1, 0


async def _page(call: Call, reading: Reading) -> list[OutputRecord]:
    """Read the next page and move on past it."""
    async with call.parts.connection() as conn:
        records = await logs.read_output(
            conn,
            reading.job_id,
            reading.attempt,
            after_seq=reading.after_seq,
            stream=reading.stream,
            limit_bytes=PAGE_BYTES,
        )
    return _advance(reading, records)


def _advance(reading: Reading, records: list[OutputRecord]) -> list[OutputRecord]:
    if records:
        reading.after_seq = records[-1].seq
        if reading.skip_bytes:
            records[0] = replace(records[0], data=records[0].data[reading.skip_bytes :])
            reading.skip_bytes = 0
    return records


async def _pages(call: Call, reading: Reading) -> AsyncIterator[list[OutputRecord]]:
    while records := await _page(call, reading):
        yield records


async def _send_text(call: Call, reading: Reading) -> web.StreamResponse:
    stream = streams.Stream(call.request, content_type="text/plain; charset=utf-8")
    first = await _page(call, reading)
    async with stream.opened():
        await stream.write(b"".join([record.data for record in first]))
        async for records in _pages(call, reading):
            await stream.write(b"".join([record.data for record in records]))
    return stream.response


async def _send_records(call: Call, reading: Reading, _state: State) -> web.StreamResponse:
    stream = streams.Stream(call.request, content_type="application/json")
    first = await _page(call, reading)
    async with stream.opened():
        await stream.write(b'{"items":[' + _records_json(first))
        comma = b"," if first else b""  # records may come between an empty page and the next
        async for records in _pages(call, reading):
            await stream.write(comma + _records_json(records))
            comma = b","
        await stream.write(b'],"next_cursor":null}')
    return stream.response


def _records_json(records: list[OutputRecord]) -> bytes:
    return to_json([record.as_json() for record in records])[1:-1]


async def _send_events(call: Call, reading: Reading, *, is_followed: bool) -> web.StreamResponse:
    with (
        call.parts.readers.one_more(),
        call.parts.watch.changes(reading.job_id, with_output=True) as changed,
    ):
        events = streams.Events(call.request)
        async with events.opened():
            await _follow(call, reading, events, changed=changed, is_followed=is_followed)
    return events.response


async def _follow(
    call: Call, reading: Reading, events: streams.Events, *, changed: asyncio.Event, is_followed: bool
) -> None:
    clock = asyncio.get_running_loop()
    sent_at = clock.time()
    while not call.parts.watch.is_closing.is_set():
        try:
            state, records = await _look(call, reading)
        except errors.Unavailable:
            break
        for record in records:
            await events.send("output", record.as_json(), event_id=f"{record.attempt}:{record.seq}")
        await events.flush()
        if records:
            sent_at = clock.time()
            continue
        if not is_followed or _is_over(reading, state):
            await _send_end(call, reading, events, state)
            return
        if state is not None and reading.attempt < state.attempt:
            reading.attempt, reading.after_seq = reading.attempt + 1, 0
            continue
        await streams.wait_for(changed, POLL_S)
        events.check_line()
        if clock.time() - sent_at > streams.IDLE_S:
            await events.keep_alive()
            sent_at = clock.time()
    await events.say_come_back()


async def _look(call: Call, reading: Reading) -> tuple[State | None, list[OutputRecord]]:
    """Read the job's state, and then a page of output."""
    async with call.parts.connection() as conn:
        state = (await jobs.list_states(conn, [reading.job_id])).get(reading.job_id)
        records = await logs.read_output(
            conn,
            reading.job_id,
            reading.attempt,
            after_seq=reading.after_seq,
            stream=reading.stream,
            limit_bytes=PAGE_BYTES,
        )
    return state, _advance(reading, records)


def _is_over(reading: Reading, state: State | None) -> bool:
    """Say whether nothing more can come, given that all there is has been read."""
    if state is None:
        return True
    if reading.attempt < state.attempt:
        return reading.is_one_attempt
    is_running = state.status == "RUNNING"
    return not is_running and (reading.is_one_attempt or state.status in TERMINAL)


async def _send_end(call: Call, reading: Reading, events: streams.Events, state: State | None) -> None:
    async with call.parts.connection() as conn:
        attempts = await jobs.list_attempts(conn, reading.job_id)
    told = next((one.as_json() for one in attempts if one.attempt == reading.attempt), {})
    end = {name: told.get(name) for name in ("attempt", "outcome", "reason", "exit_code", "signal", "dropped_bytes")}
    await events.send("end", {"status": state and state.status, **end})
    await events.flush()
