"""Room on disk for output that waits: an unnamed file, a first-in-first-out of chunks in it, and rings for tails.

An attempt's memory stays small however much it prints, so what the database has not taken yet, and the last half of each
stream, lie in one file that has no name: nothing is left of it when the worker is killed. Offsets: two rings of `capacity`
bytes, then the queue. A full disk is an answer here (`False`), never an exception: the job must go on.
Writes go to the page cache; they are not synced, since output of a dead worker's attempt is lost with its memory anyway.
"""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 64 << 10
_FLUSH_BYTES = 32 << 10
_SEGMENTS = 64
_HEADER = struct.Struct("<BdI")


class Piece(NamedTuple):
    """Output of one stream (1 or 2) that arrived at `ts` (seconds since the epoch)."""

    stream: int
    ts: float
    data: bytes


class Spool:
    """An unnamed file, opened at the first write. `folder` is asked only then."""

    def __init__(self, folder: Callable[[], str]) -> None:
        self._folder = folder
        self._fd: int | None = None

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> bool:
        """Write all of `data`; False when the disk does not take it."""
        try:
            if self._fd is None:
                self._fd = _open_unnamed(self._folder())
            return os.pwrite(self._fd, data, offset) == len(data)
        except OSError:
            return False

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes; fewer at the end, or when the disk fails."""
        if self._fd is None:
            return b""
        try:
            return os.pread(self._fd, size, offset)
        except OSError:
            return b""

    def close(self) -> None:
        """Give the room back. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _open_unnamed(folder: str) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # overlayfs before 6.1, NFS and others know no O_TMPFILE
        fd, path = tempfile.mkstemp(dir=folder)
        os.unlink(path)  # noqa: PTH108 - a descriptor's companion, no path object
        return fd


class Queue:
    """Chunks in the order of their arrival, on disk."""

    def __init__(self, spool: Spool, *, base: int) -> None:
        self._spool = spool
        self._base = self._start = self._end = base
        self.size = 0

    def put(self, piece: Piece) -> bool:
        """Append one chunk; False when the disk is full (nothing of it is kept then)."""
        frame = _HEADER.pack(piece.stream, piece.ts, len(piece.data)) + piece.data
        if not self._spool.write(self._end, frame):
            return False
        self._end += len(frame)
        self.size += len(piece.data)
        return True

    def get(self) -> Piece | None:
        """Take the oldest chunk; None when there is none, or when the disk can't be read (the rest is given up then)."""
        if self._start == self._end:
            return None
        header = self._spool.read(self._start, _HEADER.size)
        stream, ts, size = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, 0.0, 0)
        data = self._spool.read(self._start + _HEADER.size, size)
        if not size or len(data) < size:
            self._start = self._end = self._base
            self.size = 0
            return None
        self._start += _HEADER.size + size
        self.size -= size
        if self._start == self._end:
            self._start = self._end = self._base
        return Piece(stream, ts, data)


class Tail:
    """The last `capacity` bytes of one stream: a ring on disk whose newest part waits in memory.

    `kept` counts what would be given now. After a failed write everything before it is given up, so that what is kept is
    always one unbroken end of the stream.
    """

    def __init__(self, spool: Spool, *, stream: int, base: int, capacity: int) -> None:
        self._spool = spool
        self._stream = stream
        self._base = base
        self._capacity = capacity
        self._total = 0
        self._floor = 0  # nothing before this offset is readable
        self._buffer = bytearray()  # the bytes up to _total
        self._segments: deque[tuple[int, float]] = deque()  # where they start, and when they came
        self._segment_bytes = max(4096, capacity // _SEGMENTS)

    @property
    def kept(self) -> int:
        """How many bytes it holds."""
        return self._total - self._first

    @property
    def _first(self) -> int:
        return max(self._floor, self._total - self._capacity)

    def add(self, ts: float, data: bytes) -> None:
        """Append; the oldest bytes make room."""
        if not self._capacity:
            self._total += len(data)
            return
        if not self._segments or self._total - self._segments[-1][0] >= self._segment_bytes:
            self._segments.append((self._total, ts))
        self._total += len(data)
        self._buffer += data
        if self._capacity <= _FLUSH_BYTES:
            del self._buffer[: -self._capacity]
        elif len(self._buffer) >= _FLUSH_BYTES:
            self._flush()
        while len(self._segments) > 1 and self._segments[1][0] <= self._first:
            self._segments.popleft()

    def pieces(self) -> Iterator[Piece]:
        """Give what is kept, oldest first, a piece at a time."""
        starts = [*self._segments, (self._total, 0.0)]
        for (start, ts), (end, _) in itertools.pairwise(starts):
            position = max(start, self._first)
            while position < end:
                data = self._read(position, min(PIECE_BYTES, end - position))
                if not data:
                    return
                yield Piece(self._stream, ts, data)
                position += len(data)

    def _flush(self) -> None:
        data = memoryview(self._buffer)[-self._capacity :]
        start = (self._total - len(data)) % self._capacity
        room = self._capacity - start
        is_written = self._spool.write(self._base + start, data[:room])
        if is_written and len(data) > room:
            is_written = self._spool.write(self._base, data[room:])
        data.release()
        self._buffer.clear()
        if not is_written:
            self._floor = self._total
            self._segments.clear()

    def _read(self, position: int, size: int) -> bytes:
        in_memory_from = self._total - len(self._buffer)
        if position >= in_memory_from:
            offset = position - in_memory_from
            return bytes(self._buffer[offset : offset + size])
        start = position % self._capacity
        return self._spool.read(self._base + start, min(size, in_memory_from - position, self._capacity - start))
