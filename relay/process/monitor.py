"""Watch a running job's memory and processes, and say which limit it broke.

With limits: every half second, from a cgroup where there is one, else by sampling the tree. Without: only to know the peak,
after half a second (a shorter job has none) and then ever less often, so that a thousand sleeping jobs cost nothing; always by
sampling, since a cgroup's peak has the files in it that were read. The peak is the largest of the sums seen and of what any one
process ever held: a lower bound between the samples.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.process import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.model.payload import Limits
    from relay.process.cgroup import Cgroup

_FIRST_S = 0.5
_LIMITED_FIRST_S = 0.05
_EVERY_S = 0.5
_SELDOM_S = 8.0
_UNLIMITED_PROCESSES = 256  # of a job without limits, no more are measured


class Monitor:
    """Measures from `start` to `stop`. `roots` gives the tops of the job's trees; `on_broken` is called once at most."""

    def __init__(
        self, limits: Limits, cgroup: Cgroup | None, *, roots: Callable[[], list[int]], on_broken: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._roots = roots
        self._on_broken = on_broken
        self._is_limited = limits.memory is not None or limits.processes is not None
        self._cgroup = cgroup if self._is_limited else None
        self._pause_s = _EVERY_S
        self._is_broken = False
        self.peak_bytes: int | None = None  # None if the job was gone before it was measured
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        first_s = _LIMITED_FIRST_S if self._is_limited else _FIRST_S
        self._timer = asyncio.get_running_loop().call_later(first_s, self._look)

    def stop(self) -> None:
        """End; with a cgroup, what happened since the last look still counts. Idempotent."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._cgroup is not None:
            self.peak_bytes = self._cgroup.peak_bytes()
            self._tell(self._cgroup.broken_limit())

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._look)
        if not self._is_limited:
            self._pause_s = min(2 * self._pause_s, _SELDOM_S)
        self._tell(self._cgroup.broken_limit() if self._cgroup is not None else self._sample())

    def _tell(self, broken: str | None) -> None:
        if broken is not None and not self._is_broken:
            self._is_broken = True
            self._on_broken(broken)

    def _sample(self) -> str | None:
        limits = self._limits
        most = _UNLIMITED_PROCESSES if limits.processes is None else limits.processes + 1
        if limits.memory is not None:
            most = max(most, 1 << 22)
        seen = sample.measure(self._roots(), max_processes=most)
        if seen.processes:
            self.peak_bytes = max(self.peak_bytes or 0, seen.rss_bytes, seen.largest_bytes)
        if limits.memory is not None and seen.rss_bytes > limits.memory:
            return "memory"
        if limits.processes is not None and seen.processes > limits.processes:
            return "processes"
        return None
