"""The load generator's journal: what was sent, and what Relay has answered, each line synced before anything follows from it.

So an acknowledged job is known whatever happens to the generator; the checker compares it with what is in the tables.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """One job as the generator meant it; `tag` is its idempotency key and the name its script writes."""

    tag: str
    kind: str
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """A job is about to be sent for the first time."""

    order: Order
    at: float


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The API accepted a job (again, when `is_replayed`)."""

    tag: str
    job_id: int
    is_replayed: bool
    at: float


@dataclass(frozen=True, slots=True)
class CancelAcknowledged:
    """The API accepted a cancellation; `status` is the job's in the answer."""

    job_id: int
    status: str
    at: float


@dataclass(frozen=True, slots=True)
class Surprise:
    """An answer that Relay must never give: anything but an acknowledgement or 503."""

    tag: str
    status: int
    body: str
    at: float


Entry = Sent | Acknowledged | CancelAcknowledged | Surprise


class Journal:
    """An append-only file; entries are also kept in memory."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, entry: Entry) -> None:
        """Append an entry; it is on disk when this returns."""
        line = {"entry": type(entry).__name__, **asdict(entry)}
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        os.fdatasync(self._fd)
        self.entries.append(entry)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def now() -> float:
    """Seconds since the epoch: the jobs' scripts run on the same machine, by the same clock."""
    return time.time()
