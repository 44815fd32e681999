"""Kafka and Redis may be absent, or lose everything, at any time: each job still runs to its end, and only once.

Each script appends its job's id and attempt to one file; so a second execution shows, whatever the tables say.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from redis import asyncio as redis

from relay.dev import broker, ports, redis_server
from tests.stack import apache, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from relay.dev.redis_server import Redis
    from relay.dev.server import Server
    from tests.stack import Cluster, Stack, StartCluster

JOBS = 200
WITHIN_S = 60.0
SHORT, LONG = "0.1", "5"
MANY_SLOTS = {"RELAY_CONCURRENCY": "16"}
TTL = {"RELAY_LEASE_TTL": "6s"}  # renewed every 2 s


@pytest.fixture
def dead_address() -> Iterator[str]:
    """An address of this machine where nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind((ports.HOST, 0))
        yield f"{ports.HOST}:{held.getsockname()[1]}"


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis for this test alone."""
    server = redis_server.start(tmp_path, log=tmp_path / "redis.log")
    await server.ready()
    yield server
    server.child.kill()


class OwnKafka:
    """A broker of the stack's kind for one test, which can lose all its data."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._wipe: Callable[[], None] = lambda: None  # the embedded broker keeps nothing
        if stack.name == "apache":
            libraries = apache.fetch_libraries()
            self.server: Server = apache.start(folder / "kafka", libraries)
            self._wipe = lambda: apache.format_storage(folder / "kafka", libraries)
        else:
            self.server = broker.start(folder, log=folder / "kafka.log")

    async def come_back_empty(self) -> None:
        """Start again at the same address, with nothing of what there was."""
        await asyncio.to_thread(self._wipe)
        self.server.relaunch()
        await self.server.ready()


@pytest.fixture
async def own_kafka(stack: Stack, tmp_path: Path) -> AsyncIterator[OwnKafka]:
    """A Kafka for this test alone."""
    kafka = OwnKafka(stack, tmp_path)
    await kafka.server.ready()
    yield kafka
    kafka.server.child.kill()


class Journal:
    """What the jobs of one test have written themselves."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "journal"
        self.ids: list[int] = []

    @property
    def lines(self) -> list[str]:
        """`id attempt` of each start."""
        return self._file.read_text().splitlines() if self._file.exists() else []

    async def submit(self, relay: Cluster, count: int, *, last_s: str = SHORT) -> None:
        """Submit so many jobs at once."""
        script = 'echo "$RELAY_JOB_ID $RELAY_ATTEMPT" >> "$1"; exec sleep "$2"'
        spec = {"payload": {"script": script, "args": [str(self._file), last_s]}}
        status, answer = await relay.request("POST", "/v1/jobs/batch", [spec] * count)
        assert status == 201, answer
        self.ids += answer["ids"]

    async def started(self, count: int) -> None:
        """Wait until so many have started."""
        await until(lambda: len(self.lines) >= count, within_s=WITHIN_S, what=f"{count} jobs started")

    async def completed_once(self, relay: Cluster) -> None:
        """Wait until all jobs have completed, and see that each has been started once."""
        states = await until(lambda: _ended(relay, len(self.ids)), within_s=WITHIN_S, what="the end of all jobs")
        assert states == dict.fromkeys(self.ids, "COMPLETED")
        assert sorted(self.lines) == sorted(f"{job_id} 1" for job_id in self.ids)


async def _ended(relay: Cluster, count: int) -> dict[int, str] | None:
    _, found = await relay.request("GET", f"/v1/jobs?limit={count}&status=completed&status=dead&status=cancelled")
    states = {job["id"]: job["status"] for job in found["items"]}
    return states if len(states) >= count else None


async def parts(relay: Cluster) -> dict[str, Any]:
    """What /readyz says."""
    status, answer = await relay.request("GET", "/readyz")
    assert status == 200
    return dict(answer)


async def test_all_jobs_complete_where_kafka_was_never_reachable(
    cluster: StartCluster, dead_address: str, tmp_path: Path
) -> None:
    relay = await cluster(workers=2, environ={**MANY_SLOTS, "RELAY_KAFKA_BROKERS": dead_address})
    journal = Journal(tmp_path)
    await journal.submit(relay, JOBS)
    await journal.completed_once(relay)


async def test_all_jobs_complete_where_kafka_stops_midway_and_returns_empty(
    cluster: StartCluster, own_kafka: OwnKafka, tmp_path: Path
) -> None:
    relay = await cluster(workers=2, environ={**MANY_SLOTS, "RELAY_KAFKA_BROKERS": own_kafka.server.address})
    journal = Journal(tmp_path)
    await journal.submit(relay, JOBS // 2)
    await journal.started(JOBS // 10)
    await own_kafka.server.kill()
    await journal.submit(relay, JOBS // 4)
    await journal.started(JOBS // 2 + JOBS // 10)
    await own_kafka.come_back_empty()
    await journal.submit(relay, JOBS // 4)
    await journal.completed_once(relay)
    await until(lambda: _is_up(relay, "kafka"), what="Kafka in use again")


async def _is_up(relay: Cluster, part: str) -> bool:
    return bool((await parts(relay))[part] == "up")


async def test_all_jobs_complete_where_redis_forgets_everything_every_second(
    cluster: StartCluster, own_redis: Redis, tmp_path: Path
) -> None:
    relay = await cluster(workers=2, environ={**MANY_SLOTS, **TTL, "RELAY_REDIS_ADDR": own_redis.url})
    journal = Journal(tmp_path)
    async with asyncio.TaskGroup() as tasks:
        flushing = tasks.create_task(_flush_every_second(own_redis))
        await journal.submit(relay, JOBS // 20, last_s=LONG)
        await journal.submit(relay, JOBS - JOBS // 20)
        await journal.completed_once(relay)
        flushing.cancel()


async def _flush_every_second(server: Redis) -> None:
    async with redis.from_url(server.url) as client:
        while True:
            await client.flushall()
            await asyncio.sleep(1)


async def test_all_jobs_complete_where_redis_was_never_reachable(
    cluster: StartCluster, dead_address: str, tmp_path: Path
) -> None:
    relay = await cluster(workers=2, environ={**MANY_SLOTS, "RELAY_REDIS_ADDR": dead_address})
    journal = Journal(tmp_path)
    await journal.submit(relay, JOBS // 4)
    await journal.completed_once(relay)


async def test_outages_of_redis_and_kafka_are_degraded_and_not_down(cluster: StartCluster, dead_address: str) -> None:
    relay = await cluster(workers=0, environ={"RELAY_REDIS_ADDR": dead_address, "RELAY_KAFKA_BROKERS": dead_address})
    found = await parts(relay)
    assert [found[name] for name in ("status", "postgresql", "redis", "kafka")] == ["degraded", "up", "down", "down"]
