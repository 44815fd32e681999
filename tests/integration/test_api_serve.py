"""`relay serve` as a process: how it starts, refuses to start, and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import asyncpg

from relay.dev import ports
from relay.store import tokens
from tests.stack.waiting import until

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from relay.config import Settings


class Served:
    """A `relay serve` with its log."""

    def __init__(self, process: Process, log: Path, api: str) -> None:
        self.process = process
        self.log = log
        self.api = api

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.api}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def end(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()


async def start(settings: Settings, folder: Path, **environ: str) -> Served:
    """Start `relay serve` on a free port."""
    port = int(environ.get("RELAY_PORT") or ports.free_port())
    given = {
        "PATH": os.environ["PATH"],
        "RELAY_DB_DSN": settings.db_dsn,
        "RELAY_KAFKA_BROKERS": ",".join(settings.kafka_brokers),
        "RELAY_REDIS_ADDR": settings.redis_url,
        "RELAY_PORT": str(port),
        **environ,
    }
    log = folder / f"serve-{port}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "relay", "serve", env=given, stdout=stderr, stderr=stderr
        )
    return Served(process, log, f"http://127.0.0.1:{port}")


async def note(event: asyncio.Event, *_: object) -> None:
    event.set()


async def test_it_starts_answers_and_ends_with_0(settings: Settings, db: str, tmp_path: Path) -> None:
    served = await start(settings, tmp_path)
    await until(served.is_ready, within_s=30, what=f"ready; {served.log.read_text()}")
    assert "relay token create" in served.log.read_text()
    connection = await asyncpg.connect(db)
    _, text = await tokens.create_token(connection, "t", scope="submit", actor="test")
    await connection.close()
    sent, tracing = asyncio.Event(), aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(partial(note, sent))
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {text}"}, trace_configs=[tracing]) as session:
        async with session.post(f"{served.api}/v1/jobs", json={"payload": {"command": "true"}}) as answer:
            job = await answer.json()
            assert answer.status == 201
        sent.clear()
        waiting = asyncio.create_task(session.get(f"{served.api}/v1/jobs/{job['id']}?wait=60s"))
        await sent.wait()
        following = await session.get(
            f"{served.api}/v1/jobs/{job['id']}/logs?follow=true", headers={"Accept": "text/event-stream"}
        )
        assert await served.end() == 0, served.log.read_text()
        assert (await (await waiting).json())["status"] == "PENDING"
        assert b"retry: 1000" in await following.content.read()
        following.close()


async def test_a_port_that_is_taken_is_told_in_one_line(settings: Settings, tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    served = await start(settings, tmp_path, RELAY_PORT=str(port))
    async with asyncio.timeout(30):
        assert await served.process.wait() == 78
    taken.close()
    assert f"can't listen on 127.0.0.1:{port}" in served.log.read_text()
    assert "Traceback" not in served.log.read_text()


async def test_another_lease_ttl_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    first = await start(settings, tmp_path)
    await until(first.is_ready, within_s=30, what="ready")
    second = await start(settings, tmp_path, RELAY_LEASE_TTL="7s")
    async with asyncio.timeout(30):
        assert await second.process.wait() == 78
    assert "RELAY_LEASE_TTL is 7s, but this cluster runs with 15s" in second.log.read_text()
    assert await first.end() == 0


async def test_it_waits_for_postgresql_and_can_be_stopped_meanwhile(settings: Settings, tmp_path: Path) -> None:
    served = await start(settings, tmp_path, RELAY_DB_DSN="postgresql://nobody@127.0.0.1:1/none")
    await until(lambda: "serve.waiting_for_postgresql" in served.log.read_text(), within_s=30, what="the wait")
    assert await served.end() == 0
    assert "Traceback" not in served.log.read_text()
