"""A Kafka-compatible broker: Tansu, in memory only, on loopback.

It speaks Kafka's protocol and needs no JVM. It forgets everything when it ends, which costs latency only: a message says no
more than that a job may be claimed. It has no password for the same reason: writing here is not code execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.dev import child, ports, wheels
from relay.dev.server import Server

if TYPE_CHECKING:
    from pathlib import Path


def start(folder: Path, *, log: Path) -> Server:
    """Start a broker. Wait for `ready` before use."""
    port = ports.free_port()
    url = f"tcp://{ports.HOST}:{port}"
    argv = [str(wheels.broker_program()), "broker", "--storage-engine", "memory://tansu/"]
    argv += ["--listener-url", url, "--advertised-listener-url", url]
    return Server(lambda: child.spawn("Kafka broker", argv, cwd=folder, log=log, env={"PATH": "/usr/bin:/bin"}), port)
