"""Fast rescue: what a dead worker of this host left running is killed, and its jobs are given back at once.

A predecessor is a worker of the same host, kernel boot and pid namespace whose process is gone (its pid is free, or belongs
to a process with another start time). Every process that still carries one of its claims is killed, until two scans a
second apart are clean; only then are its attempts recorded as lost. Cookies miss a program that rewrote its
environment: only a cgroup is certain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, log
from relay.process import tree
from relay.store import rescue
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Pool
    from relay.worker.aftermath import Aftermath

_log = log.get(__name__)
_RETRY_S = 0.5


async def rescue_predecessors(pool: Pool, aftermath: Aftermath, *, worker_id: int) -> None:
    """Sweep and rescue once, after this worker's start; an outage of PostgreSQL only delays it."""
    while True:
        try:
            await _rescue_once(pool, aftermath, worker_id)
        except errors.Unavailable:
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _rescue_once(pool: Pool, aftermath: Aftermath, worker_id: int) -> None:
    async with connection(pool) as conn:
        gone = [each for each in await rescue.list_predecessors(conn, worker_id) if _is_gone(each)]
    claims = [claim for each in gone for claim in each.claims]
    if not claims or not await _sweep([claim.claim_id for claim in claims]):
        return
    async with connection(pool) as conn:
        lost = await rescue.lose_attempts(conn, claims)
        await rescue.mark_lost(conn, {each.worker_id: each.hb_seq for each in gone})
    _log.info("predecessors.rescued", workers=[each.worker_id for each in gone], jobs=len(lost.pairs))
    aftermath.add_lost(lost)


def _is_gone(predecessor: rescue.Predecessor) -> bool:
    return tree.start_time(predecessor.pid) != predecessor.pid_start


async def _sweep(claim_ids: Sequence[str]) -> bool:
    """Kill what still carries these claims. False: something survives SIGKILL, and the jobs are left to silence."""
    try:
        killed = await asyncio.to_thread(tree.sweep, claim_ids)
    except TimeoutError as error:
        _log.error("predecessors.not_clean", error=str(error))
        return False
    _log.info("predecessors.swept", claims=len(claim_ids), killed=killed)
    return True
