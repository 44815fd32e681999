"""Who this worker is: host, kernel boot, pid namespace, pid and its start time.

Together they tell a successor on the same host that the process behind a worker's row is gone, even if its pid was
given to another process meanwhile.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from relay import __version__
from relay.process import tree
from relay.store.workers import NewWorker

if TYPE_CHECKING:
    from relay.config import Settings


def this_worker(settings: Settings) -> NewWorker:
    """Describe this process for its row in `workers`."""
    pid = os.getpid()
    return NewWorker(
        host=socket.gethostname(),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        pid_ns=os.stat("/proc/self/ns/pid").st_ino,  # noqa: PTH116 - a link that must be followed by the kernel
        pid=pid,
        pid_start=tree.start_time(pid) or 0,
        version=__version__,
        queues=settings.queues,
        slots=settings.concurrency,
        lease_ttl_s=settings.lease_ttl_s,
    )
