"""A job's standard input: nothing, a text, or a stream that is fed as fast as the job reads.

A text lies in a memory file, which needs no feeding and no cleaning up. A stream goes through a pipe, written only when
the job has made room, so that a parent's gigabyte never sits in memory. A job that does not read its input is normal.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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


async def feed(fd: int, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks to a pipe, close it, and end early when nobody reads it any more. Errors of `chunks` are raised."""
    os.set_blocking(fd, False)
    try:
        async for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:
                    await _wait_writable(fd)
    except BrokenPipeError:
        return
    finally:
        os.close(fd)


async def _wait_writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_writer(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_writer(fd)
