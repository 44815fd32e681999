"""Wait for jobs to change: one listener and one slow poll for all who wait.

Redis' wake-ups say which jobs may have changed; whoever waits for one of them is woken and looks itself. Wake-ups get
lost, so one query every `POLL_S` reads the states of all waited jobs at once, however many wait, and wakes those
whose state differs from the last look. Without Redis that poll is all there is: slower, never wrong.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay import errors, log
from relay.lease import wakes
from relay.store import connection, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.lease import Leases
    from relay.store.connection import Pool

POLL_S = 1.0
_log = log.get(__name__)


class Watch:
    """Wakes tasks of this process when a job's state or output may have changed."""

    def __init__(self, pool: Pool, leases: Leases) -> None:
        self._pool = pool
        self._leases = leases
        self._states: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._outputs: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._seen: dict[int, object] = {}
        self.is_closing = asyncio.Event()

    @contextmanager
    def changes(self, job_id: int, *, with_output: bool = False) -> Iterator[asyncio.Event]:
        """Lend an event that is set whenever the job may have changed (or its output grown); clear it before looking."""
        event = asyncio.Event()
        tables = (self._states, self._outputs) if with_output else (self._states,)
        for table in tables:
            table[job_id].add(event)
        if self.is_closing.is_set():
            event.set()
        try:
            yield event
        finally:
            for table in tables:
                table[job_id].discard(event)
                if not table[job_id]:
                    del table[job_id]
            if job_id not in self._states:
                self._seen.pop(job_id, None)

    def close(self) -> None:
        """Wake everybody for the last time: the server is going away."""
        self.is_closing.set()
        self._wake_all()

    async def serve(self) -> None:
        """Listen and poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._poll())

    async def _listen(self) -> None:
        async for kind, job_ids in self._leases.listen((wakes.CHANGED, wakes.OUTPUT)):
            if kind == wakes.LOST:
                self._wake_all()
            table = self._outputs if kind == wakes.OUTPUT else self._states
            for job_id in job_ids:
                for event in table.get(job_id, ()):
                    event.set()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if not self._states:
                continue
            try:
                await self._look()
            except errors.Unavailable:
                _log.debug("watch.database_away", waited=len(self._states))

    async def _look(self) -> None:
        """Read all waited jobs' states in one query, and wake those who wait for one that differs from the last look."""
        async with connection.connection(self._pool) as conn:
            states = await jobs.list_states(conn, list(self._states))
        for job_id, events in self._states.items():
            state = states.get(job_id)
            if job_id not in self._seen or self._seen[job_id] != state:
                self._seen[job_id] = state
                for event in events:
                    event.set()

    def _wake_all(self) -> None:
        for table in (self._states, self._outputs):
            for events in table.values():
                for event in events:
                    event.set()
