"""A job's output over HTTP: bytes, records, and as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from relay.api import streams
from relay.lease import OUTPUT
from relay.store import logs
from tests.integration import seeding
from tests.integration.apis import api, api_settings, store
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from relay.store.connection import Connection
    from tests.integration.apis import ApiServer

__all__ = ["api", "api_settings", "store"]


async def write(store: Connection, job_id: int, data: bytes, *, stream: int = 1) -> None:
    """Append one record to the job's last attempt, as its worker would."""
    await store.execute(
        """INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
           SELECT attempts.output_day, $1, attempts.attempt,
                  1 + (SELECT count(*) FROM output WHERE output.job_id = $1 AND output.attempt = attempts.attempt),
                  $3, clock_timestamp(), $2
             FROM attempts WHERE attempts.job_id = $1 ORDER BY attempts.attempt DESC LIMIT 1""",
        job_id,
        data,
        stream,
    )


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    data: Any
    id: str | None


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The events of a stream, and its retry hints as events."""
    fields: dict[str, str] = {}
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
            continue
        if "retry" in fields:
            yield Event("retry", int(fields["retry"]), None)
        elif "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
        fields = {}


@contextlib.asynccontextmanager
async def following(api: ApiServer, path: str, **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    given = {
        "Authorization": f"Bearer {api.tokens['read']}",
        "Accept": "text/event-stream",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    async with asyncio.timeout(20), api.session.get(f"{api.address}{path}", headers=given) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        async with contextlib.aclosing(events_of(response)) as events:  # type: ignore[type-var]
            yield events


@pytest.fixture
async def running(api: ApiServer, store: Connection) -> int:
    """A job that runs and has written to both streams."""
    job_id = await api.submit()
    await seeding.start(store, job_id)
    await write(store, job_id, b"one\n")
    await write(store, job_id, b"two\n", stream=2)
    await write(store, job_id, b"\xff\x00\n")
    return job_id


async def test_plain_output_is_byte_for_byte_in_order_of_arrival(api: ApiServer, running: int) -> None:
    answer = await api.get(f"/v1/jobs/{running}/logs")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body == b"one\ntwo\n\xff\x00\n"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("stream=stdout", b"one\n\xff\x00\n"),
        ("stream=STDERR", b"two\n"),
        ("tail=5", b"o\n\xff\x00\n"),
        ("tail=0", b""),
        ("tail=0&stream=stderr", b""),
        ("tail=1000", b"one\ntwo\n\xff\x00\n"),
        ("tail=2&stream=stderr", b"o\n"),
        ("attempt=1", b"one\ntwo\n\xff\x00\n"),
    ],
)
async def test_output_can_be_narrowed(api: ApiServer, running: int, query: str, expected: bytes) -> None:
    assert (await api.get(f"/v1/jobs/{running}/logs?{query}")).body == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("stream=both", 400),
        ("tail=-1", 400),
        ("attempt=0", 400),
        ("follow=maybe", 400),
        ("attempt=2", 404),
        ("x=1", 400),
    ],
)
async def test_a_bad_question_for_output_is_refused(api: ApiServer, running: int, query: str, status: int) -> None:
    assert (await api.get(f"/v1/jobs/{running}/logs?{query}")).status == status


async def test_records_tell_stream_and_text_or_base64(api: ApiServer, running: int) -> None:
    answer = await api.get(f"/v1/jobs/{running}/logs", headers={"Accept": "application/json"})
    records = [{name: value for name, value in one.items() if name != "ts"} for one in answer.json["items"]]
    assert records == [
        {"attempt": 1, "seq": 1, "stream": "stdout", "text": "one\n"},
        {"attempt": 1, "seq": 2, "stream": "stderr", "text": "two\n"},
        {"attempt": 1, "seq": 3, "stream": "stdout", "base64": "/wAK"},
    ]


async def test_a_tail_of_nothing_begins_with_what_comes_then(
    api: ApiServer, store: Connection, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, as_json, read = f"/v1/jobs/{running}/logs?tail=0", {"Accept": "application/json"}, logs.read_output
    assert (await api.get(path, headers=as_json)).json["items"] == []

    async def read_and_write(*given: Any, **named: Any) -> Any:
        if not (found := await read(*given, **named)):
            await write(store, running, b"new\n")
        return found

    monkeypatch.setattr(logs, "read_output", read_and_write)
    assert [one["seq"] for one in (await api.get(path, headers=as_json)).json["items"]] == [4]
    async with following(api, f"{path}&follow=true") as events:
        assert (await anext(events)).id == "1:6"


async def test_the_form_with_the_highest_weight_is_answered(api: ApiServer, running: int) -> None:
    for accept, kind in (
        ("text/plain;q=0.5, application/json;q=0.9", "application/json"),
        ("application/json;q=0, */*", "text/plain"),
    ):
        answer = await api.get(f"/v1/jobs/{running}/logs", headers={"Accept": accept})
        assert answer.headers["Content-Type"].partition(";")[0] == kind
    headers = {"Accept": "text/event-stream;q=0, application/json"}
    assert (await api.get(f"/v1/jobs/{running}/logs?follow=true", headers=headers)).status == 400


async def test_a_large_output_comes_whole_in_both_forms(api: ApiServer, store: Connection) -> None:
    job_id = await api.submit()
    await seeding.start(store, job_id)
    for n in range(5):
        await write(store, job_id, bytes([65 + n]) * 700_000)
    expected = b"".join(bytes([65 + n]) * 700_000 for n in range(5))
    records = (await api.get(f"/v1/jobs/{job_id}/logs", headers={"Accept": "application/json"})).json["items"]
    assert (await api.get(f"/v1/jobs/{job_id}/logs")).body == expected
    assert "".join(record["text"] for record in records).encode() == expected


async def test_a_job_that_never_ran_has_no_output(api: ApiServer) -> None:
    job_id = await api.submit()
    assert (await api.get(f"/v1/jobs/{job_id}/logs")).body == b""
    assert (await api.get(f"/v1/jobs/{job_id}/logs", headers={"Accept": "application/json"})).json["items"] == []
    events = await api.get(f"/v1/jobs/{job_id}/logs", headers={"Accept": "text/event-stream"})
    assert b'"status":"PENDING","attempt":null,"outcome":null' in events.body


async def test_a_live_line_is_seen_within_300_ms(api: ApiServer, store: Connection, running: int) -> None:
    async with following(api, f"/v1/jobs/{running}/logs?follow=true") as events:
        for _ in range(3):
            await anext(events)
        await write(store, running, b"live\n")
        began = time.monotonic()
        await api.parts.leases.publish_wake(OUTPUT, [running])
        event = await anext(events)
        took_s = time.monotonic() - began
    assert (event.kind, event.id, event.data["text"]) == ("output", "1:4", "live\n")
    assert took_s < 0.3


async def test_a_follower_goes_on_across_retries_until_the_job_is_terminal(
    api: ApiServer, store: Connection, running: int
) -> None:
    async with following(api, f"/v1/jobs/{running}/logs?follow=true&stream=stdout") as events:
        seen = [await anext(events), await anext(events)]
        await seeding.end(store, running, "FAILED", exit_code=1)
        await store.execute("UPDATE jobs SET status = 'PENDING', reason = NULL WHERE id = $1", running)
        await seeding.start(store, running)
        await write(store, running, b"again\n")
        await seeding.end(store, running, "COMPLETED")
        seen += [event async for event in events]
    assert [event.id for event in seen] == ["1:1", "1:3", "2:1", None]
    assert (seen[-1].kind, seen[-1].data["outcome"], seen[-1].data["status"]) == ("end", "succeeded", "COMPLETED")


async def test_following_one_attempt_ends_with_it(api: ApiServer, store: Connection, running: int) -> None:
    async with following(api, f"/v1/jobs/{running}/logs?follow=true&attempt=1&stream=stderr") as events:
        await anext(events)
        await seeding.end(store, running, "FAILED", exit_code=9)
        end = await anext(events)
    assert (end.kind, end.data["outcome"], end.data["exit_code"], end.data["attempt"]) == ("end", "failed", 9, 1)


@pytest.mark.parametrize(("last_id", "expected"), [("1:2", ["1:3"]), ("0:0", ["1:1", "1:2", "1:3"]), ("1:3", [])])
async def test_a_follower_resumes_after_the_last_event_it_saw(
    api: ApiServer, store: Connection, running: int, last_id: str, expected: list[str]
) -> None:
    await seeding.end(store, running, "COMPLETED")
    async with following(api, f"/v1/jobs/{running}/logs?follow=true", Last_Event_ID=last_id) as events:
        seen = [event async for event in events]
    assert [event.id for event in seen[:-1]] == expected
    assert seen[-1].kind == "end"


@pytest.mark.parametrize("last_id", ["x", "1", "1:x", "-1:2", "1:" + "9" * 30])
async def test_a_last_event_id_that_was_never_given_is_refused(api: ApiServer, running: int, last_id: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
    assert (await api.get(f"/v1/jobs/{running}/logs?follow=true", headers=headers)).status == 400


async def test_following_is_for_events_only(api: ApiServer, running: int) -> None:
    headers = {"Accept": "application/json"}
    assert (await api.get(f"/v1/jobs/{running}/logs?follow=true", headers=headers)).code == "bad_query"


async def test_a_follower_ends_when_its_job_is_cancelled_before_it_ran(api: ApiServer) -> None:
    job_id = await api.submit()
    async with following(api, f"/v1/jobs/{job_id}/logs?follow=true") as events:
        await api.post(f"/v1/jobs/{job_id}/cancel")
        end = await anext(events)
    assert (end.kind, end.data["status"], end.data["outcome"]) == ("end", "CANCELLED", None)


async def test_an_idle_stream_proves_its_line(api: ApiServer, running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE_S", 0.0)
    head = api.head("GET", f"/v1/jobs/{running}/logs?follow=true", Accept="text/event-stream")
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head)
    async with asyncio.timeout(10):
        assert await reader.readuntil(b": still here\n\n")
    writer.close()


async def test_too_many_readers_are_refused(api: ApiServer, running: int) -> None:
    api.parts.readers._limit = 1
    async with following(api, f"/v1/jobs/{running}/logs?follow=true"):
        headers = {"Accept": "text/event-stream"}
        answer = await api.get(f"/v1/jobs/{running}/logs?follow=true", headers=headers)
    assert (answer.status, answer.code) == (429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) > 0
    await until(lambda: api.parts.readers.count == 0, what="no readers")


async def test_a_reader_that_never_reads_is_disconnected(
    api: ApiServer, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WRITE_S", 0.3)
    job_id = await api.submit()
    await seeding.start(store, job_id)
    for _ in range(30):
        await write(store, job_id, b"x" * 1_000_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    writer.write(api.head("GET", f"/v1/jobs/{job_id}/logs?follow=true", Accept="text/event-stream"))
    await until(lambda: api.parts.readers.count == 1, what="a reader")
    await until(lambda: api.parts.readers.count == 0, what="no reader")
    assert len(await reader.read()) < 20_000_000
    writer.close()


async def test_streams_and_waits_end_with_a_hint_when_the_server_goes(api: ApiServer, running: int) -> None:
    waiting = asyncio.create_task(api.get(f"/v1/jobs/{running}?wait=30s"))
    async with following(api, f"/v1/jobs/{running}/logs?follow=true") as events:
        for _ in range(3):
            await anext(events)
        api.parts.watch.close()
        assert await anext(events) == Event("retry", 1000, None)
        assert [event async for event in events] == []
    assert (await waiting).json["status"] == "RUNNING"
