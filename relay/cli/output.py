"""Write a job's output where it belongs: its stdout to stdout, its stderr to stderr, in order of arrival.

To a file or a pipe go the bytes as the job wrote them. What goes to a terminal is neutralised first, unless it was asked for
raw.
"""

from __future__ import annotations

import base64
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from relay.cli import terminal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from typing import TextIO

    from relay.client.types import Record


def data_of(record: Record) -> bytes:
    """The record's bytes."""
    if "base64" in record:
        return base64.b64decode(record["base64"])
    return record.get("text", "").encode("utf-8", "surrogatepass")


async def copy(
    coming: AsyncIterator[Record], writer: Writer, *, may_write: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Write records as they come; each waits for `may_write` first."""
    async with aclosing(cast("AsyncGenerator[Record]", coming)) as records:
        async for record in records:
            if may_write is not None:
                await may_write()
            writer.write(record)


class Writer:
    """Writes records as they come. Raises BrokenPipeError once its reader is gone."""

    def __init__(self, *, raw: bool = False) -> None:
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._neutralisers = {
            name: terminal.Neutraliser()
            for name, stream in self._streams.items()
            if terminal.is_terminal(stream) and not raw
        }

    def write(self, record: Record) -> None:
        """Write one record and flush it, so that a follower sees it at once."""
        self._put(record["stream"], data_of(record))

    def close(self) -> None:
        """Write what was held back, such as half a character."""
        for name in self._neutralisers:
            self._put(name, b"", final=True)

    def _put(self, name: str, data: bytes, *, final: bool = False) -> None:
        stream: TextIO = self._streams[name]
        if name in self._neutralisers:
            encoding = stream.encoding or "utf-8"
            data = self._neutralisers[name].feed(data, final=final).encode(encoding, "replace")
        if data:
            stream.flush()
            stream.buffer.write(data)
            stream.buffer.flush()
