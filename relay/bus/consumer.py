"""The consumer: brings messages to a worker as it has room for them, high lane first.

`run` keeps one group member alive, however often Kafka goes away, commits what is done (explicit offsets, a few times a
second) and watches. aiokafka 0.14 has traps, and they shape this file:
- `getmany` must never be cancelled (its fetch context has no finally: the poll guard would stay off). So it runs in a
  task of its own that `fetch` only waits for; what comes too late is handed out by the next fetch.
- Commits raise after a rebalance: logged, tried again with the next.
- A consumer may fall silent for good (#703, #847, #1037): one that is assigned, behind and silent is rebuilt, within 60 s.
A worker that has had no room for a second holds its partitions and goes on polling, so that no job waits in its memory.

Not promised: order, or that a message comes once. Both are the claim's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from aiokafka.errors import ConsumerStoppedError, KafkaError

from relay import log
from relay.bus import messages
from relay.bus.member import STOP_S, Member
from relay.bus.messages import BadMessage, Message
from relay.bus.offsets import Offsets
from relay.model.states import Lane

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from uuid import UUID

    from aiokafka import TopicPartition

    from relay.bus.connecting import KafkaSettings

_TICK_S = 1.0
_NO_ROOM_S = 1.0
_IDLE_S = 10.0
_ANSWER_S = 8.0  # without an answered fetch for so long, Kafka counts as down
_SILENT_S = 45.0  # with the asking and the rebuilding: 60
_ASK_EVERY_S = 5.0
_MISSING_TICKS = 3
_COMMIT_PAUSE_S = 0.2
_RETRY_S = (0.5, 5.0)
_CLOSE_S = 15.0
_HURRY_S = 1.0  # for a member that was still joining, or leaving, when the worker had no more time for it
_MOST_BAD = 1000

_log = log.get(__name__)
_OUTAGES = (KafkaError, ConsumerStoppedError, OSError, TimeoutError)  # stopped under a poll: no KafkaError


class Consumer:
    """The messages of some queues. `is_up` tells whether Kafka answers; it counts `received` and `bad`, and `rebuilt` members."""

    def __init__(self, settings: KafkaSettings, cluster_id: UUID | str, queues: Sequence[str]) -> None:
        self.is_up = False
        self.received = self.bad = self.rebuilt = 0
        self._settings = settings
        self._cluster_id = cluster_id
        self._topics = {messages.topic(lane, queue): lane for queue in queues for lane in Lane}
        self._member: Member | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._poll: asyncio.Task[None] | None = None
        self._ready: deque[Message] = deque()
        self._bad: deque[BadMessage] = deque()
        self._offsets = Offsets()
        self._is_joined = asyncio.Event()
        self._is_dirty = asyncio.Event()
        self._must_end = asyncio.Event()
        self._committing = asyncio.Lock()
        self._is_told_down = False
        self._is_over = asyncio.Event()
        self._is_over.set()
        self._is_closing = False
        self._heard_at = -math.inf
        self._asked_at = -math.inf
        self._answered = (0, -math.inf)  # the member's last answer, and when it was first seen

    @property
    def silent_s(self) -> float:
        """Seconds since the last message; infinite before the first."""
        return time.monotonic() - self._heard_at

    async def run(self) -> None:
        """Keep a member in the group until `close` or cancelled."""
        self._is_over.clear()
        pause_s = _RETRY_S[0]
        try:
            while True:
                try:
                    reason = await self._session()
                except _OUTAGES as error:
                    reason = repr(error)
                if self._is_closing:
                    return
                self._tell_down(reason)
                pause_s = _RETRY_S[0] if self.is_up else min(pause_s * 2, _RETRY_S[1])
                self.is_up = False
                self.rebuilt += 1
                await asyncio.sleep(pause_s)
        finally:
            self.is_up = False
            self._is_over.set()

    async def close(self) -> None:
        """Commit what is done and leave the group; `run` then returns."""
        self._is_closing = True
        self._must_end.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._is_over.wait()

    async def fetch(self, max_records: int, *, wait_s: float) -> list[Message]:
        """Return at most `max_records` messages; wait for the first one, at most `wait_s`. One caller at a time.

        Never fails: without Kafka there are none. `max_records` 0 says that there is no room.
        """
        self._asked_at = time.monotonic()
        if max_records < 1:
            if self._member is not None:
                self._member.hold()
            return []
        if not self._ready:
            await self._wait_poll(max_records, wait_s)
        self._asked_at = time.monotonic()
        return [self._ready.popleft() for _ in range(min(max_records, len(self._ready)))]

    def mark_done(self, done: Iterable[Message | BadMessage]) -> None:
        """Say that these need not be seen again: their claims are durable or moot, or they are kept as bad."""
        for each in done:
            self._offsets.done(each.tp, each.offset)
        self._is_dirty.set()

    def take_bad(self) -> list[BadMessage]:
        """Return the bad messages since the last call. Keep them somewhere, then mark them done."""
        taken = list(self._bad)
        self._bad.clear()
        return taken

    async def _wait_poll(self, limit: int, wait_s: float) -> None:
        if self._member is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._is_joined.wait()
            return
        if self._member.is_held:
            self._member.release()
        if self._poll is None and self._tasks is not None:
            self._poll = self._tasks.create_task(self._poll_once(self._member, limit, wait_s))
        if self._poll is not None:
            await asyncio.wait({self._poll}, timeout=wait_s)

    async def _poll_once(self, member: Member, limit: int, wait_s: float) -> None:
        """Poll into the buffers; an error ends this member's life, not the caller's."""
        try:
            self._keep(member, await member.poll(limit, wait_s=wait_s))
        except _OUTAGES as error:
            _log.warning("consumer.broken", error=repr(error))
            self._must_end.set()
        finally:
            self._poll = None

    def _keep(self, member: Member, found: Sequence[Message | BadMessage]) -> None:
        """Sort what was polled; drop what a rebalance has given to another member meanwhile."""
        if not found:
            return
        own = member.assignment
        for each in found:
            if each.tp in own:
                self._offsets.opened(each.tp, each.offset)
                if isinstance(each, Message):
                    self._ready.append(each)
                else:
                    self._bad.append(each)
                    self.bad += 1
        self.received += len(found)
        self._heard_at = time.monotonic()
        member.note_traffic(is_idle=False)
        while len(self._bad) > _MOST_BAD:  # nobody takes them
            self.mark_done([self._bad.popleft()])

    async def _session(self) -> str:
        """Live one member's life; return why it ended. Raises when it could not begin."""
        self._must_end.clear()
        if self._is_closing:
            return "closed"
        member = Member(self._settings, self._cluster_id, topics=self._topics, on_revoked=self._forget)
        try:
            await member.start()
            self._tell_up(member)
            async with asyncio.TaskGroup() as tasks:
                self._member, self._tasks = member, tasks
                committing = tasks.create_task(self._commit_always(member))
                self._is_joined.set()
                try:
                    return await self._watch(member)
                finally:
                    self._member = self._tasks = None
                    self._is_joined.clear()
                    async with self._committing:  # a commit that is cut short goes on in aiokafka, and fails unheard
                        committing.cancel()
                    await self._commit(member)
                    await member.stop()
                    if self._poll is not None:
                        self._poll.cancel()  # harmless now: its consumer is no more
        finally:
            await member.stop(within_s=_HURRY_S if self._is_closing else STOP_S)
            await self._forget(None)

    def _tell_down(self, reason: str) -> None:
        if not self._is_told_down:  # once per outage
            _log.warning("kafka.unreachable", role="consumer", reason=reason)
        self._is_told_down = True

    def _tell_up(self, member: Member) -> None:
        _log.info("kafka.connected", role="consumer", partitions=len(member.assignment))
        self._is_told_down = False

    async def _watch(self, member: Member) -> str:
        """Look after a member; return why it must end."""
        self.is_up = True
        started_at = asked_at = time.monotonic()
        missing = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._must_end.wait()
                    return "it was closed, or polling failed"
            now = time.monotonic()
            self.is_up = await self._is_answering(member, now)
            if not self.is_up:
                self._tell_down("no answers")
            elif self._is_told_down:
                self._tell_up(member)
            if member.is_held:
                started_at = now
            quiet_s = now - max(self._heard_at, started_at)
            member.note_traffic(is_idle=quiet_s > _IDLE_S)
            if self._poll is None and now - self._asked_at > _NO_ROOM_S:
                member.hold()
                self._keep(member, await member.poll(1, wait_s=0))
            missing = missing + 1 if member.lacks_topics() else 0
            if missing >= _MISSING_TICKS:
                return "topics are gone"
            if quiet_s > _SILENT_S and not member.is_held and now - asked_at > _ASK_EVERY_S:
                asked_at = now
                if await self._is_stuck(member):
                    return "silent, though there are messages or no answers"

    async def _is_answering(self, member: Member, now: float) -> bool:
        answer = member.last_answer()
        if answer != self._answered[0]:
            self._answered = (answer, now)
        elif (member.is_held or not member.assignment) and now - self._answered[1] > _ASK_EVERY_S:
            if not await member.answers():
                return False
            self._answered = (answer, now)
        return now - self._answered[1] < _ANSWER_S

    @staticmethod
    async def _is_stuck(member: Member) -> bool:
        try:
            return await member.is_behind()
        except _OUTAGES:
            return True

    async def _commit_always(self, member: Member) -> None:
        """Commit what is done, a few times a second, until cancelled."""
        while True:
            await self._is_dirty.wait()
            self._is_dirty.clear()
            is_done = await self._commit(member)
            await asyncio.sleep(_COMMIT_PAUSE_S if is_done else _TICK_S)
            if not is_done:
                self._is_dirty.set()

    async def _commit(self, member: Member) -> bool:
        async with self._committing:
            offsets = self._offsets.take()
            try:
                await member.commit(offsets)
            except _OUTAGES as error:
                _log.debug("offsets.not_committed", partitions=len(offsets), error=repr(error))
                self._offsets.put_back(offsets)
                return False
            return True

    async def _forget(self, revoked: Collection[TopicPartition] | None) -> None:
        """Commit and drop what belongs to these partitions (None: all): other members will see what is not done."""
        if self._member is not None and revoked:
            await self._commit(self._member)
        gone = self._offsets.partitions() if revoked is None else frozenset(revoked)
        self._offsets.forget(gone)
        self._ready = deque(message for message in self._ready if message.tp not in gone)
        self._bad = deque(message for message in self._bad if message.tp not in gone)
