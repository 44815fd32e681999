"""A whole Relay for one test: `relay serve` and any number of `relay work`, as real processes on free ports.

They share the test's database, an admin token made through the store, and one environment. Nothing outlives the test.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg

from relay.dev import ports
from relay.process import tree
from relay.store import tokens
from tests.stack import processes
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from relay.config import Settings
    from relay.dev.child import Child

READY_S = 20.0
CLI_S = 60.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A command of the CLI that has ended."""

    code: int
    stdout: bytes
    stderr: bytes


@dataclass(slots=True)
class Cluster:
    """A running Relay. `environ` is what its processes and its CLI get."""

    db_dsn: str
    token: str = field(repr=False)
    environ: dict[str, str] = field(repr=False)
    folder: Path
    servers: list[processes.Server] = field(default_factory=list)
    workers: list[processes.Worker] = field(default_factory=list)
    _children: list[Child] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def api(self) -> str:
        """The first server's address."""
        return self.servers[0].api

    async def start_server(self, *, port: int = 0, environ: Mapping[str, str] | None = None) -> processes.Server:
        """Start a `relay serve` (on the port of an earlier one: a restart) and wait until it is ready."""
        port = port or ports.free_port()
        started = self._spawn("serve", {"RELAY_PORT": str(port), **(environ or {})})
        server = processes.Server(started, f"http://{ports.HOST}:{port}")
        self.servers.append(server)
        await until(lambda: _is_ready(server), within_s=READY_S, what=f"/readyz of {server.api}")
        return server

    async def restart_server(self, server: processes.Server) -> processes.Server:
        """Start a server again at the address of one that has ended."""
        index = self.servers.index(server)
        await server.end()
        fresh = await self.start_server(port=int(server.api.rpartition(":")[2]))
        self.servers.pop()
        self.servers[index] = fresh
        return fresh

    async def start_worker(
        self, *, environ: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> processes.Worker:
        """Start a `relay work` (by a program that `before` names) and wait until it has registered."""
        started = self._spawn("work", environ or {}, before)
        connection = await asyncpg.connect(self.db_dsn)
        try:
            worker_id, pid = await until(
                lambda: _registered(connection, started.pid), within_s=READY_S, what=f"a worker's row ({started.log})"
            )
        finally:
            await connection.close()
        worker = processes.Worker(started, worker_id, pid)
        self.workers.append(worker)
        return worker

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP request with the cluster's token: status and parsed JSON (None: no body)."""
        given = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with (
            aiohttp.ClientSession(headers=given) as session,
            session.request(method, self.api + path, json=body) as answer,
        ):
            is_json = "json" in answer.content_type
            return answer.status, await answer.json(content_type=None) if is_json else await answer.text()

    async def submit(self, spec: Mapping[str, object]) -> int:
        """Submit one job: its id."""
        status, job = await self.request("POST", "/v1/jobs", spec)
        assert status == 201, job
        return int(job["id"])

    async def job(self, job_id: int) -> dict[str, Any]:
        """A job with its attempts."""
        status, job = await self.request("GET", f"/v1/jobs/{job_id}")
        assert status == 200, job
        return dict(job)

    async def wait(self, job_id: int, *statuses: str, within_s: float = 30.0) -> dict[str, Any]:
        """Wait until the job has one of these states (default: a terminal one): the job."""
        wanted = statuses or ("COMPLETED", "DEAD", "CANCELLED")

        async def look() -> dict[str, Any] | None:
            job = await self.job(job_id)
            return job if job["status"] in wanted else None

        return await until(look, within_s=within_s, what=f"job {job_id} in {wanted}")

    async def cli(self, *arguments: str, stdin: bytes = b"", timeout_s: float = CLI_S) -> Completed:
        """Run a `relay` command against this cluster to its end."""
        command = await asyncio.create_subprocess_exec(
            *processes.RELAY,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self.environ, "RELAY_API": self.api, "RELAY_TOKEN": self.token},
        )
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await command.communicate(stdin)
        finally:
            if command.returncode is None:
                command.kill()
        assert command.returncode is not None
        return Completed(command.returncode, stdout, stderr)

    async def end(self) -> None:
        """Leave nothing of it running."""
        for process in (*self.workers, *self.servers):
            await process.end()
        for child in self._children:
            child.kill()

    def _spawn(self, role: str, environ: Mapping[str, str], before: Sequence[str] = ()) -> Child:
        name = f"{role}-{next(self._numbers)}"
        started = processes.spawn(name, role, folder=self.folder, environ={**self.environ, **environ}, before=before)
        self._children.append(started)
        return started


class StartCluster:
    """Starts clusters for one test: `relay = await cluster(workers=2, environ={"RELAY_LEASE_TTL": "3s"})`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._started: list[Cluster] = []

    async def __call__(
        self, *, servers: int = 1, workers: int = 1, environ: Mapping[str, str] | None = None
    ) -> Cluster:
        """Start a cluster on the test's database. `environ` adds to its processes' environment, or changes it."""
        relay = Cluster(
            self._settings.db_dsn, await _token(self._settings.db_dsn), self._environ(environ), self._folder
        )
        self._started.append(relay)
        for _ in range(servers):
            await relay.start_server()
        for _ in range(workers):
            await relay.start_worker()
        return relay

    async def kill_all(self) -> None:
        """End every cluster that was started."""
        for relay in self._started:
            await relay.end()

    def _environ(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        return {
            **processes.base_environ(),
            "RELAY_DB_DSN": self._settings.db_dsn,
            "RELAY_KAFKA_BROKERS": ",".join(self._settings.kafka_brokers),
            "RELAY_REDIS_ADDR": self._settings.redis_url,
            "RELAY_CONCURRENCY": str(self._settings.concurrency),
            **(extra or {}),
        }


async def _token(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return (await tokens.create_token(connection, "tests", scope="admin", actor="cli:tests"))[1]
    finally:
        await connection.close()


async def _is_ready(server: processes.Server) -> bool:
    assert server.child.is_running, server.output
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{server.api}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _registered(connection: asyncpg.Connection[asyncpg.Record], guard_pid: int) -> tuple[int, int] | None:
    """Id and pid of the worker below this guard, once it has its row."""
    assert tree.start_time(guard_pid) is not None, "the guard has ended"
    below = [process.pid for process in tree.descendants(guard_pid, procs=tree.snapshot())]
    row = await connection.fetchrow(
        "SELECT id, pid FROM workers WHERE pid = ANY($1) ORDER BY id DESC LIMIT 1", [guard_pid, *below]
    )
    return (row["id"], row["pid"]) if row else None
