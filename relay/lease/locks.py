"""The lock a job runs under: one Redis key per job, named after the claim that owns it, with a lease that must be renewed.

Rules (checked by a model; each forbids a trace in which two attempts overlap):
- Taken with SET NX PX before the claim, never by force. A nil answer is compared: the client may have retried a call that
  had succeeded.
- Only its owner extends it, re-creates it (NX, when it vanished) or deletes it; rescue deletes the lock of the claim it
  rescued, by naming that claim.
- A rescue reads locks, sentinel and run id in one script. The sentinel is a random key without TTL that whoever finds it
  missing creates; run id is Redis's own. If either changed, Redis was wiped, restarted or replaced, and a missing lock
  proves nothing until a full TTL later.

Each method takes a whole batch and is one script over all its keys: one round trip, and atomic. Keys share a hash tag, so
a Redis Cluster keeps them together. Not promised: mutual exclusion by Redis alone (that is PostgreSQL's).
"""

from __future__ import annotations

import secrets
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from relay.lease.calls import Calls, LeaseUnavailable, Script
from relay.lease.wakes import CHANGED, Wake, Wakes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from uuid import UUID

_BATCH = 1000  # keys a script: bounds how long Redis is busy with one call

_ACQUIRE = Script("""
local got = {}
for i, key in ipairs(KEYS) do
  local owner = ARGV[i + 1]
  if redis.call('SET', key, owner, 'NX', 'PX', ARGV[1]) or redis.call('GET', key) == owner then
    got[i] = 1
  else
    got[i] = 0
  end
end
return got
""")

_RENEW = Script("""
local got = {}
for i, key in ipairs(KEYS) do
  local owner = ARGV[i + 1]
  if redis.call('GET', key) == owner then
    redis.call('PEXPIRE', key, ARGV[1])
    got[i] = 1
  elseif redis.call('SET', key, owner, 'NX', 'PX', ARGV[1]) then
    got[i] = 2
  else
    got[i] = 0
  end
end
return got
""")

_RELEASE = Script("""
local n = 0
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i] then
    n = n + redis.call('DEL', key)
  end
end
if ARGV[#KEYS + 1] then
  redis.call('PUBLISH', ARGV[#KEYS + 1], ARGV[#KEYS + 2])
end
return n
""")

# The sentinel is written before INFO is read: Redis 6 forbids writes after a command whose answer is not deterministic.
_LOOK = Script("""
local sentinel = redis.call('GET', KEYS[1])
if not sentinel then
  sentinel = ARGV[1]
  redis.call('SET', KEYS[1], sentinel)
end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local answer = {sentinel, run_id or ''}
for i = 2, #KEYS do
  answer[i + 1] = redis.call('GET', KEYS[i])
end
return answer
""")


class Renewal(IntEnum):
    """What a renewal found. EXTENDED and RECREATED are witnesses; HELD_BY_OTHER is none."""

    HELD_BY_OTHER = 0
    EXTENDED = 1
    RECREATED = 2


class Look(NamedTuple):
    """One atomic look: each lock's owner (None: no lock), and who this Redis is."""

    owners: list[str | None]
    sentinel: str
    run_id: str


class Leases:
    """Locks and wake-ups of one Relay in Redis. Every call ends within a second, or raises LeaseUnavailable.

    Pairs are (job id, claim id). `ttl_s` is the lease, the same in every process of a Relay.
    """

    def __init__(self, url: str, *, cluster_id: UUID | str, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._calls = Calls(url)
        self._wakes = Wakes(url, self._calls, cluster_id=str(cluster_id))
        self._prefix = f"relay:lock:{{{cluster_id}}}:"
        self._sentinel = f"relay:sentinel:{{{cluster_id}}}"
        self._ttl_ms = round(ttl_s * 1000)

    @property
    def is_up(self) -> bool | None:
        """What the last call saw; None before the first."""
        return self._calls.is_up

    async def acquire(self, pairs: Sequence[tuple[int, str]]) -> list[bool]:
        """Take the locks that nobody else holds; True where this claim holds it now."""
        return [got == 1 for got in await self._each(_ACQUIRE, pairs, is_optional=True)]

    async def renew(self, pairs: Sequence[tuple[int, str]]) -> list[Renewal]:
        """Extend own locks by a full TTL, re-create vanished ones; leave others' alone."""
        return [Renewal(got) for got in await self._each(_RENEW, pairs, is_optional=False)]

    async def release(self, pairs: Sequence[tuple[int, str]], *, changed: Sequence[int] = ()) -> None:
        """Delete the locks that these claims still own, and wake those who wait for the `changed` jobs, in the same call."""
        for at in range(0, len(pairs), _BATCH):
            chunk, woken = pairs[at : at + _BATCH], changed[at : at + _BATCH]
            keys = [self._key(job_id) for job_id, _ in chunk]
            wake = self._wakes.message(CHANGED, woken) if woken else ()
            await self._calls.script(_RELEASE, keys, args=[*(claim for _, claim in chunk), *wake], is_optional=True)
        await self._wakes.publish(CHANGED, changed[-(-len(pairs) // _BATCH) * _BATCH :])

    async def look(self, pairs: Sequence[tuple[int, str]]) -> Look:
        """Read locks, sentinel and run id at one instant. Not split into batches: that would lose the one instant."""
        keys = [self._sentinel, *(self._key(job_id) for job_id, _ in pairs)]
        answer = cast("list[bytes | None]", await self._calls.script(_LOOK, keys, args=[secrets.token_hex(16)]))
        sentinel, run_id, *owners = [None if value is None else value.decode() for value in answer]
        if not sentinel or not run_id:
            raise LeaseUnavailable("Redis does not say its run id")
        return Look(owners, sentinel, run_id)

    async def publish_wake(self, kind: str, job_ids: Sequence[int]) -> None:
        """Tell listeners about these jobs, best effort: an unreachable Redis is not an error here."""
        await self._wakes.publish(kind, job_ids)

    def listen(self, kinds: Sequence[str]) -> AsyncGenerator[Wake, None]:
        """Yield (kind, job ids) for ever, reconnecting; (LOST, ()) when something may have been missed."""
        return self._wakes.listen(kinds)

    async def ping(self) -> None:
        """Raise LeaseUnavailable if Redis does not answer."""
        await self._calls.call("PING")

    async def close(self) -> None:
        """Close all connections."""
        await self._wakes.close()
        await self._calls.close()

    def _key(self, job_id: int) -> str:
        return f"{self._prefix}{job_id}"

    async def _each(self, script: Script, pairs: Sequence[tuple[int, str]], *, is_optional: bool) -> list[int]:
        got: list[int] = []
        for at in range(0, len(pairs), _BATCH):
            chunk = pairs[at : at + _BATCH]
            keys = [self._key(job_id) for job_id, _ in chunk]
            args: list[str | int] = [self._ttl_ms, *(claim for _, claim in chunk)]
            got += cast("list[int]", await self._calls.script(script, keys, args=args, is_optional=is_optional))
        return got
