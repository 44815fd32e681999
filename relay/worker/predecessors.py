"""Fast rescue: what a dead worker of this host left running is killed, and its jobs are given back at once.

A predecessor is a worker of the same host, kernel boot and pid namespace whose process is gone: its pid is free, belongs
to a process with another start time, or is a zombie that nobody has reaped yet. Every process that still carries one of its
claims is killed, until two scans a second apart are clean; only then are its attempts recorded as lost. Strays go first, whatever
became of their attempts: a rescuer may have been faster than this start. A worker that is only just dying is not gone yet, so this
looks again for the length of a lease; after that, silence tells.
Cookies miss a program that rewrote its environment: only a cgroup is certain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, log
from relay.process import strays, tree
from relay.store import rescue
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.connection import Pool
    from relay.worker.aftermath import Aftermath

_log = log.get(__name__)
_LOOK_S = 1.0
_STRAYS_S = 1.0


async def rescue_predecessors(pool: Pool, aftermath: Aftermath, *, worker_id: int, ttl_s: float) -> None:
    """Sweep and rescue after this worker's start; an outage of PostgreSQL only delays it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ttl_s
    is_over = False
    while not is_over:
        is_late = loop.time() > until
        try:
            is_over = await _rescue_once(pool, aftermath, worker_id) or is_late
        except errors.Unavailable:
            is_over = False
        if not is_over:
            await asyncio.sleep(_LOOK_S)


async def _rescue_once(pool: Pool, aftermath: Aftermath, worker_id: int) -> bool:
    """Look once, and act on it. True: no predecessor that may yet be found gone is left."""
    killed = await asyncio.to_thread(strays.kill, within_s=_STRAYS_S)
    if killed:
        _log.info("strays.killed", processes=killed)
    procs = tree.snapshot()
    async with connection(pool) as conn:
        earlier = await rescue.list_predecessors(conn, worker_id)
    gone = [each for each in earlier if _is_gone(each, procs)]
    claims = [claim for each in gone for claim in each.claims]
    if claims:
        if not await _sweep([claim.claim_id for claim in claims]):
            return True
        await _give_back(pool, aftermath, gone, claims)
    return not any(each.claims for each in earlier if each not in gone)


async def _give_back(
    pool: Pool, aftermath: Aftermath, gone: Sequence[rescue.Predecessor], claims: Sequence[rescue.LostClaim]
) -> None:
    async with connection(pool) as conn:
        lost = await rescue.lose_attempts(conn, claims)
        await rescue.mark_lost(conn, {each.worker_id: each.hb_seq for each in gone})
    _log.info("predecessors.rescued", workers=[each.worker_id for each in gone if each.claims], jobs=len(lost.pairs))
    aftermath.add_lost(lost)


def _is_gone(predecessor: rescue.Predecessor, procs: Mapping[int, tree.Proc]) -> bool:
    proc = procs.get(predecessor.pid)
    return proc is None or proc.start != predecessor.pid_start or tree.is_dead(proc)


async def _sweep(claim_ids: Sequence[str]) -> bool:
    """Kill what still carries these claims. False: something survives SIGKILL, and the jobs are left to silence."""
    try:
        killed = await asyncio.to_thread(tree.sweep, claim_ids)
    except TimeoutError as error:
        _log.error("predecessors.not_clean", error=str(error))
        return False
    _log.info("predecessors.swept", claims=len(claim_ids), killed=killed)
    return True
