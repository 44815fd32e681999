"""The client against servers that misbehave: it repeats what it may, and loses or doubles nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from aiohttp import web

from relay import errors
from relay.client import Client
from relay.client.follow import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay.client.types import Record

    Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

JOB = {"id": 7, "status": "PENDING"}


class Script:
    """A server that answers each request as the next entry says; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.api = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.seen.append((request.method, request.path_qs, dict(request.headers)))
        return await self.answers.pop(0)(request)

    def header(self, name: str) -> list[str | None]:
        """What that header was in each request."""
        return [headers.get(name) for _, _, headers in self.seen]


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """The server, on a free port."""
    made = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.api = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[Client]:
    async with Client(script.api, "rly_1_x", first_patience_s=5.0) as opened:
        yield opened


def says(value: object, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.json_response(value, status=status, headers=named)

    return answer


def refuses(status: int, code: str, **members: Any) -> Answer:
    retry_after = members.pop("retry_after", None)
    headers = {} if retry_after is None else {"Retry_After": str(retry_after)}
    return says({"code": code, "status": status, **members}, status, **headers)


async def hangs_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_a_submit_is_repeated_with_the_same_key(script: Script, client: Client) -> None:
    script.answers = [refuses(503, "unavailable", retry_after=0), hangs_up, refuses(429, "x"), says(JOB, 201)]
    assert await client.submit({"payload": {"command": "true"}}) == JOB
    keys = script.header("Idempotency-Key")
    assert len(keys) == 4
    assert len(set(keys)) == 1
    assert keys[0]


async def test_a_spec_with_a_key_of_its_own_gets_no_other(script: Script, client: Client) -> None:
    script.answers = [says(JOB, 201)]
    await client.submit({"payload": {"command": "true"}, "idempotency_key": "mine"})
    assert script.header("Idempotency-Key") == [None]


async def test_a_batch_is_repeated_with_the_same_key(script: Script, client: Client) -> None:
    script.answers = [hangs_up, says({"ids": [1, 2]}, 201)]
    assert await client.submit_batch([{"name": "a"}, {"name": "b"}]) == [1, 2]
    assert len(set(script.header("Idempotency-Key"))) == 1


async def test_a_manual_retry_whose_answer_is_lost_is_not_repeated(script: Script, client: Client) -> None:
    """It may have been done, and would then be refused."""
    script.answers = [hangs_up]
    with pytest.raises(errors.Unreachable):
        await client.retry(7)
    assert len(script.seen) == 1


async def test_what_was_refused_before_it_was_done_is_repeated_whatever_it_is(script: Script, client: Client) -> None:
    script.answers = [refuses(503, "unavailable", retry_after=0), says(JOB)]
    assert await client.retry(7) == JOB


async def test_a_wait_longer_than_the_patience_is_not_begun(script: Script) -> None:
    script.answers = [refuses(429, "too_many_requests", detail="slow down", retry_after=100)]
    async with Client(script.api, first_patience_s=1.0, patience_s=1.0) as client:
        with pytest.raises(errors.TooManyRequests, match="slow down") as caught:
            await client.jobs([], limit=1)
    assert caught.value.retry_after_s == 100


async def test_an_address_where_nothing_listens_is_unreachable() -> None:
    async with Client("http://127.0.0.1:1", first_patience_s=0.3) as client:
        with pytest.raises(errors.Unreachable, match="connection refused"):
            await client.stats()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "unauthorized", errors.Unauthorized),
        (403, "forbidden", errors.Forbidden),
        (404, "not_found", errors.NotFound),
        (409, "conflict", errors.Conflict),
        (422, "invalid_spec", errors.InvalidSpec),
        (422, "idempotency_key_reused", errors.IdempotencyKeyReused),
        (422, "of_a_later_version", errors.InvalidSpec),
        (500, "internal", errors.RelayError),
    ],
)
async def test_a_problem_document_becomes_its_error(
    script: Script, client: Client, status: int, code: str, expected: type[errors.RelayError]
) -> None:
    faults = [{"path": "payload.timeout", "message": "is no duration"}]
    script.answers = [refuses(status, code, detail="told", errors=faults)]
    with pytest.raises(errors.RelayError) as caught:
        await client.job(7)
    assert type(caught.value) is expected
    assert caught.value.detail == "told"
    assert caught.value.faults == (errors.Fault("payload.timeout", "is no duration"),)


async def test_another_kind_of_server_is_told_from_relay(script: Script, client: Client) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async def moved(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    for answer in (page, moved):
        script.answers = [answer]
        with pytest.raises(errors.Unreachable, match="not as Relay does"):
            await client.job(7)


async def test_pages_are_read_up_to_the_limit(script: Script, client: Client) -> None:
    pages = [{"items": [{"id": 3}, {"id": 2}], "next_cursor": "c"}, {"items": [{"id": 1}], "next_cursor": "d"}]
    script.answers = [says(page) for page in pages]
    assert [job["id"] for job in await client.jobs([("status", "DEAD")], limit=3)] == [3, 2, 1]
    assert [path for _, path, _ in script.seen] == [
        "/v1/jobs?status=DEAD&limit=3",
        "/v1/jobs?status=DEAD&limit=1&cursor=c",
    ]


def record(attempt: int, seq: int) -> Record:
    return {"attempt": attempt, "seq": seq, "ts": "", "stream": "stdout", "text": f"{attempt}:{seq}\n"}


def event(attempt: int, seq: int) -> bytes:
    return f"id: {attempt}:{seq}\nevent: output\ndata: {json.dumps(record(attempt, seq))}\n\n".encode()


def streams(*pieces: bytes, cut: bool = False) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if cut:
            await response.drain()
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


async def test_followed_output_resumes_after_a_cut_without_gap_or_repetition(script: Script, client: Client) -> None:
    script.answers = [
        streams(event(1, 1), event(1, 2), event(1, 3)[:20], cut=True),
        refuses(503, "unavailable", retry_after=0),
        streams(b": still here\n\n", event(1, 2), event(1, 3), b"retry: 10\n: come back\n\n"),
        streams(event(2, 1), b"event: end\ndata: {}\n\n", event(9, 9)),
    ]
    found = [item async for item in client.follow(7, after=(0, 0))]
    assert found == [record(1, 1), record(1, 2), record(1, 3), record(2, 1)]
    assert script.header("Last-Event-ID") == ["0:0", "1:2", "1:2", "1:3"]


async def test_a_followed_job_that_is_gone_ends_with_its_error(script: Script, client: Client) -> None:
    script.answers = [streams(event(1, 1), cut=True), refuses(404, "not_found")]
    coming = client.follow(7)
    assert await anext(coming) == record(1, 1)
    with pytest.raises(errors.NotFound):
        await anext(coming)


async def test_events_are_the_same_however_the_stream_is_cut() -> None:
    stream = (
        "id: 1:1\r\nevent: output\r\ndata: a\ndata: ü\n\n: comment\n\nevent: end\ndata:b\n\ndata: never ended".encode()
    )

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(stream), size):
            yield stream[start : start + size]

    expected = [("output", "a\nü", "1:1"), ("end", "b", "")]
    for size in range(1, len(stream) + 1):
        assert [tuple(found) async for found in events(pieces(size))] == expected


async def test_the_token_is_sent_as_a_bearer(script: Script, client: Client) -> None:
    script.answers = [says({"items": [], "next_cursor": None})]
    await client.workers()
    assert script.header("Authorization") == ["Bearer rly_1_x"]
