"""Many descriptors behind one: the pidfds and pipes of all attempts, in an epoll of their own.

A worker watches three descriptors per attempt, for milliseconds each. The event loop's `add_reader` costs 10 µs per
descriptor and as much again to take it back; this costs a tenth of that. The loop watches the epoll itself (an epoll is
readable when one of its descriptors is), and what is ready is called in one go. Level-triggered: a callback that leaves
something to read is called again in the loop's next turn. A callback must not raise; if one does, the loop's exception
handler hears of it and the others are called all the same.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Poller:
    """Calls back when descriptors can be read. For one event loop, and used from it only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._call)

    def add(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` whenever `fd` can be read, or is at its end, until `remove`. Raises OSError."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Stop that; to be called before `fd` is closed."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def close(self) -> None:
        """Let go of all descriptors; none of them is closed. Idempotent."""
        if not self._epoll.closed:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._callbacks.clear()

    def _call(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)  # None: an earlier one has removed it
            if callback is None:
                continue
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - what the loop does for a callback of its own
                self._loop.call_exception_handler({"message": f"{callback} failed", "exception": error})
