"""Which offsets may be committed: up to the first message that is not done yet.

Messages of a partition are handed out in order but are done in any order. The offset that is committed is the next one to
read after a restart, so it never passes a message whose claim is not durable. Messages that are seen twice because of that
are harmless: the second claim finds the job taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aiokafka import TopicPartition


class Offsets:
    """Open messages of the assigned partitions. Not thread-safe, no I/O."""

    def __init__(self) -> None:
        self._open: dict[TopicPartition, dict[int, None]] = {}  # in order of offset, as dicts keep it
        self._next: dict[TopicPartition, int] = {}
        self._changed: set[TopicPartition] = set()

    def opened(self, tp: TopicPartition, offset: int) -> None:
        """Note that a message was taken. Those of a partition come in order."""
        self._open.setdefault(tp, {})[offset] = None
        self._next[tp] = offset + 1

    def partitions(self) -> frozenset[TopicPartition]:
        """Return the partitions that messages were taken of."""
        return frozenset(self._next)

    def done(self, tp: TopicPartition, offset: int) -> None:
        """Note that a message is done. One of a partition that was revoked meanwhile is ignored."""
        still = self._open.get(tp)
        if still is not None and offset in still:
            del still[offset]
            self._changed.add(tp)

    def take(self) -> dict[TopicPartition, int]:
        """Return what can be committed since the last call: the next offset to read, by partition."""
        changed, self._changed = self._changed, set()
        return {tp: self._first(tp) for tp in changed}

    def put_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Count these as changed again: their commit failed."""
        self._changed.update(tp for tp in partitions if tp in self._next)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Drop all that is known of partitions that were revoked."""
        for tp in partitions:
            self._open.pop(tp, None)
            self._next.pop(tp, None)
            self._changed.discard(tp)

    def _first(self, tp: TopicPartition) -> int:
        return next(iter(self._open[tp]), self._next[tp])
