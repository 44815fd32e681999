"""Fast rescue: what a dead worker of this host left running is killed, and its jobs are given back at once.

A predecessor is a worker of the same host, kernel boot and pid namespace whose process is gone (its pid is free, or belongs
to a process with another start time). Every process that still carries one of its claims is killed, until two scans a
second apart are clean; only then are its attempts recorded as lost. Cookies miss a program that rewrote its
environment: only a cgroup is certain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, log
from relay.process import tree
from relay.store import rescue
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.store.connection import Pool
    from relay.store.workers import NewWorker
    from relay.worker.aftermath import Aftermath

_log = log.get(__name__)
_RETRY_S = 0.5
