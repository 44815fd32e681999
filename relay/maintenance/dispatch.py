"""Dispatch: retries and delayed jobs that fall due are published; jobs that were never started in time end as expired.

A look every quarter of a second, sooner after one that found something, and at once after a full batch: a job starts that
much late at most, and a hundred thousand falling due within a minute are some 200 a look. Lock jobs are not published
themselves, but the heads of their locks are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from relay.store import due
from relay.store.connection import connection

if TYPE_CHECKING:
    from relay.maintenance.announce import Announcer
    from relay.maintenance.state import State
    from relay.store.connection import Pool

LOOK_S: Final = 0.25
LOOK_AGAIN_S: Final = 0.1  # after a look that found something: where jobs fall due, more do
EXPIRY_LOOK_S: Final = 0.5


async def dispatch_once(pool: Pool, announcer: Announcer, state: State) -> bool:
    """Dispatch a batch; return whether there may be more."""
    async with connection(pool) as conn:
        batch = await due.dispatch_due(conn)
    state.last_dispatch_at = time.monotonic()
    state.dispatched += len(batch.jobs)
    if batch.jobs:
        await announcer.announce(changed=batch.jobs, refs=batch.refs, lock_names=batch.locks)
    return len(batch.jobs) >= due.BATCH


async def expire_once(pool: Pool, announcer: Announcer, state: State) -> bool:
    """End a batch of jobs that have expired; return whether there may be more."""
    async with connection(pool) as conn:
        batch = await due.expire_due(conn)
    state.expired += len(batch.jobs)
    if batch.jobs:
        await announcer.announce(changed=batch.jobs, refs=batch.refs, lock_names=batch.locks)
    return len(batch.jobs) >= due.BATCH
