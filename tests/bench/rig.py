"""What the benchmarks share: a stack, a fresh database, a cluster on it, bulk submits, and lines on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from relay import config
from tests import stack as stacks
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import asyncpg

TRUE = {"payload": {"command": "/bin/true"}, "max_retries": 0}
BATCH = 2000
DRAIN_S = 900.0
LOOK_S = 0.5


@contextlib.asynccontextmanager
async def cluster(stack: stacks.Stack, folder: Path, *, workers: int, slots: int) -> AsyncIterator[stacks.Cluster]:
    """A Relay of real processes on a fresh database; the first job has run."""
    await databases.create_template(stack.pg_admin_dsn)
    name = await databases.create(stack.pg_admin_dsn)
    environ = {
        "RELAY_DB_DSN": databases.dsn_of(stack.pg_admin_dsn, name),
        "RELAY_KAFKA_BROKERS": stack.kafka_brokers,
        "RELAY_REDIS_ADDR": stack.redis_url,
        "RELAY_CONCURRENCY": str(slots),
    }
    starter = stacks.StartCluster(config.load(environ, role="work"), folder)
    try:
        relay = await starter(workers=workers)
        await relay.wait(await relay.submit(TRUE))
        yield relay
    finally:
        await starter.kill_all()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder for servers and logs."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as path:
        yield Path(path)


async def submit_all(relay: stacks.Cluster, specs: Sequence[dict[str, Any]]) -> list[int]:
    """Submit in batches; the ids in order."""
    ids: list[int] = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {relay.token}"}) as session:
        for at in range(0, len(specs), BATCH):
            async with session.post(f"{relay.api}/v1/jobs/batch", json=list(specs[at : at + BATCH])) as answer:
                assert answer.status == 201, await answer.text()
                ids += (await answer.json())["ids"]
    return ids


async def drained(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until no job waits or runs. Looks seldom: the look reads the whole table."""

    async def look() -> bool:
        await asyncio.sleep(LOOK_S)
        left: int = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE status IN ('PENDING', 'RUNNING', 'FAILED')"
        )
        return left == 0

    await stacks.until(look, within_s=DRAIN_S, what="the drain")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
