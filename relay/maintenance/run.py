"""Run maintenance: every step in a loop of its own, for as long as the process lives.

An outage of PostgreSQL is waited out; it is logged when it begins and ends. A step that fails in another way is logged and
tried again, and does not end the others: without dispatch, rescues must go on, and without either, the API.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from relay import errors, log
from relay.maintenance import dispatch, retention
from relay.maintenance.announce import Announcer, Publishes
from relay.maintenance.rescue import Rescuer
from relay.maintenance.state import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.config import Settings
    from relay.lease import Leases
    from relay.store.connection import Pool

OUTAGE_PAUSE_S: Final = 0.5
FAILURE_PAUSE_S: Final = 5.0

_log = log.get(__name__)


async def run_maintenance(
    pool: Pool, leases: Leases, publisher: Publishes, settings: Settings, *, state: State | None = None
) -> None:
    """Run all steps until cancelled. `state` is kept up to date for whoever shows it."""
    state = state or State()
    announcer = Announcer(pool, leases, publisher)
    rescuer = Rescuer(pool, leases, announcer, state)

    async def dispatch_step() -> float:
        before = state.dispatched
        if await dispatch.dispatch_once(pool, announcer, state):
            return 0.0
        return dispatch.LOOK_AGAIN_S if state.dispatched > before else dispatch.LOOK_S

    async def expire_step() -> float:
        return 0.0 if await dispatch.expire_once(pool, announcer, state) else dispatch.EXPIRY_LOOK_S

    async def rescue_step() -> float:
        began = asyncio.get_running_loop().time()
        await rescuer.look()
        return max(0.0, rescuer.look_s - (asyncio.get_running_loop().time() - began))

    async def retention_step() -> float:
        is_whole = await retention.round_once(pool, state, retention_s=settings.retention_s)
        pause_s = retention.pause_s(settings.retention_s) if is_whole else retention.AGAIN_S
        return pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads processes

    async with asyncio.TaskGroup() as tasks:
        for name, step in (
            ("dispatch", dispatch_step),
            ("expire", expire_step),
            ("rescue", rescue_step),
            ("retention", retention_step),
        ):
            tasks.create_task(_repeat(name, step, state), name=f"maintenance {name}")


async def _repeat(name: str, step: Callable[[], Awaitable[float]], state: State) -> None:
    """Do a step for ever; it returns after how many seconds it wants to be done again."""
    while True:
        try:
            pause_s = await step()
            _note_postgresql(state, is_up=True)
        except errors.Unavailable:
            _note_postgresql(state, is_up=False)
            pause_s = OUTAGE_PAUSE_S
        except Exception:  # noqa: BLE001 - one step's fault must end neither the others nor the API
            _log.exception("maintenance.failed", step=name)
            pause_s = FAILURE_PAUSE_S
        await asyncio.sleep(pause_s)


def _note_postgresql(state: State, *, is_up: bool) -> None:
    if state.is_postgresql_up is not is_up:
        state.is_postgresql_up = is_up
        (_log.info if is_up else _log.warning)("postgresql.reachable" if is_up else "postgresql.unreachable")
