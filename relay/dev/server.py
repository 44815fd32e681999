"""A process that serves on a loopback port: start it, wait until it answers, start it again, end it.

The stores and `relay serve` are all such servers; a `relay work` is one without a port (`port` 0). Starting again keeps port and
password, so whoever used the server before finds it again.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.dev import ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.dev.child import Child

READY_S = 60.0


@dataclass(slots=True)
class Server:
    """A running server; `launch` starts its process. `child` is the process that runs now."""

    launch: Callable[[], Child] = field(repr=False)
    port: int
    child: Child = field(init=False)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 3.0

    def __post_init__(self) -> None:
        self.child = self.launch()

    @property
    def address(self) -> str:
        """host:port."""
        return f"{ports.HOST}:{self.port}"

    async def is_ready(self) -> bool:
        """Whether it answers."""
        return await ports.answers(self.port)

    async def ready(self) -> None:
        """Wait until it answers. Raises Unavailable with the end of its log when it ends or takes too long."""
        await ports.wait_until_ready(self.child, self.is_ready, within_s=READY_S)

    def relaunch(self) -> None:
        """Start it again; it must have ended."""
        self.child = self.launch()

    async def stop(self) -> None:
        """Ask for its end, and kill it if that takes too long."""
        await self.child.stop(self.stop_signal, grace_s=self.stop_s)

    async def kill(self) -> None:
        """End it at once."""
        self.child.kill()
