"""The lease model's rescuers: Relay's own, one look at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from relay import errors
from relay.maintenance.announce import Announcer
from relay.maintenance.rescue import Rescuer
from relay.maintenance.state import State
from tests.integration.lease_model_calls import GatedLeases, Site
from tests.integration.lease_model_worker import Silent

if TYPE_CHECKING:
    from relay.store.connection import Pool
    from tests.integration.lease_model import World


class Watcher:
    """One rescuer; between its looks, and between the steps of one, any time may pass."""

    is_free = True

    def __init__(self, world: World) -> None:
        site, leases = cast("Pool", Site(world.wire, self)), GatedLeases(world.redis, world.wire, self)
        self.state = State()
        self._rescuer = Rescuer(
            site, leases, Announcer(site, leases, Silent()), self.state, clock=lambda: world.rescuer_s
        )
        self._loop = asyncio.get_running_loop()
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_looking(self) -> bool:
        return self._looking is not None and not self._looking.done()

    def look(self) -> None:
        self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        with contextlib.suppress(errors.Unavailable):
            await self._rescuer.look()

    def raise_errors(self) -> None:
        """Raise what a look should not have ended with."""
        if self._looking is not None and self._looking.done() and not self._looking.cancelled():
            self._looking.result()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
