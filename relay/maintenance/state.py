"""What maintenance knows that others show: `/readyz`, the metrics, and `why`. Written by its steps, read by anyone."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class State:
    """Facts and counters of this process's maintenance. Times are of the monotonic clock; None: not yet, or not now."""

    is_postgresql_up: bool | None = None
    is_redis_up: bool | None = None
    rescue_waiting_since: float | None = None
    last_dispatch_at: float | None = None
    last_look_at: float | None = None
    last_retention_at: float | None = None
    dispatched: int = 0
    expired: int = 0
    rescued: int = 0
    deleted: int = 0

    @property
    def rescue_waiting_s(self) -> float:
        """For how long silent workers' attempts have been waiting for Redis to answer; 0: none waits."""
        return 0.0 if self.rescue_waiting_since is None else time.monotonic() - self.rescue_waiting_since
