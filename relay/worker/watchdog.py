"""The watchdog: tells the service manager that this worker gets on, and what it is doing.

systemd kills a service whose `WATCHDOG=1` stays away for WatchdogSec. It is sent only while every loop that claims jobs and keeps
them gets on: none has been busy with one step for longer than `STALLED_S`. Waiting for work or for a free slot is no step, and a
store's outage is no stall: every step has deadlines, fails by them, and is tried again. A blocked event loop or a stopped process
sends nothing by itself. Jobs are not watched here: the guard ends them, and much sooner.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from relay import log, notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.worker.drain import Drain
    from relay.worker.roster import Roster

STALLED_S = 120.0  # past the sum of the deadlines that one step can run into
_LOOK_S = 1.0
_FEEDS = 3  # in the time that the service manager bears

_log = log.get(__name__)


class Step:
    """What a loop is at: entered for each of its steps, left between them."""

    __slots__ = ("_since", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    @property
    def lasts_s(self) -> float:
        """How long the present step has taken so far; 0 between steps."""
        return 0.0 if self._since is None else time.monotonic() - self._since


class Watchdog:
    """Says READY, and from then on STATUS when it changes and WATCHDOG as long as no step stalls."""

    def __init__(self, steps: Sequence[Step], roster: Roster, drain: Drain, *, queues: Sequence[str]) -> None:
        self._steps = steps
        self._roster = roster
        self._drain = drain
        self._queues = queues
        self._told = ""  # nothing yet, not even READY
        self._fed_at = 0.0
        self._is_stalled = False

    async def serve(self) -> None:
        """Tell until cancelled; ends at once where nobody listens."""
        if not notify.is_heard():
            return
        bears_s = notify.watchdog_s()
        while True:
            self._tell()
            if bears_s is not None:
                self._feed(bears_s / _FEEDS)
            await asyncio.sleep(_LOOK_S if bears_s is None else min(_LOOK_S, bears_s / _FEEDS))

    def _feed(self, every_s: float) -> None:
        stalled = [step.name for step in self._steps if step.lasts_s > STALLED_S]
        if stalled and not self._is_stalled:
            _log.error("watchdog.stalled", steps=stalled, stalled_s=STALLED_S)
        self._is_stalled = bool(stalled)
        if not stalled and time.monotonic() - self._fed_at >= every_s and notify.tell("WATCHDOG=1"):
            self._fed_at = time.monotonic()

    def _tell(self) -> None:
        status = self._status()
        if status != self._told and notify.tell(*() if self._told else ("READY=1",), status):
            self._told = status

    def _status(self) -> str:
        taken = self._roster.taken
        if self._drain.is_asked:
            return f"STATUS=draining: {taken} running"
        return f"STATUS=running {taken} of {self._roster.slots} slots; queues: {','.join(self._queues)}"
