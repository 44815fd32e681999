"""One Relay for all tests of a module: a start costs seconds, and jobs don't disturb each other.

A test that hurts servers or workers, or counts what there is, starts its own with `cluster`. Where a test needs a worker that is
busy, absent or stopped, it gives the worker a queue of its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from relay import config
from tests.stack import StartCluster, databases, topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stack import Cluster, Stack


@contextlib.asynccontextmanager
async def started(stack: Stack, folder: Path) -> AsyncIterator[Cluster]:
    """A server and a worker on a database of their own; nothing of them stays."""
    name = await databases.create(stack.pg_admin_dsn)
    environ = {
        "RELAY_DB_DSN": databases.dsn_of(stack.pg_admin_dsn, name),
        "RELAY_KAFKA_BROKERS": stack.kafka_brokers,
        "RELAY_REDIS_ADDR": stack.redis_url,
        "RELAY_CONCURRENCY": "4",
    }
    start = StartCluster(config.load(environ, role="work"), folder)
    try:
        yield await start()
    finally:
        await start.kill_all()
        await topics.remove_all(stack.kafka_brokers)
        await databases.drop(stack.pg_admin_dsn, name)
