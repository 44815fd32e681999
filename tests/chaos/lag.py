"""How far the workers' group is behind in Kafka: messages that can be read, and are not committed as done.

Offsets alone don't tell: a produce that failed while a topic was being made anew leaves the embedded broker with an end offset and no
message, so what seems to wait is read here. A message that nobody can read is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

SETTLED_S = 60.0  # as long as a consumer that has fallen silent may take to be rebuilt
LOOK_S = 0.5
JOIN_S = 30.0
READ_MS = 1000


async def settled(scene: Scene) -> int:
    """Wait until there is no lag; what is left of it when that takes too long."""
    group = await _group(scene.dsn)
    deadline = time.monotonic() + SETTLED_S
    while True:
        behind = -1
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            behind = await _look(scene.stores.kafka.proxy.address, group)
        if behind == 0 or time.monotonic() > deadline:
            return behind
        await asyncio.sleep(LOOK_S)


async def rewind(scene: Scene) -> int:
    """Have the workers' group, of which nobody may be a member, begin again at the earliest offsets; how many messages that are."""
    kafka = _consumer(scene.stores.kafka.proxy.address, await _group(scene.dsn))
    async with asyncio.timeout(JOIN_S):
        await kafka.start()
        try:
            kafka.subscribe([topic for topic in await kafka.topics() if topic.startswith("relay.jobs.")])
            while not kafka.assignment():  # the embedded broker takes commits from members only
                await kafka.getmany(timeout_ms=100)
            parts = list(kafka.assignment())
            first, ends = await kafka.beginning_offsets(parts), await kafka.end_offsets(parts)
            await kafka.commit(first)
            return sum(ends[part] - first[part] for part in parts)
        finally:
            await kafka.stop()


def _consumer(brokers: str, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=brokers, group_id=group, enable_auto_commit=False)


async def _assign_all(kafka: AIOKafkaConsumer) -> list[TopicPartition]:
    topics = [topic for topic in await kafka.topics() if topic.startswith("relay.jobs.")]
    parts = [TopicPartition(topic, part) for topic in topics for part in kafka.partitions_for_topic(topic) or ()]
    kafka.assign(parts)
    return parts


async def _look(brokers: str, group: str) -> int:
    kafka = _consumer(brokers, group)
    async with asyncio.timeout(10):
        await kafka.start()
        try:
            parts = await _assign_all(kafka)
            first, ends = await kafka.beginning_offsets(parts), await kafka.end_offsets(parts)
            done = {part: await kafka.committed(part) or first[part] for part in parts if ends[part] > first[part]}
            behind = [part for part, offset in done.items() if offset < ends[part]]
            kafka.assign(behind)
            for part in behind:
                kafka.seek(part, done[part])
            found = await kafka.getmany(timeout_ms=READ_MS) if behind else {}
            return sum(map(len, found.values()))
        finally:
            await kafka.stop()


async def _group(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return f"relay-{await connection.fetchval('SELECT cluster_id FROM cluster')}"
    finally:
        await connection.close()
