"""Keep the processes of `relay dev` running, and end them in order.

One that ends is started again: at once when it had run for a while, with growing pauses when it ends again and again. One
that refuses its configuration (78), or that never gets going, ends the whole run with what it said last.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NoReturn

from relay import errors
from relay.dev import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relay.dev.roles import Worker
    from relay.dev.server import Server
    from relay.dev.servers import Servers

STEADY_S = 10.0
FIRST_PAUSE_S = 0.2
MOST_TRIES = 6


class Supervisor:
    """All processes of one `relay dev`. `say` gets a line of talk."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._stores: Servers | None = None
        self._serve: list[Server] = []
        self._workers: list[Worker] = []

    def add_stores(self, stores: Servers) -> None:
        """Watch over the stores."""
        self._stores = stores
        self.record()

    def add_serve(self, server: Server) -> None:
        """Watch over a `relay serve`."""
        self._serve.append(server)
        self.record()

    def add_worker(self, worker: Worker) -> None:
        """Watch over a `relay work`."""
        self._workers.append(worker)
        self.record()

    @property
    def all(self) -> tuple[Server, ...]:
        """Every process that is watched over."""
        return (*(self._stores.all if self._stores else ()), *self._serve, *self._workers)

    def record(self) -> None:
        """Note what runs, for the next start after a `kill -9`."""
        folders = [self._stores.postgres.folder] if self._stores else []
        leftovers.record(self._folder, [server.child for server in self.all], folders=folders)

    async def keep(self) -> NoReturn:
        """Start again whatever ends. Raises BadConfig or Unavailable when that does not help."""
        async with asyncio.TaskGroup() as group:
            for server in self.all:
                group.create_task(self._keep(server))
        raise AssertionError("unreachable: no task of the group returns")

    async def _keep(self, server: Server) -> NoReturn:
        tries = 0
        while True:
            began = time.monotonic()
            code = await server.child.ended()
            tries = 0 if time.monotonic() - began > STEADY_S else tries + 1
            if code == errors.BadConfig.exit_code or tries > MOST_TRIES:
                error = errors.BadConfig if code == errors.BadConfig.exit_code else errors.Unavailable
                raise error(f"{server.child.name} can't run: {server.child.tail()}")
            self._say(f"{server.child.name} ended ({_ending(code)}): starting it again")
            await asyncio.sleep(FIRST_PAUSE_S * (2**tries - 1))
            server.relaunch()
            self.record()

    async def stop(self, *, at_once: asyncio.Event) -> None:
        """End everything, gently until `at_once` is set; nothing runs afterwards."""
        async with asyncio.TaskGroup() as group:
            gently = group.create_task(self._stop_in_order())
            forced = group.create_task(at_once.wait())
            await asyncio.wait((gently, forced), return_when=asyncio.FIRST_COMPLETED)
            gently.cancel()
            forced.cancel()
        async with asyncio.TaskGroup() as group:
            for server in self.all:
                group.create_task(server.kill())

    async def _stop_in_order(self) -> None:
        """Workers first, while the API and the stores still take their last results."""
        for servers in (self._workers, self._serve):
            async with asyncio.TaskGroup() as group:
                for server in servers:
                    group.create_task(server.stop())
        if self._stores:
            await self._stores.stop()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
