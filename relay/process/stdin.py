"""A job's standard input: nothing, a text, or a stream that is fed as fast as the job reads.

A text lies in a memory file, which needs no feeding and no cleaning up. A stream goes through a pipe, written only when
the job has made room, so that a parent's gigabyte never sits in memory. A job that does not read its input is normal.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@functools.cache
def null() -> int:
    """Give a descriptor of /dev/null that stays open: opening it anew for every child costs more than the look of it."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def open_text(text: str) -> int:
    """Give a descriptor that reads as `text` in UTF-8."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        view = memoryview(text.encode())
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


class Feed:
    """A pipe that is fed: `child_end` is the job's stdin. The caller closes that after the spawn."""

    def __init__(self) -> None:
        self.child_end, self._fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)

    async def run(self, chunks: AsyncIterator[bytes]) -> None:
        """Write all chunks and end the stream; return early when nobody reads it. Errors of `chunks` are raised."""
        with contextlib.suppress(BrokenPipeError):
            async for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    try:
                        view = view[os.write(self._fd, view) :]
                    except BlockingIOError:
                        await self._wait_writable()
        self.close()

    def close(self) -> None:
        """Close the end that is written to. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _wait_writable(self) -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.add_writer(self._fd, event.set)
        try:
            await event.wait()
        finally:
            loop.remove_writer(self._fd)
