"""One life of a consumer in the group: join, poll by lane, hold, commit, leave. `consumer` builds a new one when it must.

aiokafka 0.14's traps that live here: pauses are lost at every rebalance, so they are set again when partitions are
assigned; and a fetch of a broker that does not wake waiting fetches (Tansu) lasts its full `fetch_max_wait_ms`, so that is
short there while messages come, and longer when idle: a fetch over 96 partitions costs 1.6 ms of CPU, 8 % of a core at
20 ms. Kafka wakes a waiting fetch at once; its wait only bounds how long a partition that was just emptied is left out,
since aiokafka has one fetch at a time on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from relay.bus import connecting, messages
from relay.model.states import Lane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from uuid import UUID

    from aiokafka import ConsumerRecord

    from relay.bus.connecting import KafkaSettings
    from relay.bus.messages import BadMessage, Message

_BUSY_WAIT_MS = 20
_IDLE_WAIT_MS = 150
_WOKEN_WAIT_MS = 100
_SESSION_MS = 10_000
_START_S = 60.0  # a join waits for the other members
STOP_S: Final = 5.0
_ASK_S = 5.0
_ANSWER_S = 2.0
_FOREVER_MS = 2**31 - 1
_PARTITION_BYTES = 64 * 1024  # some 800 messages: what a busy worker may hold back from idle ones


class Member(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """A group member of one Relay, subscribed to the lanes of its queues."""

    def __init__(
        self,
        settings: KafkaSettings,
        cluster_id: UUID | str,
        *,
        topics: Mapping[str, Lane],
        on_revoked: Callable[[Collection[TopicPartition]], Awaitable[None]],
    ) -> None:
        self.is_held = False
        self._settings = settings
        self._topics = topics
        self._on_revoked = on_revoked
        self._lanes: Sequence[list[TopicPartition]] = ()
        self._wakes_fetches = False
        self._kafka = AIOKafkaConsumer(
            **connecting.options(settings),
            group_id=f"relay-{cluster_id}",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_SESSION_MS * 3 // 10,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_interval_ms=_FOREVER_MS,  # a stalled event loop misses its heartbeats too; this guard adds nothing
            fetch_max_wait_ms=_BUSY_WAIT_MS,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            metadata_max_age_ms=30_000,
        )

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are this member's."""
        return frozenset(self._kafka.assignment())

    async def start(self) -> None:
        """Create what topics are missing, and join. Raises aiokafka's errors, OSError or TimeoutError."""
        await connecting.ensure_topics(self._settings, self._topics)
        self._kafka.subscribe(list(self._topics), listener=self)
        await connecting.start(self._kafka, within_s=_START_S)
        self._wakes_fetches = connecting.wakes_fetches(self._kafka)
        self.note_traffic(is_idle=False)

    async def stop(self, *, within_s: float = STOP_S) -> None:
        """Leave the group. Safe to repeat."""
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(within_s):
                await self._kafka.stop()

    async def poll(self, limit: int, *, wait_s: float) -> list[Message | BadMessage]:
        """Take at most `limit` messages, high lane first; wait for the first one. Must not be cancelled before `stop`."""
        found = await self._take(limit)
        if not found and wait_s > 0:
            found = self._decode(await self._kafka.getmany(timeout_ms=int(wait_s * 1000), max_records=1))
            if found:  # of any lane: what came with it may be of a higher one
                found = self._first(limit, found + await self._take(limit))
        return found

    def hold(self) -> None:
        """Stop fetching, also what will be assigned from now on."""
        self.is_held = True
        self._kafka.pause(*self._kafka.assignment())

    def release(self) -> None:
        """Fetch again."""
        self.is_held = False
        self._kafka.resume(*self._kafka.assignment())

    def note_traffic(self, *, is_idle: bool) -> None:
        """Fit to it how long the broker may hold the next fetches back. aiokafka reads that anew for each fetch."""
        wait_ms = _WOKEN_WAIT_MS if self._wakes_fetches else _IDLE_WAIT_MS if is_idle else _BUSY_WAIT_MS
        self._kafka._fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - it has no setter

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit those offsets whose partitions are still this member's. Raises aiokafka's errors or TimeoutError."""
        own = {tp: offset for tp, offset in offsets.items() if tp in self._kafka.assignment()}
        if own:
            async with asyncio.timeout(_ASK_S):
                await self._kafka.commit(own)

    def last_answer(self) -> int:
        """Return a number that changes with each answered fetch; 0 before the first, or with nothing assigned."""
        return max((self._kafka.last_poll_timestamp(tp) or 0 for tp in self._kafka.assignment()), default=0)

    def lacks_topics(self) -> bool:
        """Tell whether a topic is gone: Kafka was wiped or replaced."""
        return not all(self._kafka.partitions_for_topic(name) for name in self._topics)

    async def answers(self) -> bool:
        """Ask Kafka anything: for a member that is held, and so fetches nothing."""
        own = list(self._kafka.assignment())
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._kafka.end_offsets(own[:1])
        except (KafkaError, OSError, TimeoutError):
            return False
        return True

    async def is_behind(self) -> bool:
        """Ask Kafka whether there are messages that were not fetched. Raises aiokafka's errors or TimeoutError."""
        own = self.assignment
        async with asyncio.timeout(_ASK_S):
            ends = await self._kafka.end_offsets(list(own)) if own else {}
            return any([end > await self._kafka.position(tp) for tp, end in ends.items()])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Commit and forget what was handed out of them (called by aiokafka)."""
        await self._on_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Sort them by lane, and hold them again (called by aiokafka)."""
        self._lanes = [[tp for tp in assigned if self._topics[tp.topic] is lane] for lane in Lane]
        if self.is_held:
            self._kafka.pause(*assigned)

    async def _take(self, limit: int) -> list[Message | BadMessage]:
        """Take what has been fetched already, by lane."""
        found: list[Message | BadMessage] = []
        for partitions in self._lanes:
            if partitions and len(found) < limit:
                found += self._decode(await self._kafka.getmany(*partitions, max_records=limit - len(found)))
        return found

    def _first(self, limit: int, found: list[Message | BadMessage]) -> list[Message | BadMessage]:
        """Sort by lane, and put back what is too much: the last that was taken of its partition."""
        found = sorted(found, key=lambda each: self._topics[each.tp.topic])
        for each in reversed(found[limit:]):
            if each.tp in self._kafka.assignment():
                self._kafka.seek(each.tp, each.offset)
        return found[:limit]

    def _decode(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> list[Message | BadMessage]:
        return [
            messages.decode(record.value, lane=self._topics[tp.topic], tp=tp, offset=record.offset)
            for tp, records in polled.items()
            for record in records
        ]
