"""A service manager's end of sd_notify: a real datagram socket, and what was sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """Hears what services say. `environ` is what it gives them; its watchdog bears `bears_s` without a message."""

    def __init__(self, path: Path, receiver: socket.socket, bears_s: float) -> None:
        self._receiver = receiver
        self.messages: list[dict[str, str]] = []
        self.environ = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(round(bears_s * 1e6)),
            "WATCHDOG_PID": "1",  # systemd names the process that it started: the guard
        }
        self._fresh = asyncio.Event()

    def hear(self) -> None:
        """Take what has arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._receiver.recv(65536).decode().split("\n")
                self.messages.append(dict(line.split("=", 1) for line in lines))
                self._fresh.set()

    def told(self, name: str) -> list[str]:
        """Every value of this name so far."""
        return [message[name] for message in self.messages if name in message]

    async def wait(self, name: str, value: str, *, within_s: float = 20.0) -> None:
        """Wait until this is said, from now on. Raises TimeoutError."""
        seen = len(self.messages)
        async with asyncio.timeout(within_s):
            while not any(message.get(name) == value for message in self.messages[seen:]):
                self._fresh.clear()
                await self._fresh.wait()


@contextlib.contextmanager
def listening(path: Path, *, bears_s: float = 0.9) -> Iterator[Manager]:
    """Listen at `path` within the block."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.bind(str(path))
        manager = Manager(path, receiver, bears_s)
        loop.add_reader(receiver, manager.hear)
        try:
            yield manager
        finally:
            loop.remove_reader(receiver)
