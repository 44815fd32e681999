"""Calls to Redis that always end within a second.

The lease protocol counts every call from its sending, so an answer that comes late is worth nothing: each call gives up after
`CALL_TIMEOUT_S`, whether Redis refuses, is stopped, or swallows packets. A call that is given up may still be applied
later; the scripts in `locks` are written so that this is harmless (they compare the owner, and never set by force).

After a timeout, calls that can do without Redis (`is_optional`) fail at once for a second: else a silent Redis would cost
every batch of claims a second. Renewals and looks always try.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CALL_TIMEOUT_S = 1.0
_SILENT_PAUSE_S = 1.0


class LeaseUnavailable(Exception):
    """Redis did not answer in time, or answered with an error."""


def connect(url: str, *, retries: int, connections: int = 4) -> Redis:
    """Make a client with a small pool; connects at the first call. Bytes in, bytes out, on every Redis from 6.2."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=CALL_TIMEOUT_S,
        # None: else redis-py sends under asyncio.wait_for, which swallows cancellations on Python 3.11. Callers bound each call.
        socket_timeout=None,
        socket_connect_timeout=CALL_TIMEOUT_S,
        socket_keepalive=True,
        protocol=2,
        # One retry mends a connection that a restart of Redis has left half-dead; the scripts may run twice.
        retry=Retry(NoBackoff(), retries),
    )
    return Redis.from_pool(pool)


def _execute(redis: Redis, *args: str | bytes | int) -> Awaitable[object]:
    return cast("Callable[..., Awaitable[object]]", redis.execute_command)(*args)  # redis-py leaves it untyped


class Script:
    """A Lua script: one atomic step over all keys of a batch (230,000 locks a second, against 10,000 one call each)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], args: Sequence[str | int]) -> object:
        """Run by hash; a Redis that has forgotten the script (restarted, replaced) is sent its text."""
        try:
            return await _execute(redis, "EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return await _execute(redis, "EVAL", self._text, len(keys), *keys, *args)


class Calls:
    """Redis calls with a deadline and one kind of failure. `is_up` is what the last call saw (None: none yet)."""

    def __init__(self, url: str) -> None:
        self.is_up: bool | None = None
        self._redis = connect(url, retries=1)
        self._silent_until = 0.0

    async def call(self, name: str, *args: str | bytes | int, is_optional: bool = False) -> object:
        """Run one command; raise LeaseUnavailable after at most CALL_TIMEOUT_S."""
        return await self._bounded(lambda: _execute(self._redis, name, *args), is_optional=is_optional)

    async def script(
        self, script: Script, keys: Sequence[str], *, args: Sequence[str | int], is_optional: bool = False
    ) -> object:
        """Run a script; raise LeaseUnavailable after at most CALL_TIMEOUT_S."""
        return await self._bounded(lambda: script.run(self._redis, keys, args), is_optional=is_optional)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def _bounded(self, run: Callable[[], Awaitable[object]], *, is_optional: bool) -> object:
        if is_optional and time.monotonic() < self._silent_until:
            raise LeaseUnavailable("Redis did not answer a moment ago")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await run()
        except (RedisError, OSError, TimeoutError) as error:
            self.is_up = False
            if isinstance(error, (TimeoutError, RedisTimeoutError)):
                self._silent_until = time.monotonic() + _SILENT_PAUSE_S
            raise LeaseUnavailable(str(error) or "Redis did not answer in time") from error
        self.is_up = True
        self._silent_until = 0.0
        return answer
