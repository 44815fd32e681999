"""Wake-ups over Redis pub/sub: "look at job 42 now", never what to see there.

They only save a poll. Messages are lost while a connection is down (Redis keeps none), so `listen` yields LOST at each drop
and once more when it listens again; whoever hears it looks at everything it waits for. A connection that was silent for
`_SILENCE_S` is pinged, and given up if no pong comes: a cut cable sends no FIN.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
from redis.exceptions import RedisError

from relay.lease import calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from redis.asyncio.client import PubSub

Wake: TypeAlias = tuple[str, tuple[int, ...]]

CHANGED: Final = "changed"  # the job's state changed
OUTPUT: Final = "output"  # it has new output
CANCEL: Final = "cancel"  # its cancellation was asked for
LOST: Final = "lost"  # sent by nobody: the listener may have missed something

_MISSED: Final[Wake] = (LOST, ())
_BATCH = 1000  # job ids a message
_SILENCE_S = 5.0
_RETRY_S = 1.0
_LISTENERS = 1024  # a bound only: connections are opened as listeners come

log = structlog.get_logger(__name__)


class Wakes:
    """Publishing shares the lease calls' connections; each listener has a connection of its own."""

    def __init__(self, url: str, shared: calls.Calls, *, cluster_id: str) -> None:
        self._calls = shared
        self._prefix = f"relay:wake:{{{cluster_id}}}:"
        # No retries: redis-py would reconnect and subscribe again in silence, and nobody would know what was missed.
        self._redis = calls.connect(url, retries=0, connections=_LISTENERS)

    async def publish(self, kind: str, job_ids: Sequence[int]) -> None:
        """Send the ids; give up in silence when Redis can't be reached."""
        for at in range(0, len(job_ids), _BATCH):
            try:
                await self._calls.call("PUBLISH", *self.message(kind, job_ids[at : at + _BATCH]), is_optional=True)
            except calls.LeaseUnavailable:
                return

    def message(self, kind: str, job_ids: Sequence[int]) -> tuple[str, str]:
        """Channel and text that tell listeners about these jobs; for a script that publishes them along with its own work."""
        return self._prefix + kind, ",".join(map(str, job_ids))

    async def listen(self, kinds: Sequence[str]) -> AsyncGenerator[Wake, None]:
        """Yield (kind, job ids) until the caller closes it; see the module's docstring for LOST."""
        is_complete = True  # nothing was missed since the last LOST
        while True:
            try:
                async with contextlib.aclosing(self._session(kinds)) as session:
                    async for wake in session:
                        if wake is not None:
                            yield wake
                        elif not is_complete:
                            yield _MISSED
                        is_complete = True
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("wakes.dropped", error=repr(error))
            if is_complete:
                yield _MISSED
            is_complete = False
            await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1))  # noqa: S311 - spreads reconnects, no secret

    async def close(self) -> None:
        """Close the listeners' connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def _session(self, kinds: Sequence[str]) -> AsyncGenerator[Wake | None, None]:
        """Yield None once subscribed, then wakes; raise when the connection drops or stays silent."""
        async with self._redis.pubsub() as pubsub:
            async with asyncio.timeout(calls.CALL_TIMEOUT_S):
                await pubsub.subscribe(*(self._prefix + kind for kind in kinds))
            missing = len(kinds)  # confirmations
            is_pinged = False
            while True:
                message = await pubsub.get_message(timeout=_SILENCE_S)
                if message is None:
                    await self._ping(pubsub, is_pinged=is_pinged)
                    is_pinged = True
                    continue
                is_pinged = False
                if message["type"] == "subscribe":
                    missing -= 1
                    if not missing:
                        yield None
                elif message["type"] == "message":
                    yield self._parse(message["channel"], message["data"])

    @staticmethod
    async def _ping(pubsub: PubSub, *, is_pinged: bool) -> None:
        if is_pinged:
            raise TimeoutError("Redis sent no pong")
        async with asyncio.timeout(calls.CALL_TIMEOUT_S):
            await pubsub.ping()

    def _parse(self, channel: bytes, data: bytes) -> Wake:
        try:
            return channel.decode().removeprefix(self._prefix), tuple(map(int, data.split(b",")))
        except ValueError:
            return _MISSED  # somebody else's message: look at everything, trust nothing in it
