"""Rescue: attempts of lost workers are given back, by observed silence (design: leases; each rule forbids a known trace).

An attempt is lost when (1) its worker's `hb_seq` has been unchanged for a full TTL of this process's monotonic clock (the
larger of its own TTL and the worker's), and (2) Redis answers, the attempt's lock is not its claim's, and sentinel and
run id have been the same for a full TTL: lock and sentinel are read in one script. Or when `hb_seq` has been unchanged
for 75 min, without Redis: after 60 min a worker no longer trusts Redis alone. A look that failed or came late starts the
counts again, so nothing is rescued within a TTL of a store's return. The write names the claim and the `hb_seq` that
was seen. Any number of processes may rescue at once.
"""

from __future__ import annotations

import contextlib
import time
from asyncio import timeout
from typing import TYPE_CHECKING, Final, NamedTuple

from relay import errors, log
from relay.lease import LeaseUnavailable
from relay.maintenance.silence import Silence
from relay.store import rescue
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.lease import Leases
    from relay.maintenance.announce import Announcer
    from relay.maintenance.state import State
    from relay.store.connection import Pool
    from relay.store.rescue import Heartbeat, LostClaim

WITHOUT_REDIS_S: Final = 75 * 60.0
_LONG_GAP_S = 60.0  # of the looks that the 75 minutes are counted by
_CHUNK = 1000  # claims a look and a write

_log = log.get(__name__)


class _Hearts(NamedTuple):
    """The silent workers; those of them that have been for so long that Redis need not say anything; the longest TTL."""

    silent: list[Heartbeat]
    forsaken: frozenset[int]
    full_ttl_s: float


class Rescuer:
    """One process's observations, and what follows from them. Call `look` every `look_s`."""

    def __init__(
        self,
        pool: Pool,
        leases: Leases,
        announcer: Announcer,
        state: State,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.look_s = min(1.0, leases.ttl_s / 15)
        self._pool = pool
        self._leases = leases
        self._announcer = announcer
        self._state = state
        self._clock = clock
        self._hearts: Silence[int, int] = Silence(max_gap_s=leases.ttl_s / 6)
        self._long_hearts: Silence[int, int] = Silence(max_gap_s=_LONG_GAP_S)
        self._redis: Silence[str, tuple[str, str]] = Silence(max_gap_s=leases.ttl_s)

    async def look(self) -> None:
        """Look at PostgreSQL, then at Redis, and give back what is lost. Raises Unavailable without PostgreSQL."""
        hearts = await self._look_at_hearts()
        seen = {heart.worker_id: heart.hb_seq for heart in hearts.silent}
        suspects = await self._list_suspects(seen)
        by_redis: list[LostClaim] = []
        try:
            for at in range(0, max(1, len(suspects)), _CHUNK):
                by_redis += await self._look_at_redis(suspects[at : at + _CHUNK], hearts.full_ttl_s)
            self._note_redis(is_up=True, is_waiting=False)
        except LeaseUnavailable:
            self._redis.restart()
            self._note_redis(is_up=False, is_waiting=bool(suspects))
        lost = {*by_redis, *(claim for claim in suspects if claim.worker_id in hearts.forsaken)}
        await self._give_back(sorted(lost))
        unmarked = {heart.worker_id: heart.hb_seq for heart in hearts.silent if not heart.is_marked}
        if unmarked:
            async with connection(self._pool) as conn:
                await rescue.mark_lost(conn, unmarked)

    async def _look_at_hearts(self) -> _Hearts:
        sent_at = self._clock()
        try:
            async with timeout(max(1.0, self.look_s)), connection(self._pool) as conn:
                hearts = await rescue.list_heartbeats(conn)
        except (errors.Unavailable, TimeoutError) as error:
            self._hearts.restart()
            raise errors.Unavailable from error
        received_at = self._clock()
        values = {heart.worker_id: heart.hb_seq for heart in hearts}
        unchanged_s = self._hearts.see(values, sent_at=sent_at, received_at=received_at)
        long_s = self._long_hearts.see(values, sent_at=sent_at, received_at=received_at)
        self._state.last_look_at = received_at
        forsaken = frozenset(worker_id for worker_id, seconds in long_s.items() if seconds >= WITHOUT_REDIS_S)
        silent = [
            heart
            for heart in hearts
            if heart.worker_id in forsaken or unchanged_s[heart.worker_id] >= max(self._leases.ttl_s, heart.lease_ttl_s)
        ]
        return _Hearts(silent, forsaken, max([self._leases.ttl_s, *(heart.lease_ttl_s for heart in silent)]))

    async def _list_suspects(self, seen: Mapping[int, int]) -> list[LostClaim]:
        if not seen:
            return []
        async with connection(self._pool) as conn:
            return await rescue.list_suspects(conn, seen)

    async def _look_at_redis(self, suspects: Sequence[LostClaim], full_ttl_s: float) -> list[LostClaim]:
        """Return those whose lock is gone from a Redis that is the same as a full TTL ago; also keeps that count going."""
        sent_at = self._clock()
        look = await self._leases.look([(claim.job_id, claim.claim_id) for claim in suspects])
        identity = {"redis": (look.sentinel, look.run_id)}
        unchanged_s = self._redis.see(identity, sent_at=sent_at, received_at=self._clock())
        if unchanged_s["redis"] < full_ttl_s:
            return []
        return [claim for claim, owner in zip(suspects, look.owners, strict=True) if owner != claim.claim_id]

    async def _give_back(self, lost: Sequence[LostClaim]) -> None:
        for at in range(0, len(lost), _CHUNK):
            async with connection(self._pool) as conn:
                done = await rescue.lose_attempts(conn, lost[at : at + _CHUNK])
            if not done.pairs:
                continue
            self._state.rescued += len(done.pairs)
            workers = sorted({claim.worker_id for claim in lost if claim.worker_id is not None})
            _log.warning("attempts.rescued", attempts=len(done.pairs), job_ids=done.job_ids[:20], workers=workers)
            with contextlib.suppress(LeaseUnavailable):  # they end with their TTL
                await self._leases.release(done.pairs)
            await self._announcer.announce(changed=done.job_ids, refs=done.due, lock_names=done.freed_locks)

    def _note_redis(self, *, is_up: bool, is_waiting: bool) -> None:
        if is_up is not self._state.is_redis_up:
            self._state.is_redis_up = is_up
            (_log.info if is_up else _log.warning)("redis.reachable" if is_up else "redis.unreachable")
        if not is_waiting:
            self._state.rescue_waiting_since = None
        elif self._state.rescue_waiting_since is None:
            self._state.rescue_waiting_since = self._clock()
