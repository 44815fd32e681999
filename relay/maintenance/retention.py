"""Retention, once an hour, or more often where little is kept: output's partitions are made days ahead, and what is past its time goes.

It goes a batch at a time, and between batches others get their turn, so that a million old jobs are no burden to the ones that run.
Making or dropping a partition needs a short exclusive lock on `output`; it waits two seconds for it at most and then leaves it to
the next round, which comes soon after a failure.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import asyncpg

from relay import log
from relay.store import retention
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.maintenance.state import State
    from relay.store.connection import Connection, Pool

ROUND_S: Final = 3600.0
AGAIN_S: Final = 60.0
UNUSED_S: Final = 3600.0  # lost workers, and names of locks
_PAUSE_S = 0.02

_log = log.get(__name__)


def pause_s(retention_s: float) -> float:
    """How long after a round the next is due, in seconds."""
    return min(ROUND_S, retention_s / 2)


async def round_once(pool: Pool, state: State, *, retention_s: float) -> bool:
    """Do one round; return False if a partition could not be made or dropped now."""
    is_whole = await _try_days(pool, retention.ensure_output_days)
    jobs = await _in_batches(pool, lambda conn: retention.delete_old_jobs(conn, retention_s))
    await _in_batches(pool, lambda conn: retention.delete_stray_output(conn, retention_s))
    await _in_batches(pool, lambda conn: retention.forget_unused_locks(conn, UNUSED_S))
    async with connection(pool) as conn:
        await retention.delete_lost_workers(conn, UNUSED_S)
        await retention.delete_old_bad_messages(conn, retention_s)
    is_whole &= await _try_days(pool, lambda conn: retention.drop_old_output_days(conn, retention_s))
    state.deleted += jobs
    state.last_retention_at = time.monotonic()
    if jobs:
        _log.info("retention.round", deleted_jobs=jobs)
    return is_whole


async def _try_days(pool: Pool, change: Callable[[Connection], Awaitable[int]]) -> bool:
    try:
        async with connection(pool) as conn:
            changed = await change(conn)
    except (asyncpg.LockNotAvailableError, asyncpg.CheckViolationError, asyncpg.DuplicateTableError) as error:
        # Somebody reads or writes output for long, or has just written a row of that day to the default partition.
        _log.info("retention.postponed", error=str(error))
        return False
    if changed:
        _log.info("retention.partitions", changed=changed)
    return True


async def _in_batches(pool: Pool, step: Callable[[Connection], Awaitable[int]]) -> int:
    total = 0
    while True:
        async with connection(pool) as conn:
            done = await step(conn)
        total += done
        if done < retention.BATCH:
            return total
        await asyncio.sleep(_PAUSE_S)
