"""After a commit: publish jobs that may be claimed, pass on named locks, wake who waits. Best effort: a steal finds the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay.lease import CHANGED
from relay.store import locks
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.lease import Leases
    from relay.model.records import JobRef
    from relay.store.connection import Pool


class Publishes(Protocol):
    """What of `relay.bus.Publisher` maintenance needs."""

    def publish(self, refs: Sequence[JobRef]) -> None:
        """Hand jobs to Kafka without waiting."""


class Announcer:
    """Tells others what a step has changed."""

    def __init__(self, pool: Pool, leases: Leases, publisher: Publishes) -> None:
        self._pool = pool
        self._leases = leases
        self._publisher = publisher

    async def announce(
        self, *, changed: Iterable[int], refs: Iterable[JobRef] = (), lock_names: Sequence[str] = ()
    ) -> None:
        """Publish `refs` and the heads of these named locks, then wake those who wait for the changed jobs.

        Raises Unavailable when the heads can't be read; the rest has been done then.
        """
        self._publisher.publish(list(refs))
        await self._leases.publish_wake(CHANGED, list(changed))
        if lock_names:
            async with connection(self._pool) as conn:
                heads = await locks.heads(conn, lock_names)
            self._publisher.publish(heads)
