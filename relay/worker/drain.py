"""Drain: stop claiming, let running jobs end, hand back what has not ended in time.

The first signal asks; the second skips the wait. PostgreSQL can ask too (`relay worker drain`), through the heartbeat.
"""

from __future__ import annotations

import asyncio


class Drain:
    """Whether this worker should stop, and whether it should stop waiting."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """True from the first request on."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask for a drain; asking again changes nothing."""
        self._asked.set()

    def signal(self) -> None:
        """A signal came: the first drains, the second skips the wait."""
        if self._asked.is_set():
            self._forced.set()
        self._asked.set()

    async def wait_asked(self) -> None:
        """Wait until a drain is asked for."""
        await self._asked.wait()

    async def wait_forced(self) -> None:
        """Wait until the wait is to be skipped."""
        await self._forced.wait()
