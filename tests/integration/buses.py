"""Publishers and consumers of one queue against a broker of the tests' own, which may be killed and started again.

`--stack=apache` runs them against Apache Kafka; otherwise it is Tansu, which forgets everything when it ends. Test files import
the fixtures `server` and `relay`. A member's session is short: Tansu lets a group's first member in after half of one, and
aiokafka leaves a group of Tansu's only when it has ended (`connecting`).
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from relay import bus
from relay.bus import Consumer, Message, Publisher, member
from relay.config import Settings
from relay.dev import broker as tansu
from relay.model.records import JobRef
from relay.model.states import Lane
from tests.stack import apache
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from relay.dev.server import Server


SESSION_MS = 1500
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
async def relay(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    monkeypatch.setattr(member, "_SESSION_MS", SESSION_MS)
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
