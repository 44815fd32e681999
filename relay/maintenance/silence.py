"""How long something has been seen unchanged, by this process's own monotonic clock. No wall clock is ever compared.

A value counts as unchanged from when the first look that saw it had come back, to when the last one was sent: never longer
than it truly was. Looks too far apart start every count again: after a time in which nobody looked (this process was
stopped, PostgreSQL was away), a worker must first get the chance to show that it lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Silence(Generic[K, V]):
    """Watches values by key. `max_gap_s` is the longest time between two looks that belong to one count."""

    def __init__(self, *, max_gap_s: float) -> None:
        self._max_gap_s = max_gap_s
        self._seen: dict[K, tuple[V, float]] = {}
        self._sent_at: float | None = None

    def see(self, values: Mapping[K, V], *, sent_at: float, received_at: float) -> dict[K, float]:
        """Take in one look; return for each key how many seconds its value has been unchanged."""
        if self._sent_at is not None and received_at - self._sent_at > self._max_gap_s:
            self.restart()
        self._sent_at = sent_at
        seen: dict[K, tuple[V, float]] = {}
        for key, value in values.items():
            last = self._seen.get(key)
            seen[key] = last if last is not None and last[0] == value else (value, received_at)
        self._seen = seen
        return {key: max(0.0, sent_at - since) for key, (_, since) in seen.items()}

    def restart(self) -> None:
        """Start all counts again: a look has failed."""
        self._seen = {}
        self._sent_at = None
