"""Publisher and consumer against a broker of the tests' own, which is killed and started again.

`--stack=apache` runs them against Apache Kafka; otherwise it is Tansu, which forgets everything when it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from relay import bus
from relay.bus import BadMessage, Consumer, Message, Publisher, consumer
from relay.config import Settings
from relay.dev import broker as tansu
from relay.model.records import JobRef
from relay.model.states import Lane
from tests.stack import apache
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from relay.dev.server import Server

RECOVERY_S = 75.0
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("broker")
    if request.config.getoption("--stack") == "apache":
        started = apache.start(folder / "kafka", apache.fetch_libraries())
    else:
        started = tansu.start(folder, log=folder / "tansu.log")
    asyncio.run(started.ready())
    yield started
    started.child.kill()


@dataclass
class Bus:
    """One queue of one Relay, with its publishers and consumers."""

    settings: Settings
    cluster_id: uuid.UUID = field(default_factory=uuid.uuid4)
    queue: str = field(default_factory=lambda: f"q{uuid.uuid4().hex}")
    consumers: dict[asyncio.Task[None], Consumer] = field(default_factory=dict)
    publishers: list[Publisher] = field(default_factory=list)

    def refs(self, count: int, lane: Lane = Lane.NORMAL) -> list[JobRef]:
        return [JobRef(next(_ids), self.queue, lane) for _ in range(count)]

    async def publisher(self) -> Publisher:
        made = Publisher(self.settings, self.cluster_id)
        self.publishers.append(made)
        await made.start()
        return made

    async def join(self) -> Consumer:
        made = Consumer(self.settings, self.cluster_id, [self.queue])
        self.consumers[asyncio.create_task(made.run())] = made
        await until(lambda: made.is_up, within_s=30, what="no member joined")
        return made

    async def publish(self, refs: Iterable[JobRef]) -> list[int]:
        sent, publisher = list(refs), await self.publisher()
        publisher.publish(sent)
        await publisher.flush()
        assert publisher.sent == len(sent)
        return [ref.id for ref in sent]

    async def send(self, *values: bytes | None) -> None:
        """Send what a stranger might."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_brokers, max_request_size=20_000_000
        ) as kafka:
            for value in values:
                await kafka.send_and_wait(bus.topic(Lane.NORMAL, self.queue), value, key=b"k", partition=0)

    async def close(self) -> None:
        for task, each in self.consumers.items():
            await each.close()
            await asyncio.wait({task})
            task.result()
        for publisher in self.publishers:
            await publisher.close()


@pytest.fixture
async def relay(server: Server) -> AsyncIterator[Bus]:
    made = Bus(Settings(db_dsn="", kafka_brokers=(server.address,)))
    yield made
    await made.close()


async def fetch(consumer_: Consumer, count: int, *, within_s: float = 30.0) -> list[Message]:
    """Fetch `count` messages and mark them done."""
    found: list[Message] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            messages = await consumer_.fetch(count - len(found), wait_s=0.5)
            consumer_.mark_done(messages)
            found += messages
    return found


async def test_what_is_published_is_fetched_once(relay: Bus) -> None:
    consumer_ = await relay.join()

    job_ids = await relay.publish([ref for lane in Lane for ref in relay.refs(200, lane)])

    assert sorted(message.job_id for message in await fetch(consumer_, 600)) == job_ids
    assert await consumer_.fetch(1, wait_s=0.2) == []


async def test_jobs_published_in_one_go_are_dealt_to_all_partitions(relay: Bus) -> None:
    consumer_ = await relay.join()
    await relay.publish(relay.refs(bus.PARTITIONS))

    messages = await fetch(consumer_, bus.PARTITIONS)

    assert {message.tp.partition for message in messages} == set(range(bus.PARTITIONS))


async def test_the_high_lane_comes_first(relay: Bus) -> None:
    consumer_ = await relay.join()
    await relay.publish([ref for lane in (Lane.LOW, Lane.NORMAL, Lane.HIGH) for ref in relay.refs(64, lane)])
    assert consumer_._member is not None
    kafka = consumer_._member._kafka
    kafka.resume(*kafka.assignment())
    await until(lambda: len(kafka._fetcher._records) == 96, what="not all partitions were fetched")

    lanes = [message.lane for message in await fetch(consumer_, 192)]

    assert lanes == [Lane.HIGH] * 64 + [Lane.NORMAL] * 64 + [Lane.LOW] * 64


async def test_what_came_first_but_of_a_lower_lane_is_put_back_and_comes_later(relay: Bus) -> None:
    consumer_ = await relay.join()
    sent = [job_id for lane in reversed(Lane) for job_id in await relay.publish(relay.refs(4, lane))]

    found = [await until(lambda: consumer_.fetch(1, wait_s=0.5)) for _ in sent]

    assert sorted(message.job_id for (message,) in found) == sorted(sent)
    assert await consumer_.fetch(1, wait_s=0.2) == []


async def test_a_fetch_brings_no_more_than_there_is_room_for(relay: Bus) -> None:
    consumer_ = await relay.join()
    job_ids = await relay.publish(relay.refs(50))

    first = await until(lambda: consumer_.fetch(3, wait_s=0.5))
    rest = await fetch(consumer_, 50 - len(first))

    assert 1 <= len(first) <= 3
    assert sorted(message.job_id for message in [*first, *rest]) == job_ids


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


async def test_what_is_done_is_not_seen_again_and_what_is_not_is(relay: Bus) -> None:
    first = await relay.join()
    await relay.send(*(b'{"v":1,"id":%d}' % job_id for job_id in (1, 2, 3)))
    messages: list[Message] = []
    while len(messages) < 3:
        messages += await first.fetch(3, wait_s=0.5)
    first.mark_done([messages[0], messages[2]])
    await first.close()

    second = await relay.join()

    assert [message.job_id for message in await fetch(second, 2)] == [2, 3]


async def test_a_cancelled_fetch_loses_nothing(relay: Bus) -> None:
    consumer_ = await relay.join()
    waiting = asyncio.create_task(consumer_.fetch(10, wait_s=5))
    await until(lambda: consumer_._poll is not None)
    waiting.cancel()
    await asyncio.wait({waiting})

    job_ids = await relay.publish(relay.refs(5))

    assert sorted(message.job_id for message in await fetch(consumer_, 5)) == job_ids


async def test_members_share_the_messages_and_take_over_from_one_that_leaves(relay: Bus) -> None:
    first, second = await relay.join(), await relay.join()
    async with asyncio.timeout(30):
        while not all(each._member and 0 < len(each._member.assignment) < 96 for each in (first, second)):
            await asyncio.gather(*(each.fetch(1, wait_s=0.1) for each in (first, second)))

    job_ids = await relay.publish(relay.refs(200))
    found: list[set[int]] = [set(), set()]
    async with asyncio.timeout(30):
        while found[0] | found[1] < set(job_ids):
            for share, each in zip(found, (first, second), strict=True):
                messages = await each.fetch(50, wait_s=0.05)
                each.mark_done(messages)
                share |= {message.job_id for message in messages}
    await second.close()
    more = await relay.publish(relay.refs(200))

    assert all(found)
    assert set(more) <= {message.job_id for message in await fetch(first, 200)}


async def test_a_worker_without_room_holds_its_partitions_until_it_has_some(relay: Bus) -> None:
    consumer_ = await relay.join()
    assert await consumer_.fetch(1, wait_s=0.1) == []
    await until(lambda: consumer_._member and consumer_._member.is_held)
    job_ids = await relay.publish(relay.refs(3))

    assert sorted(message.job_id for message in await fetch(consumer_, 3, within_s=5)) == job_ids


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
