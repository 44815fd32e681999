"""An API on a real port over the test's own servers, for the tests of HTTP.

Test files import the fixture `api`. The server and what it needs run in one task, so that no task group is open across the
fixture's yield.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from relay.api import app, listening
from relay.bus import Publisher
from relay.lease import Leases
from relay.store import cluster, connection, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.api.call import Parts
    from relay.config import Settings
    from relay.store.connection import Connection, Pool

TRUE = {"payload": {"command": "/bin/true"}}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return self.json["code"]

    @property
    def paths(self) -> list[str]:
        return sorted(fault["path"] for fault in self.json["errors"])


@dataclass(slots=True)
class ApiServer:
    """A listening API with a token for each scope."""

    parts: Parts
    address: str
    tokens: dict[str, str]
    session: aiohttp.ClientSession

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def call(self, method: str, path: str, *, scope: str | None = "admin", **options: Any) -> Answer:
        """Send one request with the token of a scope (None: without)."""
        headers = {**({"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}), **options.pop("headers", {})}
        async with self.session.request(method, f"{self.address}{path}", headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, **({"json": body} if body is not None else {}), **options)

    async def submit(self, **spec: Any) -> int:
        """Submit a job that is /bin/true unless told otherwise; its id."""
        answer = await self.post("/v1/jobs", TRUE | spec)
        assert answer.status == 201, answer.body
        return int(answer.json["id"])

    async def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """Send bytes as they are; what came back until the server closed (or its first piece)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(20):
                return await (reader.read() if until_closed else reader.read(65536))
        finally:
            writer.close()

    def head(self, method: str, path: str, **headers: str) -> bytes:
        """The head of a request, for `raw`."""
        given = {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": f"Bearer {self.tokens['admin']}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


async def _make_tokens(pool: Pool) -> dict[str, str]:
    async with connection.connection(pool) as conn:
        return {
            scope: (await tokens.create_token(conn, scope, scope=scope, actor="test"))[1]
            for scope in ("read", "submit", "admin")
        }


class Harness:
    """Runs an API in one task, from `start` until `stop`."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._started: asyncio.Future[tuple[Parts, str]] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> tuple[Parts, str]:
        self._task = asyncio.create_task(self._run())
        started: set[asyncio.Future[Any]] = {self._task, self._started}
        await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return self._started.result()

    async def stop(self) -> None:
        self._stop.set()
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        async with connection.connection(self._pool) as conn:
            found = await cluster.get_cluster(conn)
        leases = Leases(self._settings.redis_url, cluster_id=found.cluster_id, ttl_s=self._settings.lease_ttl_s)
        publisher = Publisher(self._settings, found.cluster_id)
        await publisher.start()
        parts = app.assemble(
            self._settings, cluster_id=found.cluster_id, pool=self._pool, leases=leases, publisher=publisher
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(parts.submissions.serve()), group.create_task(parts.watch.serve())]
            async with listening.listening(parts) as address:
                self._started.set_result((parts, address))
                await self._stop.wait()
            for task in tasks:
                task.cancel()
        await publisher.close()
        await leases.close()


@contextlib.asynccontextmanager
async def running_api(settings: Settings, pool: Pool) -> AsyncIterator[ApiServer]:
    """An API that listens until the block ends."""
    made = await _make_tokens(pool)
    harness = Harness(settings, pool)
    parts, address = await harness.start()
    async with aiohttp.ClientSession() as session:
        yield ApiServer(parts, address, made, session)
    await harness.stop()


@pytest.fixture
async def api_settings(settings: Settings) -> Settings:
    """Settings of the API under test; a test file may override them."""
    return dataclasses.replace(settings, port=0, max_body_bytes=64 * 1024)


@pytest.fixture
async def api(api_settings: Settings, pool: Pool) -> AsyncIterator[ApiServer]:
    """A listening API."""
    async with running_api(api_settings, pool) as running:
        yield running


@pytest.fixture
async def store(pool: Pool) -> AsyncIterator[Connection]:
    """A connection beside the API's, to play the worker with."""
    async with pool.acquire() as conn:
        yield conn
