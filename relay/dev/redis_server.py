"""A real Redis (or Valkey), in memory only, on loopback, with a password.

Nothing is saved: PostgreSQL is the truth, and Relay must not miss what Redis forgets. The configuration is given on stdin, so
that the password is in no command line.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis import asyncio as redis
from redis import exceptions

from relay.dev import child, ports, wheels

if TYPE_CHECKING:
    from pathlib import Path

STOP_S = 3.0


@dataclass(frozen=True, slots=True)
class Redis:
    """A running Redis."""

    child: child.Child
    port: int
    password: str

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        return f"redis://:{self.password}@{ports.HOST}:{self.port}/0"

    async def is_ready(self) -> bool:
        """Whether it answers."""
        client = redis.from_url(self.url, socket_timeout=1)
        with contextlib.suppress(exceptions.RedisError, OSError):
            return bool(await client.ping())
        return False

    async def stop(self) -> None:
        """End it."""
        await self.child.stop(signal.SIGTERM, grace_s=STOP_S)


def start(folder: Path, *, log: Path) -> Redis:
    """Start a Redis that keeps its configuration in `folder`. Wait for `is_ready` before use."""
    port, password = ports.free_port(), secrets.token_hex(24)
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    lines = [f"bind {ports.HOST}", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no"]
    lines += ["maxmemory-policy noeviction", f'dir "{folder}"']
    configuration.write_text("\n".join(lines) + "\n")
    argv = [str(wheels.redis_program()), str(configuration)]
    running = child.spawn("Redis", argv, cwd=folder, log=log, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    return Redis(running, port, password)
