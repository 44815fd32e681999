"""A Kafka-compatible broker: Tansu, in memory only, on loopback.

It speaks Kafka's protocol and needs no JVM. It forgets everything when it ends, which costs latency only: a message says no
more than that a job may be claimed. It has no password: a message names a job and nothing else, so writing here is not
code execution.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.dev import child, ports, wheels

if TYPE_CHECKING:
    from pathlib import Path

STOP_S = 3.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    child: child.Child
    port: int

    @property
    def address(self) -> str:
        """host:port."""
        return f"{ports.HOST}:{self.port}"

    async def is_ready(self) -> bool:
        """Whether it takes connections."""
        return await ports.answers(self.port)

    async def stop(self) -> None:
        """End it."""
        await self.child.stop(signal.SIGTERM, grace_s=STOP_S)


def start(folder: Path, *, log: Path) -> Broker:
    """Start a broker. Wait for `is_ready` before use."""
    port = ports.free_port()
    url = f"tcp://{ports.HOST}:{port}"
    argv = [str(wheels.broker_program()), "broker", "--storage-engine", "memory://tansu/"]
    argv += ["--listener-url", url, "--advertised-listener-url", url]
    running = child.spawn("Kafka broker", argv, cwd=folder, log=log, env={"PATH": "/usr/bin:/bin"})
    return Broker(running, port)
