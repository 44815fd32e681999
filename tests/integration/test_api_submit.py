"""POST /v1/jobs and /v1/jobs/batch."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.apis import TRUE, api, api_settings, store
from tests.stack.waiting import until

if TYPE_CHECKING:
    from relay.store.connection import Connection
    from tests.integration.apis import ApiServer

__all__ = ["api", "api_settings", "store"]

SEED = {
    "type": "SHELL",
    "payload": {
        "command": "/usr/local/bin/process-data.sh",
        "args": ["--input", "/data/file.csv"],
        "timeout": "5m",
    },
    "on_success": {"type": "SHELL", "payload": {"command": "/usr/local/bin/notify.sh"}},
    "max_retries": 3,
    "backoff": "exponential",
}


async def test_a_submitted_job_is_answered_as_it_is_stored(api: ApiServer) -> None:
    created = await api.post("/v1/jobs", SEED)
    shown = await api.get(created.headers["Location"])
    expected = shown.json
    assert expected.pop("attempts") == []
    assert (created.status, created.json) == (201, expected)
    assert created.json["name"] == "process-data.sh"
    assert created.json["status"] == "PENDING"


async def test_a_submit_is_published_once_it_is_committed(api: ApiServer) -> None:
    await api.submit()
    sent = await until(lambda: api.parts.publisher.sent, what="a message")  # type: ignore[attr-defined]
    assert sent == 1


async def test_many_submits_at_once_all_get_their_own_job(api: ApiServer) -> None:
    ids = await asyncio.gather(*[api.submit(name=f"job {n}") for n in range(200)])
    names = [(await api.get(f"/v1/jobs/{job_id}")).json["name"] for job_id in ids[::50]]
    assert len(set(ids)) == 200
    assert names == ["job 0", "job 50", "job 100", "job 150"]


async def test_the_same_key_and_spec_is_answered_with_the_first_job(api: ApiServer) -> None:
    first = await api.post("/v1/jobs", TRUE, headers={"Idempotency-Key": "k1"})
    again = await api.post("/v1/jobs", {**TRUE, "max_retries": 3, "idempotency_key": "k1"})
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


async def test_concurrent_submits_with_one_key_make_one_job(api: ApiServer) -> None:
    answers = await asyncio.gather(*[api.post("/v1/jobs", TRUE, headers={"Idempotency-Key": "one"}) for _ in range(20)])
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]


async def test_a_used_key_with_another_spec_is_refused(api: ApiServer) -> None:
    await api.post("/v1/jobs", TRUE, headers={"Idempotency-Key": "k1"})
    other = await api.post("/v1/jobs", {**TRUE, "name": "other"}, headers={"Idempotency-Key": "k1"})
    assert (other.status, other.code) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 201, "a/../b", "\u00ff"])
async def test_a_bad_key_in_the_header_is_refused(api: ApiServer, key: str) -> None:
    head = api.head("POST", "/v1/jobs", Content_Type="application/json", Connection="close", Content_Length="2")
    head = head.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: " + key.encode("latin-1") + b"\r\n\r\n")
    assert (await api.raw(head + b"{}")).split(b" ")[1] == b"422"


async def test_header_and_body_must_not_name_two_keys(api: ApiServer) -> None:
    answer = await api.post("/v1/jobs", {**TRUE, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
    assert (answer.status, answer.paths) == (422, ["idempotency_key"])


async def test_an_expired_job_is_dead_from_the_start(api: ApiServer) -> None:
    answer = await api.post("/v1/jobs", {**TRUE, "expires_at": "2020-01-01T00:00:00Z"})
    assert (answer.status, answer.json["status"], answer.json["reason"]) == (201, "DEAD", "expired")


async def test_all_faults_of_a_spec_are_told_at_once(api: ApiServer) -> None:
    spec = {
        "payload": {"command": "", "timout": 3, "cwd": "relative"},
        "max_retries": "3",
        "on_success": {"payload": {"command": "x", "timeout": "soon"}},
    }
    answer = await api.post("/v1/jobs", spec)
    assert (answer.status, answer.code) == (422, "invalid_spec")
    assert set(answer.paths) >= {
        "max_retries",
        "on_success.payload.timeout",
        "payload.command",
        "payload.cwd",
        "payload.timout",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"payload": {"command": "tr',
        b"\xef\xbb\xbf{}",
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"max_retries": ' + b"9" * 5000 + b"}",
        b'{"max_retries": NaN}',
        b'{"max_retries": 1e999}',
        b'{"name": "\\ud800"}',
        b"[]",
        b"null",
        b'"x"',
        b"{} {}",
        b'{"name": "a", "name": "b"}',
    ],
)
async def test_what_is_not_one_json_object_is_refused(api: ApiServer, body: bytes) -> None:
    answer = await api.call("POST", "/v1/jobs", data=body, headers={"Content-Type": "application/json"})
    assert answer.status in {400, 413} if len(body) > 64 * 1024 else answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "spec",
    [
        {"payload": {"command": "x", "script": "y"}},
        {"payload": {}},
        {**TRUE, "run_at": "2030-01-01T00:00:00Z", "delay": "1s"},
        {**TRUE, "run_at": "2030-01-01T00:00:00"},
        {**TRUE, "run_at": "9999-12-31T23:59:59Z"},
        {**TRUE, "max_retries": True},
        {**TRUE, "max_retries": 3.0},
        {**TRUE, "max_retries": -1},
        {**TRUE, "name": "a\u0000b"},
        {**TRUE, "name": "a\u0007b"},
        {**TRUE, "name": "../x"},
        {"payload": {"command": "x", "args": ["a\u0000"]}},
        {"payload": {"command": "x", "env": {"A=B": "1"}}},
        {"payload": {"command": "x", "env": {"RELAY_JOB_ID": "1"}}},
        {**TRUE, "queue": "Ü"},
        {**TRUE, "on_success": {**TRUE, "idempotency_key": "x"}},
    ],
)
async def test_an_invalid_spec_is_refused_with_paths(api: ApiServer, spec: dict[str, Any]) -> None:
    answer = await api.post("/v1/jobs", spec)
    assert (answer.status, answer.code) == (422, "invalid_spec")
    assert answer.paths


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
async def test_a_body_that_is_not_called_json_is_refused(api: ApiServer, content_type: str) -> None:
    answer = await api.call("POST", "/v1/jobs", data=b"{}", headers={"Content-Type": content_type})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_understood(api: ApiServer) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(TRUE).encode())
    assert (await api.call("POST", "/v1/jobs", data=body, headers=headers)).status == 201


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * 10_000_000, mtime=0), "gzip", 413),
        (b"not gzip", "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", 400),
        (b"{}", "br", 415),
    ],
)
async def test_a_bad_compressed_body_is_refused(api: ApiServer, body: bytes, encoding: str, status: int) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    assert (await api.call("POST", "/v1/jobs", data=body, headers=headers)).status == status


async def test_a_body_that_is_too_large_is_refused_with_and_without_length(api: ApiServer) -> None:
    head = api.head("POST", "/v1/jobs", Content_Type="application/json", Content_Length="70000")
    assert (await api.raw(head)).startswith(b"HTTP/1.1 413 ")
    chunked = api.head("POST", "/v1/jobs", Content_Type="application/json", Transfer_Encoding="chunked")
    assert (await api.raw(chunked + b"11170\r\n" + b" " * 0x11170)).startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_asks_first_is_told_to_continue(api: ApiServer) -> None:
    body = json.dumps(TRUE).encode()
    headers = {"Content-Type": "application/json"}
    answer = await api.call("POST", "/v1/jobs", data=body, headers=headers, expect100=True)
    assert answer.status == 201


async def test_a_batch_is_answered_with_ids_in_order(api: ApiServer) -> None:
    answer = await api.post("/v1/jobs/batch", [{**TRUE, "name": f"n{n}"} for n in range(250)])
    ids = answer.json["ids"]
    assert (answer.status, len(ids)) == (201, 250)
    names = [(await api.get(f"/v1/jobs/{ids[n]}")).json["name"] for n in (0, 100, 249)]
    assert names == ["n0", "n100", "n249"]


async def test_a_batch_may_be_lines(api: ApiServer) -> None:
    lines = "\n".join(json.dumps({**TRUE, "name": f"n{n}"}) for n in range(3)) + "\n\n"
    answer = await api.call(
        "POST", "/v1/jobs/batch", data=lines.encode(), headers={"Content-Type": "application/x-ndjson"}
    )
    assert (answer.status, len(answer.json["ids"])) == (201, 3)


async def test_one_fault_refuses_the_whole_batch(api: ApiServer, store: Connection) -> None:
    specs: list[dict[str, Any]] = [dict(TRUE) for _ in range(20)]
    specs[17] = {"payload": {}}
    specs[3] = {**TRUE, "nope": 1}
    answer = await api.post("/v1/jobs/batch", specs)
    assert answer.status == 422
    assert {path[: path.index("]") + 1] for path in answer.paths} == {"[17]", "[3]"}
    assert "[3].nope" in answer.paths
    assert await store.fetchval("SELECT count(*) FROM jobs") == 0


async def test_one_reused_key_refuses_the_whole_batch(api: ApiServer, store: Connection) -> None:
    await api.submit(idempotency_key="used")
    answer = await api.post("/v1/jobs/batch", [TRUE, {**TRUE, "name": "other", "idempotency_key": "used"}])
    assert (answer.status, answer.code, answer.paths) == (422, "idempotency_key_reused", ["[1].idempotency_key"])
    assert await store.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_batch_sent_twice_with_one_key_makes_its_jobs_once(api: ApiServer) -> None:
    first = await api.post("/v1/jobs/batch", [TRUE, TRUE], headers={"Idempotency-Key": "b"})
    again = await api.post("/v1/jobs/batch", [TRUE, TRUE], headers={"Idempotency-Key": "b"})
    assert (first.status, again.status, again.json) == (201, 200, first.json)
    assert len(set(first.json["ids"])) == 2


@pytest.mark.parametrize(("body", "status"), [([], 400), ({}, 400), ([1], 422), ([TRUE] * 10_001, 400)])
async def test_what_is_not_a_batch_is_refused(api: ApiServer, body: Any, status: int) -> None:
    assert (await api.post("/v1/jobs/batch", body)).status == status
