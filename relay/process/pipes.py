"""A job's stdout and stderr: our own pipes, read as the event loop finds them readable.

asyncio's PIPEs would cost a transport each and tie the end of the child to the end of its pipes, which a daemon may hold
open for ever. Chunks are read, never lines, and always at once: what the taker does with them is not the job's concern.
One read a turn, so that a job which floods its stdout leaves the loop to others.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.process.poller import Poller

    Sink = Callable[[int, bytes], None]

_READ_BYTES = 64 << 10
_TURNS = 64  # reads in a row at the end: more than a pipe holds


class Reader:
    """Reads one pipe into `sink(stream, chunk)` until its end or `close`."""

    __slots__ = ("_on_closed", "_poller", "_sink", "fd", "stream")

    def __init__(self, fd: int, stream: int, sink: Sink, *, poller: Poller, on_closed: Callable[[], None]) -> None:
        self.fd = fd
        self.stream = stream
        self._sink = sink
        self._on_closed: Callable[[], None] | None = on_closed
        self._poller = poller
        os.set_blocking(fd, False)  # a job may read its own stdout, and take what was there when we were told of it
        poller.add(fd, self.read)

    def read(self) -> bool:
        """Read once. False: there is nothing more for now, or at all."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._sink(self.stream, data)
            return True
        self.close()
        return False

    def close(self) -> None:
        """Stop reading. Idempotent."""
        if self.fd >= 0:
            self._poller.remove(self.fd)
            os.close(self.fd)
            self.fd = -1
            on_closed, self._on_closed = self._on_closed, None  # no cycle is left for the garbage collector
            if on_closed is not None:
                on_closed()


class Pipes:
    """The two pipes of one child: `stdout` and `stderr` are its ends, ours are read from the start."""

    def __init__(self, sink: Sink, poller: Poller) -> None:
        self._open = 2
        self._ended: asyncio.Future[None] | None = None
        out, self.stdout = os.pipe2(os.O_CLOEXEC)
        try:
            err, self.stderr = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(out)
            os.close(self.stdout)
            raise
        self._readers = (
            Reader(out, 1, sink, poller=poller, on_closed=self._note_end),
            Reader(err, 2, sink, poller=poller, on_closed=self._note_end),
        )

    def close_child_ends(self) -> None:
        """Close the child's ends in this process, so that the pipes end with the job. Idempotent."""
        if self.stdout >= 0:
            os.close(self.stdout)
            os.close(self.stderr)
            self.stdout = self.stderr = -1

    async def drain(self, limit_s: float) -> None:
        """Read what is in the pipes, and on to their end, but not for longer than `limit_s`; then close them."""
        for reader in self._readers:
            turns = _TURNS
            while reader.fd >= 0 and turns and reader.read():
                turns -= 1
        if self._open:
            self._ended = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(limit_s):
                    await self._ended
            except TimeoutError:
                pass  # somebody outside of the job's tree holds an end

    def close(self) -> None:
        """Close all ends. Idempotent."""
        self.close_child_ends()
        if self._open:
            for reader in self._readers:
                reader.close()

    def _note_end(self) -> None:
        self._open -= 1
        if not self._open and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
