"""The bus when something is wrong: Kafka away or silent, strangers' messages, topics with the wrong shape, a cancelled caller."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from relay import bus
from relay.bus import BadMessage, Consumer, Publisher, consumer
from relay.config import Settings
from relay.model.records import JobRef
from relay.model.states import Lane
from tests.integration.buses import Bus, fetch, relay, server
from tests.stack.waiting import until

if TYPE_CHECKING:
    import pytest

    from relay.dev.server import Server

__all__ = ["relay", "server"]

RECOVERY_S = 75.0


async def test_bad_messages_are_kept_apart_and_passed(relay: Bus) -> None:
    consumer_ = await relay.join()
    await relay.send(b"rm -rf /", None, b'{"v":2,"id":1}', b"x" * 900_000, b'{"v":1,"id":7}')

    (good,) = await fetch(consumer_, 1)
    bad = consumer_.take_bad()
    consumer_.mark_done(bad)

    assert good.job_id == 7
    assert [each.problem for each in bad] == [
        "it is not JSON",
        "it is empty",
        "its version is unknown",
        "it has 900000 bytes",
    ]
    assert all(isinstance(each, BadMessage) and len(each.head) <= 1024 for each in bad)
    assert consumer_.bad == 4
    assert consumer_.take_bad() == []


async def test_a_cancelled_fetch_loses_nothing(relay: Bus) -> None:
    consumer_ = await relay.join()
    waiting = asyncio.create_task(consumer_.fetch(10, wait_s=5))
    await until(lambda: consumer_._poll is not None)
    waiting.cancel()
    await asyncio.wait({waiting})

    job_ids = await relay.publish(relay.refs(5))

    assert sorted(message.job_id for message in await fetch(consumer_, 5)) == job_ids


async def test_a_silent_consumer_that_is_behind_is_rebuilt(relay: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_SILENT_S", 2.0)
    monkeypatch.setattr(consumer, "_ASK_EVERY_S", 1.0)
    consumer_ = await relay.join()
    assert consumer_._member is not None
    consumer_._member._kafka._fetcher._fetch_task.cancel()  # as in aiokafka#1037: it never fetches again

    job_ids = await relay.publish(relay.refs(3))

    assert sorted(message.job_id for message in await fetch(consumer_, 3)) == job_ids
    assert consumer_.rebuilt == 1


async def test_a_silent_consumer_with_nothing_to_read_is_left_alone(
    relay: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_SILENT_S", 0.2)
    monkeypatch.setattr(consumer, "_ASK_EVERY_S", 0.2)
    consumer_ = await relay.join()
    asked = asyncio.Event()
    is_behind = consumer_._member.is_behind if consumer_._member else None
    assert is_behind is not None

    async def ask() -> bool:
        answer = await is_behind()
        asked.set()
        return answer

    monkeypatch.setattr(consumer_._member, "is_behind", ask)
    while not asked.is_set():
        await consumer_.fetch(1, wait_s=0.2)
    await consumer_.fetch(1, wait_s=1.5)

    assert consumer_.rebuilt == 0


async def test_publisher_and_consumer_outlive_the_broker(relay: Bus, server: Server) -> None:
    consumer_, publisher = await relay.join(), await relay.publisher()
    publisher.publish(relay.refs(5))
    await fetch(consumer_, 5)

    await server.kill()
    try:
        publisher.publish(relay.refs(5))
        async with asyncio.timeout(30):
            await publisher.flush()
            while consumer_.is_up:
                assert await consumer_.fetch(1, wait_s=0.1) == []
        assert publisher.is_up is False
        assert publisher.dropped == 5
    finally:
        server.relaunch()
        await server.ready()

    published: set[int] = set()  # what is published before the consumer is back may go with Tansu's memory
    async with asyncio.timeout(RECOVERY_S):
        while not {message.job_id for message in await consumer_.fetch(10, wait_s=1)} & published:
            refs = relay.refs(1)
            publisher.publish(refs)
            published.add(refs[0].id)


async def test_a_worker_without_room_still_notices_that_kafka_is_gone(relay: Bus, server: Server) -> None:
    consumer_ = await relay.join()
    await until(lambda: consumer_._member and consumer_._member.is_held)

    await server.kill()
    try:
        await until(lambda: not consumer_.is_up, within_s=30)
    finally:
        server.relaunch()
        await server.ready()

    await until(lambda: consumer_.is_up, within_s=RECOVERY_S)


async def test_without_a_broker_nobody_is_kept_waiting() -> None:
    relay = Bus(Settings(db_dsn="", kafka_brokers=("127.0.0.1:1",)))
    publisher = await relay.publisher()
    consumer_ = Consumer(relay.settings, relay.cluster_id, [relay.queue])
    running = asyncio.create_task(consumer_.run())

    async with asyncio.timeout(5):
        publisher.publish(relay.refs(3))
        await publisher.flush()
        assert await consumer_.fetch(5, wait_s=0.1) == []
        assert publisher.dropped == 3
        assert publisher.is_up is False
        await publisher.close()
        await consumer_.close()
        await running


async def test_the_publishers_buffer_is_bounded() -> None:
    publisher = Publisher(Settings(db_dsn=""), uuid.uuid4())
    ref = JobRef(1, "default", Lane.NORMAL)

    for _ in range(3):
        publisher.publish([ref] * 50_000)

    assert publisher.dropped == 50_000


async def test_a_cancelled_consumer_leaves_nothing_behind(relay: Bus) -> None:
    consumer_ = await relay.join()
    (running,) = relay.consumers
    fetching = asyncio.create_task(consumer_.fetch(1, wait_s=1))
    await until(lambda: consumer_._poll is not None)
    running.cancel()
    await asyncio.wait({running, fetching})
    relay.consumers.clear()

    assert running.cancelled()
    assert fetching.result() == []
    assert not [task for task in asyncio.all_tasks() if "aiokafka" in repr(task)]


async def test_a_topic_made_on_first_use_gets_its_partitions(relay: Bus, request: pytest.FixtureRequest) -> None:
    name = bus.topic(Lane.NORMAL, relay.queue)
    wanted = bus.PARTITIONS if request.config.getoption("--stack") == "apache" else 1  # Tansu can't add any
    admin = AIOKafkaAdminClient(bootstrap_servers=relay.settings.kafka_brokers)
    await admin.start()

    async def partitions() -> int:
        (found,) = await admin.describe_topics([name])
        return len(found["partitions"])

    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
        await until(partitions)
        await bus.ensure_topics(relay.settings, [name])

        async def is_wide() -> bool:
            return await partitions() == wanted

        await until(is_wide)
    finally:
        await admin.close()
