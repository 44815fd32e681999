"""From trouble to judgement: wait until a scene is quiet, look at it during the run, and check it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg

from tests.chaos import checker, facts
from tests.stack.waiting import until

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

LOOK_S = 0.5
SLACK_S = 60.0
UNENDED = "SELECT count(*) FROM jobs WHERE status NOT IN ('COMPLETED', 'DEAD', 'CANCELLED')"
HELD = "SELECT lock FROM jobs WHERE status = 'RUNNING' AND lock IS NOT NULL GROUP BY lock HAVING count(*) > 1"


async def check(scene: Scene, *, within_s: float = 0.0, is_lag_awaited: bool = True) -> dict[str, list[str]]:
    """Heal everything, wait until nothing is left to do, and judge. Returns the violations by invariant.

    Jobs that have not ended `within_s` (default: a TTL and a minute) after the last fault are a violation, not an error.
    """
    await scene.fleet.heal()
    await scene.stores.heal()
    await scene.ready()
    with contextlib.suppress(AssertionError):
        await until(lambda: _is_done(scene), within_s=within_s or scene.ttl_s + SLACK_S, what="the end of all jobs")
    return checker.check(await facts.gather(scene, is_lag_awaited=is_lag_awaited))


async def watch(scene: Scene) -> None:
    """Look at what only a look during the run can see, until cancelled."""
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(scene.dsn, timeout=2)
            try:
                while True:
                    scene.held_twice += [row["lock"] for row in await connection.fetch(HELD, timeout=2)]
                    await asyncio.sleep(LOOK_S)
            finally:
                connection.terminate()
        await asyncio.sleep(LOOK_S)


async def _is_done(scene: Scene) -> bool:
    connection = await asyncpg.connect(scene.dsn)
    try:
        return bool(await connection.fetchval(UNENDED) == 0)
    finally:
        await connection.close()
        await asyncio.sleep(LOOK_S)
