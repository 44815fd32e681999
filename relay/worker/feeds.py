"""Feeds: where a worker hears of jobs.

Kafka is the fast way: messages are fetched as there is room for them, high lane first. Stealing is the sure way: every
worker with room looks in PostgreSQL for jobs that no message brought it, soon when Kafka has been silent, seldom
otherwise. So a job behind a busy worker's partition goes to an idle one within seconds, and the loss of Kafka costs
latency only. Retries that fall due are woken here too, so that jobs go on when no `relay serve` runs.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from relay import errors, log
from relay.store import claims, due
from relay.store.bad_messages import BadRow, record_bad_messages
from relay.store.connection import connection
from relay.worker.watchdog import Step

if TYPE_CHECKING:
    from relay.bus import Consumer
    from relay.store.connection import Connection, Pool
    from relay.worker.claimer import Claimer

_log = log.get(__name__)

_FETCH_S = 0.5
_LOOK_S = 1.0
_SILENCE_S = 1.0
_OVERDUE_WITHOUT_KAFKA_S = 0.2  # also before a worker has joined its group: nobody brings it messages
_OVERDUE_WHEN_SILENT_S = 2.0
_OVERDUE_S = 30.0
_SELDOM = 5  # looks
_MOST = 256  # jobs a look


async def feed_from_kafka(pool: Pool, consumer: Consumer, claimer: Claimer) -> None:
    """Fetch messages while there is room, until cancelled. The fetch itself is bounded, and never cut short."""
    while True:
        await claimer.wait_room()
        claimer.want_messages(await consumer.fetch(claimer.room, wait_s=_FETCH_S))
        await _keep_bad(pool, consumer)


async def _keep_bad(pool: Pool, consumer: Consumer) -> None:
    """Keep messages that name no job where people can look at them; without PostgreSQL they come again."""
    bad = consumer.take_bad()
    if not bad:
        return
    _log.warning("messages.bad", messages=len(bad), problem=bad[0].problem, topic=bad[0].tp.topic)
    try:
        async with connection(pool) as conn:
            rows = [BadRow(each.tp.topic, each.tp.partition, each.offset, each.problem, each.head) for each in bad]
            await record_bad_messages(conn, rows)
    except errors.Unavailable:
        return
    consumer.mark_done(bad)


class Stealer:
    """Looks for overdue jobs every second; when it found as many as it could take, again as soon as there is room."""

    def __init__(self, pool: Pool, consumer: Consumer, claimer: Claimer, *, queues: tuple[str, ...]) -> None:
        self._pool = pool
        self._consumer = consumer
        self._claimer = claimer
        self._queues = queues
        self.step = Step("steal")
        self._rng = random.Random()  # noqa: S311 - spreads workers over candidates, no secret

    async def serve(self) -> None:
        """Steal until cancelled."""
        looks = self._rng.randrange(_SELDOM)
        while True:
            looks += 1
            if await self._look(self._overdue_s(is_seldom=looks % _SELDOM == 0)):
                await self._claimer.wait_room()
            else:
                await asyncio.sleep(_LOOK_S)

    def _overdue_s(self, *, is_seldom: bool) -> float | None:
        """How long a job must have been due to be stolen now; None: no look this time."""
        if not self._consumer.is_up:
            return _OVERDUE_WITHOUT_KAFKA_S
        if self._consumer.silent_s >= _SILENCE_S:
            return _OVERDUE_WHEN_SILENT_S
        return _OVERDUE_S if is_seldom else None

    async def _look(self, overdue_s: float | None) -> bool:
        """Steal once. True: there may be more than there was room for."""
        room = min(self._claimer.room, _MOST)
        if overdue_s is None or room == 0:
            return False
        try:
            with self.step:
                async with connection(self._pool) as conn:
                    found = await self._find(conn, overdue_s, room)
        except errors.Unavailable:
            return False
        if found:
            _log.info("jobs.stolen", jobs=len(found), overdue_s=overdue_s)
            self._claimer.want(found)
        return len(found) >= room

    async def _find(self, conn: Connection, overdue_s: float, room: int) -> list[int]:
        await due.dispatch_due(conn, overdue_s=overdue_s)
        found = await claims.steal_jobs(conn, self._queues, overdue_s=overdue_s, limit=room, rng=self._rng)
        if len(found) < room:
            found += await claims.steal_locked_jobs(
                conn, self._queues, overdue_s=overdue_s, limit=room - len(found), rng=self._rng
            )
        return found
