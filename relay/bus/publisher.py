"""The publisher: hands jobs that may be claimed to Kafka, without ever making anyone wait.

`publish` only appends to a bounded buffer. One task sends what has gathered while the last batch was on its way: when
idle, a job leaves at once (linger 0); when busy, thousands share a request. Partitions are taken in turn, and the group's
assignor deals partitions in turn, so consecutive jobs go to different workers; under a stream of jobs, several consecutive
ones share a partition, since each partition of a request costs Kafka as much as a dozen messages.

acks=all, no idempotence and no transactions: claims make duplicates harmless, and both have wedged producers for good
(aiokafka#1017). After any failure the producer is thrown away and made anew, and what it could not send is dropped and
counted: a steal finds those jobs within seconds, while late messages would only bring stale ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from relay import log
from relay.bus import connecting, messages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from relay.bus.connecting import KafkaSettings
    from relay.model.records import JobRef

_BUFFER = 100_000  # jobs
_BATCH = 4_096  # jobs a round
_MAX_BATCH_BYTES = 256 * 1024
_STREAM_S = 0.05  # rounds that follow each other faster are a stream
_SHARE = 8  # jobs of a stream that share a partition
_DELIVERY_S = 12.0  # past the request timeout
_CLOSE_S = 3.0
_RETRY_S = (0.2, 5.0)

_log = log.get(__name__)


class Publisher:
    """Sends references to jobs. `sent` and `dropped` count them; `is_up` says how the last try went (None: none yet)."""

    def __init__(self, settings: KafkaSettings, cluster_id: UUID | str) -> None:
        self.is_up: bool | None = None
        self.sent = 0
        self.dropped = 0
        self._settings = settings
        self._cluster_id = cluster_id
        self._waiting: deque[JobRef] = deque()
        self._wake = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._sent_at = -math.inf
        self._turn = random.randrange(connecting.PARTITIONS)  # noqa: S311 - spreads publishers, no secret
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect in the background; never fails. The task is this object's until `close`."""
        self._task = asyncio.create_task(self._run(), name="publisher")

    def publish(self, refs: Sequence[JobRef]) -> None:
        """Hand over jobs that may be claimed now; what the full buffer can't take is dropped."""
        room = max(0, _BUFFER - len(self._waiting))
        self.dropped += max(0, len(refs) - room)
        self._waiting.extend(refs[:room])
        if self._waiting:
            self._is_idle.clear()
            self._wake.set()

    async def flush(self) -> None:
        """Wait until all that was handed over is sent or dropped."""
        await self._is_idle.wait()

    async def close(self) -> None:
        """Send what waits, for a few seconds at most, and disconnect."""
        if self._task is None:
            return
        if self.is_up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self.flush()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        """Connect and send until cancelled, however often it fails."""
        pause_s = _RETRY_S[0]
        while True:
            try:
                await self._session()
            except (KafkaError, OSError, TimeoutError) as error:
                if self.is_up is not False:
                    _log.warning("kafka.unreachable", role="publisher", error=repr(error))
                pause_s = _RETRY_S[0] if self.is_up else min(pause_s * 2, _RETRY_S[1])
                self.is_up = False
                self._drop(len(self._waiting))
            except Exception as error:  # noqa: BLE001 - a fault of ours must not silence every later job's message
                _log.error("publisher.crashed", exc_info=error)
                self._drop(len(self._waiting))
            await asyncio.sleep(pause_s)

    async def _session(self) -> None:
        """Send with one producer until something fails."""
        producer = AIOKafkaProducer(
            **connecting.options(self._settings) | {"client_id": f"relay-{self._cluster_id}"},
            acks="all",
            linger_ms=0,
            max_batch_size=_MAX_BATCH_BYTES,
            metadata_max_age_ms=60_000,
        )
        try:
            await connecting.start(producer, within_s=connecting.CALL_TIMEOUT_S)
            _log.info("kafka.connected", role="publisher")
            self.is_up = True
            known: set[str] = set()
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._send(producer, known)
                self._is_idle.set()
        finally:
            await _stop(producer)

    async def _send(self, producer: AIOKafkaProducer, known: set[str]) -> None:
        """Send one round and wait for its delivery; raise after dropping it if any of it could not be delivered."""
        refs = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        by_topic: dict[str, list[JobRef]] = defaultdict(list)
        for ref in refs:
            by_topic[messages.topic(ref.lane, ref.queue)].append(ref)
        deliveries: list[asyncio.Future[object]] = []
        try:
            await self._learn(producer, known, [name for name in by_topic if name not in known])
            for name, of_topic in by_topic.items():
                await self._enqueue(producer, name, of_topic, deliveries)
            async with asyncio.timeout(_DELIVERY_S):
                _raise_first(await asyncio.gather(*deliveries, return_exceptions=True))
        except BaseException:
            for delivery in deliveries:
                delivery.cancel()
            self.dropped += len(refs)
            raise
        self.sent += len(refs)
        self._sent_at = asyncio.get_running_loop().time()

    async def _learn(self, producer: AIOKafkaProducer, known: set[str], names: Sequence[str]) -> None:
        """Create topics that are used for the first time, and wait until the producer knows them."""
        if not names:
            return
        await connecting.ensure_topics(self._settings, names)
        async with asyncio.timeout(connecting.CALL_TIMEOUT_S):
            for name in names:
                await producer.partitions_for(name)
        known.update(names)

    async def _enqueue(
        self,
        producer: AIOKafkaProducer,
        name: str,
        refs: Sequence[JobRef],
        deliveries: list[asyncio.Future[object]],
    ) -> None:
        """Deal a topic's jobs to its partitions, in turn; append the deliveries to wait for.

        A topic may have other partitions than before: Kafka was wiped, and somebody's first use has made it anew.
        """
        async with asyncio.timeout(connecting.CALL_TIMEOUT_S):
            partitions = len(await producer.partitions_for(name))
        is_stream = asyncio.get_running_loop().time() - self._sent_at < _STREAM_S
        taken = min(partitions, -(-len(refs) // _SHARE) if is_stream else len(refs))
        first, self._turn = self._turn, self._turn + taken
        for nth in range(taken):
            batch = producer.create_batch()
            for ref in islice(refs, nth, None, taken):
                batch.append(timestamp=None, key=None, value=messages.encode(ref.id))
            deliveries.append(await producer.send_batch(batch, name, partition=(first + nth) % partitions))

    def _drop(self, count: int) -> None:
        self.dropped += count
        for _ in range(count):
            self._waiting.popleft()
        self._is_idle.set()


def _raise_first(outcomes: Sequence[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _stop(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await producer.stop()
