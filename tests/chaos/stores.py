"""The three stores of a chaos run, each behind proxies, each able to be stopped, killed, wiped and started again.

PostgreSQL is durable here, unlike in other tests: what it has acknowledged must survive its own kill -9. Redis and the embedded broker
keep nothing, so each restart is a wipe. Kafka tells its clients an address of its own; it is told to name its proxy's.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
from redis import asyncio as redis

from relay.dev import child, ports, postgres, redis_server, wheels
from relay.dev.server import Server
from tests.chaos.proxy import Proxy
from tests.stack import apache, databases

if TYPE_CHECKING:
    from pathlib import Path

    from relay.dev.postgres import Postgres
    from relay.dev.redis_server import Redis


@dataclass(slots=True)
class Kafka:
    """A broker behind its proxy. `wipe` must be called while it is down."""

    server: Server
    proxy: Proxy
    folder: Path
    libraries: Path | None

    async def wipe(self) -> None:
        """Lose all data (the embedded broker has done so by ending)."""
        if self.libraries is not None:
            await asyncio.to_thread(apache.format_storage, self.folder, self.libraries)


@dataclass(slots=True)
class Stores:
    """All three. The addresses here are their own; those of the proxies are what Relay gets."""

    postgres: Postgres
    redis: Redis
    kafka: Kafka

    async def ready(self) -> None:
        """Wait until all answer."""
        for server in (self.postgres, self.redis, self.kafka.server):
            await server.ready()

    async def start_again(self, server: Server) -> None:
        """Start a server that has ended."""
        server.relaunch()
        await server.ready()

    async def restart_postgres(self, *, is_immediate: bool = False, down_s: float = 0.0) -> None:
        """`pg_ctl restart -m fast` or `-m immediate`, with a time in between."""
        self.postgres.child.signal(signal.SIGQUIT if is_immediate else signal.SIGINT)
        async with asyncio.timeout(30):
            await self.postgres.child.ended()
        await asyncio.sleep(down_s)
        await self.start_again(self.postgres)

    async def restart_redis(self, *, down_s: float = 0.0) -> None:
        """Kill Redis and start another, empty one in its place."""
        await self.redis.kill()
        await asyncio.sleep(down_s)
        await self.start_again(self.redis)

    async def flush_redis(self) -> None:
        """FLUSHALL."""
        async with redis.from_url(self.redis.url) as client:
            await client.flushall()

    async def restart_kafka(self, *, down_s: float = 0.0, is_wiped: bool = False) -> None:
        """Kill the broker and start it again, with its data or without."""
        await self.kafka.server.kill()
        if is_wiped:
            await self.kafka.wipe()
        await asyncio.sleep(down_s)
        await self.start_again(self.kafka.server)

    async def new_database(self) -> str:
        """A fresh migrated database: its DSN, past all proxies."""
        admin = self.postgres.dsn("postgres")
        connection = await asyncpg.connect(admin)
        try:
            has_template = await connection.fetchval(
                "SELECT true FROM pg_database WHERE datname = $1", databases.TEMPLATE
            )
        finally:
            await connection.close()
        if not has_template:
            await databases.create_template(admin)
        return databases.dsn_of(admin, await databases.create(admin))

    async def heal(self) -> None:
        """Start what is down, let go on what is stopped."""
        await self.kafka.proxy.heal()
        for server in (self.postgres, self.redis, self.kafka.server):
            server.child.signal(signal.SIGCONT)
            if not server.child.is_running:
                server.relaunch()
        await self.ready()

    async def end(self) -> None:
        """End everything at once."""
        await self.kafka.proxy.stop()
        for server in (self.postgres, self.redis, self.kafka.server):
            server.child.signal(signal.SIGCONT)
            await server.kill()


async def start(
    folder: Path, *, stack: str, kafka_host: str = ports.HOST, postgres_folder: Path | None = None
) -> Stores:
    """Start all stores: `embedded` or `apache`."""
    _make(folder)
    kafka = await _start_kafka(folder, stack=stack, host=kafka_host)
    database = postgres.start(postgres_folder or folder / "postgres", log=folder / "postgres.log", is_durable=True)
    stores = Stores(database, redis_server.start(folder, log=folder / "redis.log"), kafka)
    await stores.ready()
    return stores


async def _start_kafka(folder: Path, *, stack: str, host: str) -> Kafka:
    if stack == "apache":
        libraries = apache.fetch_libraries()
        proxy = Proxy(ports.free_port(), host=host)
        server = apache.start(folder / "kafka", libraries, advertised=proxy.address, port=proxy.target_port)
        kafka = Kafka(server, proxy, folder / "kafka", libraries)
    else:
        port = ports.free_port()
        proxy = Proxy(port, host=host)
        argv = [str(wheels.broker_program()), "broker", "--storage-engine", "memory://tansu/"]
        argv += ["--listener-url", f"tcp://{ports.HOST}:{port}"]
        argv += ["--advertised-listener-url", f"tcp://{proxy.address}"]
        log, env = folder / "kafka.log", {"PATH": "/usr/bin:/bin"}
        server = Server(lambda: child.spawn("Kafka broker", argv, cwd=folder, log=log, env=env), port)
        kafka = Kafka(server, proxy, folder, None)
    await proxy.start()
    return kafka


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
