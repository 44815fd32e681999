"""Redis: the lock a job runs under, and wake-ups for those who wait.

`Leases` is all that the rest of Relay sees of Redis. Nothing here is the truth: PostgreSQL decides who owns a job, Redis adds
a second, independent proof of life (the lock's lease) that a rescue must find missing, and saves followers a poll.
So everything fails in one way, `LeaseUnavailable`, which callers expect and carry on from.
"""

from __future__ import annotations

from relay.lease.calls import LeaseUnavailable
from relay.lease.locks import Leases, Look, Renewal
from relay.lease.wakes import CANCEL, CHANGED, LOST, OUTPUT

__all__ = ["CANCEL", "CHANGED", "LOST", "OUTPUT", "LeaseUnavailable", "Leases", "Look", "Renewal"]
