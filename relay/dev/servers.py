"""The three stores together: real PostgreSQL, real Redis, a Kafka-compatible broker.

`relay dev` and the tests start the same ones by the same functions: there is no second implementation of a store. Starting is
quick and synchronous (children must come from the main thread); that they are ready is awaited afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.dev import broker, postgres, redis_server, wheels

if TYPE_CHECKING:
    from pathlib import Path

    from relay.dev.server import Server


@dataclass(frozen=True, slots=True)
class Servers:
    """The running stores."""

    postgres: postgres.Postgres
    redis: redis_server.Redis
    broker: Server

    @property
    def all(self) -> tuple[Server, ...]:
        """Each of them."""
        return (self.postgres, self.redis, self.broker)

    async def ready(self) -> None:
        """Wait until all three answer. Raises Unavailable, with the end of the log of the one that doesn't."""
        for server in self.all:
            await server.ready()

    async def stop(self) -> None:
        """End all three."""
        async with asyncio.TaskGroup() as group:
            for server in self.all:
                group.create_task(server.stop())

    def kill(self) -> None:
        """End all three at once. PostgreSQL recovers from its log at the next start."""
        for server in self.all:
            server.child.kill()


def start(folder: Path, *, is_durable: bool) -> Servers:
    """Start the stores with their data and logs in `folder`. Raises BadConfig when the extra `dev` is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs = folder / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    wheels.require()
    return Servers(
        postgres.start(folder / "postgres", log=logs / "postgres.log", is_durable=is_durable),
        redis_server.start(folder, log=logs / "redis.log"),
        broker.start(folder, log=logs / "broker.log"),
    )
