"""A real Redis (or Valkey), in memory only, on loopback, with a password.

Nothing is saved: PostgreSQL is the truth, and Relay must not miss what Redis forgets. The password is in a file that only this
user can read, and in no command line.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis import asyncio as redis
from redis import exceptions

from relay.dev import child, ports, wheels
from relay.dev.server import Server

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Redis(Server):
    """A running Redis."""

    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        return f"redis://:{self.password}@{self.address}/0"

    async def is_ready(self) -> bool:
        """Whether it answers."""
        async with redis.from_url(self.url, socket_timeout=1) as client:
            with contextlib.suppress(exceptions.RedisError, OSError):
                return bool(await client.ping())
        return False


def start(folder: Path, *, log: Path) -> Redis:
    """Start a Redis that keeps its configuration in `folder`. Wait for `ready` before use."""
    port, password = ports.free_port(), secrets.token_hex(24)
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    lines = [f"bind {ports.HOST}", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no"]
    lines += ["maxmemory-policy noeviction", f'dir "{folder}"']
    configuration.write_text("\n".join(lines) + "\n")
    argv = [str(wheels.redis_program()), str(configuration)]
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    return Redis(launch=lambda: child.spawn("Redis", argv, cwd=folder, log=log, env=env), port=port, password=password)
