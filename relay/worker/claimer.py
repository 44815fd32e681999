"""The claimer: turns wanted job ids into running attempts, a batch at a time.

For each batch: take the jobs' locks in Redis, claim them with one statement in PostgreSQL, give back the locks of those
that could not be claimed, tell Kafka that the messages are done, start the attempts. While a batch is on its way, the
next gathers. A job whose lock is held by another is left to a later steal. Without Redis, claims go on under PostgreSQL's
exclusion alone. Without PostgreSQL, what is wanted is kept and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

from relay import errors, failpoints, log
from relay.lease import LeaseUnavailable
from relay.store import claims
from relay.store.connection import connection
from relay.worker import trust
from relay.worker.roster import Claim
from relay.worker.watchdog import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from relay.bus import Message
    from relay.worker.roster import Roster
    from relay.worker.stores import Stores

_log = log.get(__name__)
_RETRY_S = 0.5
_GATHER_S = 0.01


class Claimer:
    """Claims for one worker. `epoch` grows when a claim is sent; `is_claiming` while one's answer is awaited.

    `witnessed` are the pairs (job id, claim id) that are being claimed, each with the sending of its last witness: the claim, then
    the renewals of its lock.
    """

    def __init__(
        self,
        stores: Stores,
        roster: Roster,
        *,
        worker_id: int,
        terms: trust.Terms,
        start: Callable[[Claim], None],
    ) -> None:
        self.epoch = 0
        self.is_claiming = False
        self.witnessed: dict[tuple[int, str], int] = {}
        self.step = Step("claim")
        self._pool = stores.pool
        self._leases = stores.leases
        self._consumer = stores.consumer
        self._roster = roster
        self._worker_id = worker_id
        self._terms = terms
        self._start = start
        self._wanted: deque[int] = deque()
        self._known: set[int] = set()
        self._messages: dict[int, list[Message]] = {}
        self._is_closing = self._is_busy = False
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more jobs may be wanted now: free slots less what waits for them."""
        return 0 if self._is_closing else max(0, self._roster.free - len(self._wanted))

    async def wait_room(self) -> None:
        """Wait until there is room; where there is little, a moment longer for more: a batch costs much the same at any size."""
        if self.room < self._roster.slots // 4:
            await asyncio.sleep(_GATHER_S)
        while self.room == 0:
            self._settled.clear()
            if self._roster.free:
                await self._settled.wait()
            else:
                await self._roster.wait_free()

    def want(self, job_ids: Iterable[int], *, is_first: bool = False) -> None:
        """Ask for these jobs; `is_first` puts them before what waits already (a named lock's next waiter)."""
        for job_id in job_ids:
            if job_id not in self._known:
                self._known.add(job_id)
                (self._wanted.appendleft if is_first else self._wanted.append)(job_id)
        self._wake.set()

    def want_messages(self, messages: Sequence[Message]) -> None:
        """Ask for the jobs that messages name; each message is done once its job's claim is durable, or moot."""
        for message in messages:
            self._messages.setdefault(message.job_id, []).append(message)
        self.want(message.job_id for message in messages)

    async def close(self) -> None:
        """Claim no more, and wait until the batch on its way is answered; then `serve` can be cancelled and loses nothing."""
        self._is_closing = True
        while self._is_busy:
            self._settled.clear()
            await self._settled.wait()

    async def serve(self) -> None:
        """Claim until cancelled; nothing more once closed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                await self._roster.wait_free()
                if self._is_closing:
                    return
                batch = [self._wanted.popleft() for _ in range(min(self._roster.free, len(self._wanted)))]
                self._roster.take(len(batch))
                self._is_busy = True
                self._settle(batch, await self._claim(batch))

    def _settle(self, batch: Sequence[int], started: int) -> None:
        self._roster.give(len(batch) - started)
        self._known.difference_update(batch)
        self._is_busy = False
        self._settled.set()
        done = [message for job_id in batch for message in self._messages.pop(job_id, ())]
        if done:
            self._consumer.mark_done(done)

    async def _claim(self, batch: Sequence[int]) -> int:
        """Claim a batch, however long PostgreSQL is away, and start what was claimed; return how many."""
        while True:
            with self.step:
                started = await self._claim_once(batch)
            if started is not None:
                return started
            if self._is_closing:
                return 0
            await asyncio.sleep(_RETRY_S)

    async def _claim_once(self, batch: Sequence[int]) -> int | None:
        """Try to claim a batch. None: PostgreSQL is away."""
        pairs = await self._lock([(job_id, str(uuid4())) for job_id in batch])
        if not pairs:
            return 0
        try:
            return await self._claim_locked(pairs)
        except errors.Unavailable as error:
            # Whether it was committed is unknown: the heart will see, and report what was as lost.
            _log.warning("claims.postponed", jobs=len(pairs), error=str(error.__cause__ or error))
            await self._unlock(pairs)
            return None

    async def _claim_locked(self, pairs: list[tuple[int, str]]) -> int:
        self.epoch += 1
        self.is_claiming = True
        sent_ns = trust.now_ns()
        witnessed = self.witnessed = dict.fromkeys(pairs, sent_ns)
        try:
            async with connection(self._pool) as conn:
                claimed = await claims.claim(conn, self._worker_id, pairs)
        finally:
            self.is_claiming = False
            self.witnessed = {}
        failpoints.hit("after_claim")
        if trust.now_ns() >= self._terms.until_ns(sent_ns):  # given up, and the heart reports them lost
            _log.warning("claims.late", jobs=len(claimed))
            claimed = []
        taken = {facts.claim_id for facts in claimed}
        for facts in sorted(claimed, key=lambda facts: (facts.lane, facts.job_id)):
            claim = Claim(facts, self._terms.until_ns(witnessed[facts.job_id, facts.claim_id]))
            self._roster.add(claim)
            self._start(claim)
        await self._unlock([pair for pair in pairs if pair[1] not in taken])
        return len(claimed)

    async def _lock(self, pairs: list[tuple[int, str]]) -> list[tuple[int, str]]:
        try:
            taken = await self._leases.acquire(pairs)
        except LeaseUnavailable:
            return pairs
        return [pair for pair, is_mine in zip(pairs, taken, strict=True) if is_mine]

    async def _unlock(self, pairs: list[tuple[int, str]]) -> None:
        if pairs:
            with contextlib.suppress(LeaseUnavailable):  # they end with their TTL
                await self._leases.release(pairs)
