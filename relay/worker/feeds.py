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
from relay.store.connection import connection

if TYPE_CHECKING:
    from relay.bus import Consumer
    from relay.store.connection import Connection, Pool
    from relay.worker.claimer import Claimer
    from relay.worker.roster import Roster

_log = log.get(__name__)

_FETCH_S = 0.5
_LOOK_S = 1.0
_SILENCE_S = 1.0
_OVERDUE_WHEN_SILENT_S = 2.0
_OVERDUE_S = 30.0
_SELDOM = 5  # looks
_MOST = 256  # jobs a look


async def feed_from_kafka(consumer: Consumer, claimer: Claimer, roster: Roster) -> None:
    """Fetch messages while there is room, until cancelled. The fetch itself is bounded, and never cut short."""
    while True:
        if claimer.room == 0:
            await roster.wait_free()
        messages = await consumer.fetch(claimer.room, wait_s=_FETCH_S)
        if messages:
            claimer.want_messages(messages)
        else:
            await asyncio.sleep(0)


class Stealer:
    """Looks for overdue jobs every second; when it found as many as it could take, again as soon as there is room."""

    def __init__(
        self, pool: Pool, consumer: Consumer, claimer: Claimer, roster: Roster, *, queues: tuple[str, ...]
    ) -> None:
        self._pool = pool
        self._consumer = consumer
        self._claimer = claimer
        self._roster = roster
        self._queues = queues
        self._rng = random.Random()  # noqa: S311 - spreads workers over candidates, no secret

    async def serve(self) -> None:
        """Steal until cancelled."""
        looks = self._rng.randrange(_SELDOM)
        while True:
            looks += 1
            is_silent = self._consumer.silent_s >= _SILENCE_S
            is_full = False
            if is_silent or looks % _SELDOM == 0:
                is_full = await self._look(_OVERDUE_WHEN_SILENT_S if is_silent else _OVERDUE_S)
            if is_full:
                await self._roster.wait_free()
                await asyncio.sleep(0.01)
            else:
                await asyncio.sleep(_LOOK_S)

    async def _look(self, overdue_s: float) -> bool:
        room = min(self._claimer.room, _MOST)
        if room == 0:
            return False
        try:
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
