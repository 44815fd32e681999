"""Who gets in, and what the server does with those who don't mean well."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from relay.api import app as apps
from relay.api import auth, bodies, connections
from relay.api.routing import Scope
from relay.api.table import ROUTES
from relay.store import tokens
from tests.integration.apis import TRUE, api, api_settings, store
from tests.stack.waiting import until

if TYPE_CHECKING:
    from relay.store.connection import Connection
    from tests.integration.apis import ApiServer

__all__ = ["api", "api_settings", "store"]


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DEADLINE_S", 0.3)
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 0.3)
    monkeypatch.setattr(connections, "SWEEP_S", 0.05)


async def test_every_bad_token_gets_one_and_the_same_answer(api: ApiServer, store: Connection) -> None:
    good = api.tokens["read"]
    await store.execute("UPDATE tokens SET expires_at = clock_timestamp() - interval '1 s' WHERE name = 'submit'")
    await store.execute("UPDATE tokens SET revoked_at = clock_timestamp() WHERE name = 'admin'")
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic eDp5"},
        {"Authorization": good},
        {"Authorization": f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}"},
        {"Authorization": f"Bearer rly_999_{'a' * 43}"},
        {"Authorization": f"Bearer rly_{'9' * 18}_{'a' * 43}"},
        {"Authorization": f"Bearer rly_\u0661_{'a' * 43}"},
        {"Authorization": "Bearer t\u00f6ken"},
        {"Authorization": f"Bearer {api.tokens['submit']}"},
        {"Authorization": f"Bearer {api.tokens['admin']}"},
        {"Authorization": f"Bearer {good} x"},
    ]
    answers = [await api.get("/v1/jobs", scope=None, headers=given) for given in headers]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="relay"'}
    assert (await api.get("/v1/jobs", scope="read")).status == 200


async def test_a_token_in_the_query_is_no_token(api: ApiServer) -> None:
    assert (await api.get(f"/v1/jobs?token={api.tokens['admin']}", scope=None)).status == 401


async def test_a_revoked_token_stops_working_within_seconds(
    api: ApiServer, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "KEPT_S", 0.1)
    assert (await api.get("/v1/jobs", scope="read")).status == 200
    await store.execute("UPDATE tokens SET revoked_at = clock_timestamp() WHERE name = 'read'")

    async def is_refused() -> bool:
        return (await api.get("/v1/jobs", scope="read")).status == 401

    await until(is_refused, within_s=5, what="401")


async def test_a_known_token_is_kept_by_its_digest(api: ApiServer) -> None:
    await api.get("/v1/jobs", scope="read")
    digest = hashlib.sha256(api.tokens["read"].encode()).digest()
    principal, _ = api.parts.tokens._cache[digest]
    assert principal is not None
    assert principal.scope is Scope.READ
    assert api.tokens["read"] not in repr(api.parts.tokens._cache)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_scope_below_the_routes_is_forbidden(api: ApiServer, route: Any) -> None:
    path = route.path.replace("{id}", "1")
    answers = {scope: await api.call(route.method, path, scope=scope) for scope in (None, "read", "submit", "admin")}
    if route.scope is Scope.NONE:
        assert {answer.status for answer in answers.values()} <= {200}
        return
    assert answers[None].status == 401
    for name in ("read", "submit", "admin"):
        is_forbidden = answers[name].status == 403
        assert is_forbidden == (Scope[name.upper()] < route.scope)


async def test_scopes_are_those_of_the_contract() -> None:
    submit = {"/v1/jobs", "/v1/jobs/batch", "/v1/jobs/{id}/retry", "/v1/jobs/{id}/replay", "/v1/jobs/{id}/cancel"}
    for route in ROUTES:
        if route.scope is Scope.NONE:
            assert route.path in {"/healthz", "/readyz"}
        elif route.method == "GET":
            assert route.scope is Scope.READ
        else:
            assert (route.scope is Scope.SUBMIT) == (route.path in submit)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4000", "127.0.0.1.evil.example", "localhost@evil.example"]
)
async def test_a_foreign_host_is_misdirected(api: ApiServer, host: str) -> None:
    answer = await api.get("/v1/jobs", headers={"Host": host})
    assert (answer.status, answer.code) == (421, "misdirected_request")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:4000", "127.0.0.1:80"])
async def test_an_own_host_is_served_on_any_port(api: ApiServer, host: str) -> None:
    assert (await api.get("/v1/jobs", headers={"Host": host})).status == 200


async def test_a_foreign_origin_is_forbidden(api: ApiServer) -> None:
    own = f"http://127.0.0.1:{api.port}"
    assert (await api.post("/v1/jobs", TRUE, headers={"Origin": own})).status == 201
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "", "http://["):
        answer = await api.post("/v1/jobs", TRUE, headers={"Origin": origin})
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_every_answer_carries_the_security_headers(api: ApiServer) -> None:
    answers = [
        await api.get("/v1/jobs"),
        await api.get("/v1/jobs", scope=None),
        await api.get("/nowhere"),
        await api.get("/healthz"),
        await api.get("/docs"),
        await api.get("/metrics"),
    ]
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
    assert {"default-src 'none'" in answer.headers["Content-Security-Policy"] for answer in answers} == {True}
    assert {answer.headers["Server"] for answer in answers} == {"relay"}
    assert not any("Access-Control-Allow-Origin" in answer.headers for answer in answers)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/jobs/1/nothing", 404, "not_found"),
        ("GET", "/v1/jobs/", 404, "not_found"),
        ("GET", "//v1/jobs", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/jobs?x=1", 400, "bad_query"),
        ("POST", "/v1/jobs/1/retry?x=1", 400, "bad_query"),
    ],
)
async def test_what_is_not_there_is_a_problem_document(
    api: ApiServer, method: str, path: str, status: int, code: str
) -> None:
    answer = await api.call(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert {"type", "title", "status", "detail", "code"} <= set(answer.json)


async def test_a_refused_method_says_which_are_allowed(api: ApiServer) -> None:
    assert (await api.call("PUT", "/v1/jobs")).headers["Allow"] == "GET, POST"


async def test_head_is_answered_as_get_without_a_body(api: ApiServer) -> None:
    job_id = await api.submit()
    for path in ("/v1/jobs", f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/logs", "/healthz"):
        answer = await api.call("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_400_problem(api: ApiServer, request_bytes: bytes) -> None:
    head, _, body = (await api.raw(request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/problem+json" in head
    assert b'"bad_request"' in body


async def test_a_request_without_a_host_is_refused(api: ApiServer) -> None:
    answer = await api.raw(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_broken_chunked_body_is_refused(api: ApiServer) -> None:
    head = api.head("POST", "/v1/jobs", Content_Type="application/json", Transfer_Encoding="chunked")
    assert b" 400 " in (await api.raw(head + b"zz\r\n{}\r\n")).split(b"\r\n")[0]


@pytest.mark.usefixtures("short_deadlines")
async def test_a_slow_body_is_given_up(api: ApiServer) -> None:
    head = api.head("POST", "/v1/jobs", Content_Type="application/json", Content_Length="100")
    answer = await api.raw(head + b"{")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"slow_body"' in answer


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"])
async def test_a_connection_that_sends_no_whole_head_is_closed(api: ApiServer, sent: bytes) -> None:
    assert await api.raw(sent) == b""


@pytest.mark.usefixtures("short_deadlines")
async def test_a_connection_that_idles_after_an_answer_is_closed(api: ApiServer) -> None:
    answer = await api.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1


async def test_an_unforeseen_error_is_a_500_that_tells_nothing_but_an_id(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(auth.Tokens, "check", explode)
    answer = await api.get("/v1/jobs")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret" not in answer.body
    assert answer.json["detail"].rsplit(" ", 1)[1] in capsys.readouterr().err


async def test_without_auth_the_operator_is_the_actor(api: ApiServer) -> None:
    settings = dataclasses.replace(api.parts.settings, auth=False)
    parts = apps.assemble(
        settings,
        cluster_id=api.parts.cluster_id,
        pool=api.parts.pool,
        leases=api.parts.leases,
        publisher=api.parts.publisher,
    )
    assert await parts.tokens.check(None, Scope.ADMIN) == auth.Principal("off", Scope.ADMIN)


async def test_pipelined_requests_are_answered_in_order(api: ApiServer) -> None:
    one = api.head("GET", "/healthz")
    last = api.head("GET", "/v1/nothing", Connection="close")
    answer = await api.raw(one + one + last)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"200", b"404"]
