"""Signals as events: the first asks for an orderly end, the second for one at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP of this process while it is `caught`."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.number = 0

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Turn the signals into events; needs the main thread's running loop."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._note, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _note(self, number: int) -> None:
        if self.first.is_set():
            self.second.set()
        else:
            self.number = number
            self.first.set()

    @property
    def exit_code(self) -> int:
        """What a program that was ended by the signal exits with."""
        return 128 + self.number

    async def unless(self, work: Coroutine[object, object, T]) -> T | None:
        """The work's result; None, with the work cancelled, when a signal comes first."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work)
            signalled = group.create_task(self.first.wait())
            await asyncio.wait((working, signalled), return_when=asyncio.FIRST_COMPLETED)
            is_done = working.done()
            working.cancel()
            signalled.cancel()
        return working.result() if is_done else None
