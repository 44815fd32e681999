"""The lease model's Redis: the real scripts on a real server, with leases that end when the model's time says so.

The real TTL is an hour, so that no test outlives it; a lease that has run out is a key that the model deletes. A wipe deletes
the keys of this Relay; a stale copy has lost the locks, has the sentinel, and has another run id, as every Redis that was
started anew has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.lease import Leases, Renewal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.lease.locks import Look

_REAL_TTL_S = 3600.0


class SimulatedRedis:
    """One Redis and its clock, `now_ms`, which the model moves. `lease_ms` is how long a lease truly lasts."""

    def __init__(self, url: str, *, cluster_id: str, ttl_s: float, rate: float = 1.0) -> None:
        self.ttl_s = ttl_s
        self.lease_ms = round(ttl_s * 1000 / rate)
        self.now_ms = 0
        self.starts = 1
        self._leases = Leases(url, cluster_id=cluster_id, ttl_s=_REAL_TTL_S)
        self._ends_ms: dict[int, int] = {}

    async def acquire(self, pairs: Sequence[tuple[int, str]]) -> list[bool]:
        taken = await self._leases.acquire(pairs)
        for (job_id, _), is_mine in zip(pairs, taken, strict=True):
            if is_mine:
                self._ends_ms.setdefault(job_id, self.now_ms + self.lease_ms)  # taking it twice does not extend it
        return taken

    async def renew(self, pairs: Sequence[tuple[int, str]]) -> list[Renewal]:
        renewals = await self._leases.renew(pairs)
        for (job_id, _), renewal in zip(pairs, renewals, strict=True):
            if renewal is not Renewal.HELD_BY_OTHER:
                self._ends_ms[job_id] = self.now_ms + self.lease_ms
        return renewals

    async def release(self, pairs: Sequence[tuple[int, str]], *, changed: Sequence[int] = ()) -> None:
        await self._leases.release(pairs, changed=changed)
        owners = (await self._leases.look(pairs)).owners
        for (job_id, _), owner in zip(pairs, owners, strict=True):
            if owner is None:
                self._ends_ms.pop(job_id, None)

    async def look(self, pairs: Sequence[tuple[int, str]]) -> Look:
        look = await self._leases.look(pairs)
        return look._replace(run_id=f"{look.run_id} started {self.starts} times")

    @property
    def next_end_ms(self) -> int | None:
        """When the next lease runs out."""
        return min(self._ends_ms.values(), default=None)

    async def expire(self) -> None:
        """Delete the locks whose lease has run out."""
        await self._forget([job_id for job_id, end_ms in self._ends_ms.items() if end_ms <= self.now_ms])

    async def wipe(self) -> None:
        """Lose everything."""
        await self._forget(list(self._ends_ms))
        await self._leases._calls.call("DEL", self._leases._sentinel)

    async def replace_by_stale_copy(self) -> None:
        """Become a Redis that was started from a copy that is older than the locks."""
        await self._forget(list(self._ends_ms))
        self.starts += 1

    async def close(self) -> None:
        await self.wipe()
        await self._leases.close()

    async def _forget(self, job_ids: Sequence[int]) -> None:
        if job_ids:
            await self._leases._calls.call("DEL", *(self._leases._key(job_id) for job_id in job_ids))
        for job_id in job_ids:
            del self._ends_ms[job_id]
