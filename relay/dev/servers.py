"""The three servers together: real PostgreSQL, real Redis, a Kafka-compatible broker.

`relay dev` and the tests start the same ones by the same functions: there is no second implementation of a store. Starting is
quick and synchronous (children must come from the main thread); being ready is awaited for all at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.dev import broker, ports, postgres, redis_server

if TYPE_CHECKING:
    from pathlib import Path

    from relay.dev.child import Child

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers."""

    postgres: postgres.Postgres
    redis: redis_server.Redis
    broker: broker.Broker

    @property
    def children(self) -> tuple[Child, ...]:
        """Their processes."""
        return (self.postgres.child, self.redis.child, self.broker.child)

    async def ready(self) -> None:
        """Wait until all three answer. Raises Unavailable, with the end of the log of the one that doesn't."""
        for server in (self.postgres, self.redis, self.broker):
            await ports.wait_until_ready(server.child, server.is_ready, within_s=READY_S)

    async def stop(self) -> None:
        """End all three."""
        async with asyncio.TaskGroup() as group:
            for server in (self.postgres, self.redis, self.broker):
                group.create_task(server.stop())

    def kill(self) -> None:
        """End all three at once. PostgreSQL recovers from its log at the next start."""
        for child in self.children:
            child.kill()


def start(folder: Path, *, is_durable: bool) -> Servers:
    """Start the servers with their data and logs in `folder`. Raises BadConfig when the extra `dev` is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    return Servers(
        postgres.start(folder / "postgres", log=logs / "postgres.log", is_durable=is_durable),
        redis_server.start(folder, log=logs / "redis.log"),
        broker.start(folder, log=logs / "broker.log"),
    )
