"""What a job prints: counted exactly, kept up to a cap per stream, handed on in one order, in little memory.

The first half of the cap is handed on as it comes; of the rest the last half is kept and handed on at the end, when it is
known to be the last. What nobody has taken yet waits in memory (128 KiB) and then on disk, so a slow database never blocks
a job, and neither does a full disk: that costs output, which is counted as dropped. `seq` counts from 1 over both streams
and is given when a piece is taken, hence without gaps. Within a stream order is exact; between the streams it is the order
in which their pipes were read.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from relay.process import scratch
from relay.process.spool import PIECE_BYTES, Piece, Queue, Spool, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDOUT, STDERR = 1, 2
_MEMORY_BYTES = 128 << 10
_ENTRY_BYTES = 256  # what a waiting piece costs beside its data, so that tiny pieces are bounded too
_JOIN_S = 0.25  # pieces that came closer together become one


class Chunk(NamedTuple):
    """A piece of output: its number in the attempt from 1, when it came (UTC), 1 stdout or 2 stderr, the bytes."""

    seq: int
    ts: datetime
    stream: int
    data: bytes


class _Waiting:
    """A piece in memory that may still grow."""

    __slots__ = ("data", "stream", "ts")

    def __init__(self, stream: int, ts: float, data: bytes) -> None:
        self.stream = stream
        self.ts = ts
        self.data: bytes | bytearray = data

    def join(self, stream: int, ts: float, data: bytes) -> bool:
        """Take `data` in if it belongs together with what is here."""
        if stream != self.stream or ts - self.ts > _JOIN_S or len(self.data) + len(data) > PIECE_BYTES:
            return False
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data += data
        return True


class _Stream:
    """One stream's account."""

    __slots__ = ("head_kept", "head_left", "tail", "total")

    def __init__(self, head_bytes: int) -> None:
        self.total = 0
        self.head_left = head_bytes
        self.head_kept = 0
        self.tail: Tail | None = None

    @property
    def dropped(self) -> int:
        return self.total - self.head_kept - (self.tail.kept if self.tail else 0)


class Output:
    """One attempt's output, with a cap of `limit_bytes` per stream.

    `on_data` is called when there is something to take and there was nothing before. `add` … `finish` is the side of the
    job; `take` may be called at any time; `close` gives everything back.
    """

    def __init__(
        self,
        limit_bytes: int,
        spool_dir: str | None = None,
        *,
        on_data: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tail_bytes = limit_bytes // 2
        head_bytes = limit_bytes - self._tail_bytes
        self._streams = {STDOUT: _Stream(head_bytes), STDERR: _Stream(head_bytes)}
        self._spool = Spool(scratch.root if spool_dir is None else lambda: spool_dir)
        self._queue = Queue(self._spool, base=2 * self._tail_bytes)
        self._waiting: deque[_Waiting] = deque()
        self._memory_bytes = 0  # with _ENTRY_BYTES for each
        self._pending_bytes = 0
        self._lost_bytes = 0  # to a disk that could not be read
        self._tails: Iterator[Piece] | None = None
        self._rest: Piece | None = None  # looked at, but too large for that take
        self._seq = 0
        self._is_finished = False
        self._on_data = on_data
        self._clock = clock

    @property
    def stdout_bytes(self) -> int:
        """How many bytes were printed to stdout, kept or not."""
        return self._streams[STDOUT].total

    @property
    def stderr_bytes(self) -> int:
        """How many bytes were printed to stderr, kept or not."""
        return self._streams[STDERR].total

    @property
    def dropped_bytes(self) -> int:
        """How many bytes were printed but are not kept, over both streams."""
        return sum(stream.dropped for stream in self._streams.values()) + self._lost_bytes

    @property
    def is_truncated(self) -> bool:
        """Whether what is kept is not all that was printed."""
        return self.dropped_bytes > 0

    @property
    def pending_bytes(self) -> int:
        """How much there is to take now; the kept ends of the streams count once it is finished."""
        return self._pending_bytes

    def add(self, stream: int, data: bytes) -> None:
        """Take in what a stream printed."""
        if not data or self._is_finished:
            return
        account, ts = self._streams[stream], self._clock()
        account.total += len(data)
        if account.head_left:
            head = data[: account.head_left]
            if self._enqueue(Piece(stream, ts, head)):
                account.head_left -= len(head)
                account.head_kept += len(head)
                data = data[len(head) :]
            else:
                account.head_left = 0
        if data:
            if account.tail is None:
                base = (stream - 1) * self._tail_bytes
                account.tail = Tail(self._spool, stream=stream, base=base, capacity=self._tail_bytes)
            account.tail.add(ts, data)

    def finish(self) -> None:
        """Note that nothing more will come: from here on the kept ends can be taken too. Idempotent."""
        if self._is_finished:
            return
        self._is_finished = True
        tails = [stream.tail for stream in self._streams.values() if stream.tail is not None]
        if tails:
            self._tails = heapq.merge(*(tail.pieces() for tail in tails), key=_arrival)
            self._announce(sum(tail.kept for tail in tails))

    def take(self, max_bytes: int) -> list[Chunk]:
        """Take the oldest pieces, up to `max_bytes` together (one piece, of at most 64 KiB, if even that is too much)."""
        taken: list[_Waiting] = []
        size = 0
        while (piece := self._next()) is not None:
            if taken and size + len(piece.data) > max_bytes:
                self._rest = piece
                break
            size += len(piece.data)
            if not taken or not taken[-1].join(*piece):
                taken.append(_Waiting(*piece))
        else:
            self._lost_bytes += self._pending_bytes - size
            self._pending_bytes = size
        self._pending_bytes -= size
        return [self._number(piece) for piece in taken]

    def close(self) -> None:
        """Let go of everything; what was not taken is gone. Idempotent."""
        self._on_data = None
        self.finish()
        self._tails = None
        self._rest = None
        self._waiting.clear()
        self._memory_bytes = self._pending_bytes = 0
        self._spool.close()

    def _enqueue(self, piece: Piece) -> bool:
        if self._queue.size or self._memory_bytes + len(piece.data) > _MEMORY_BYTES:
            if not self._queue.put(piece):
                return False
        elif self._waiting and self._waiting[-1].join(*piece):
            self._memory_bytes += len(piece.data)
        else:
            self._waiting.append(_Waiting(*piece))
            self._memory_bytes += len(piece.data) + _ENTRY_BYTES
        self._announce(len(piece.data))
        return True

    def _announce(self, size: int) -> None:
        was_empty = self._pending_bytes == 0
        self._pending_bytes += size
        if was_empty and size and self._on_data is not None:
            self._on_data()

    def _next(self) -> Piece | None:
        if self._rest is not None:
            piece, self._rest = self._rest, None
            return piece
        if self._waiting:
            waiting = self._waiting.popleft()
            self._memory_bytes -= len(waiting.data) + _ENTRY_BYTES
            return Piece(waiting.stream, waiting.ts, bytes(waiting.data))
        if self._queue.size and (queued := self._queue.get()) is not None:
            return queued
        return next(self._tails, None) if self._tails is not None else None

    def _number(self, piece: _Waiting) -> Chunk:
        self._seq += 1
        return Chunk(self._seq, datetime.fromtimestamp(piece.ts, UTC), piece.stream, bytes(piece.data))


def _arrival(piece: Piece) -> float:
    return piece.ts
