"""Trust: until when a claim may run.

    trusted_until = sending of the last witness + TTL - margin,   margin = TTL / 3

A witness is proof of life that a rescuer would also see: the claim itself, a heartbeat that changed its row, the lock's
extension or re-creation. Trust begins with the sending of the claim, only prolongs, and only while it still holds: once
it has passed, started or not, the claim is over for good. So two attempts of a job can't run at once: a rescuer waits a
full TTL of silence on both paths, and trust has run out by then. (An exhaustive model of the protocol finds the overlap
that each of these words forbids.) Time is CLOCK_BOOTTIME: it goes on while a machine sleeps, and no one sets it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

_NS = 1_000_000_000


def now_ns() -> int:
    """Nanoseconds of CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Terms:
    """The durations that follow from the lease's TTL, in seconds."""

    ttl_s: float

    @property
    def margin_s(self) -> float:
        """What is left for the guard, and for clocks that run apart."""
        return self.ttl_s / 3

    @property
    def beat_s(self) -> float:
        """Between heartbeats, and between renewals."""
        return self.ttl_s / 3

    @property
    def retry_s(self) -> float:
        """Until a failed heartbeat or renewal is tried again."""
        return self.ttl_s / 15

    def until_ns(self, sent_ns: int) -> int:
        """Until when a witness that was sent then gives trust."""
        return sent_ns + round((self.ttl_s - self.margin_s) * _NS)
