"""Loopback ports: find free ones, and wait until a server answers on one.

A port that was free may be taken by the time a server binds it; the server then ends, and its log says why. That is rare
enough to be an error and not a loop: the kernel hands out ephemeral ports far apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from relay import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.dev.child import Child

HOST = "127.0.0.1"
POLL_S = 0.01


def free_port(preferred: int = 0) -> int:
    """A free loopback port: `preferred` if it is free, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, preferred))
            return int(probe.getsockname()[1])
    return free_port()


async def answers(port: int) -> bool:
    """Whether something accepts connections on this port."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def wait_until_ready(child: Child, is_ready: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    """Poll a server until it is ready. Raises Unavailable with the end of its log when it ends or takes too long."""
    try:
        async with asyncio.timeout(within_s):
            while not await is_ready():
                if not child.is_running:
                    raise errors.Unavailable(f"{child.name} ended at its start:\n{child.tail()}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise errors.Unavailable(f"{child.name} did not answer within {within_s:g} s:\n{child.tail()}") from None
