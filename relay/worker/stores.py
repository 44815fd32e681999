"""The outside things that a worker's parts share, each once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.bus import Consumer, Publisher
    from relay.lease import Leases
    from relay.store.connection import Pool

POOL = 8
HEART_POOL = 2


@dataclass(frozen=True, slots=True)
class Stores:
    """The outside things, each once per process. The heart's pool is apart: floods of output must not starve leases."""

    pool: Pool
    heart_pool: Pool
    leases: Leases
    publisher: Publisher
    consumer: Consumer
