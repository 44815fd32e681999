"""Workers and numbers: who works here, and how much waits.

Counting completed jobs reads an index of all jobs, so an answer is kept for `STATS_S` and shared by all who ask.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.api import answers, filters
from relay.model.states import JobStatus
from relay.store import fleet, stats
from relay.store.stats import Counts

if TYPE_CHECKING:
    from aiohttp import web

    from relay.api.call import Call, Parts
    from relay.store.stats import Rates

STATS_S = 2.0


async def list_workers(call: Call) -> web.Response:
    """Answer all workers, oldest first, as one page."""
    query = call.query
    limit, after_id = filters.read_page(query, call.parts.cluster_id)
    query.done()
    async with call.parts.connection() as conn:
        workers = await fleet.list_workers(conn)
    left = [worker for worker in workers if after_id is None or worker.id > after_id]
    cursor = filters.make_cursor(left[limit - 1].id, call.parts.cluster_id) if len(left) > limit else None
    return answers.as_json({"items": [worker.as_json() for worker in left[:limit]], "next_cursor": cursor})


async def drain_worker(call: Call) -> web.Response:
    """Ask a worker to take no more jobs and to end."""
    call.no_query()
    worker_id = call.id()
    async with call.parts.connection() as conn:
        worker = await fleet.request_drain(conn, worker_id, actor=call.principal.actor)
    return answers.as_json(worker.as_json(), status=202)


class Numbers:
    """Statistics, each read at most every `STATS_S`."""

    def __init__(self) -> None:
        self._stats: tuple[float, dict[str, object]] = (0.0, {})
        self._live: tuple[float, tuple[Counts, int]] = (0.0, (Counts({}, {}), 0))

    async def get(self, parts: Parts) -> dict[str, object]:
        """Return the contract's statistics."""
        if time.monotonic() >= self._stats[0]:
            async with parts.connection() as conn:
                counts = await stats.count_jobs(conn)
                completed = await stats.count_completed(conn, counts)
                rates = await stats.measure_rates(conn)
            self._stats = time.monotonic() + STATS_S, _as_json(counts, completed, rates)
        return self._stats[1]

    async def live_counts(self, parts: Parts) -> tuple[Counts, int]:
        """Return the counts of jobs that have not completed, and of fenced finishes, which are cheap."""
        if time.monotonic() >= self._live[0]:
            async with parts.connection() as conn:
                counts = await stats.count_jobs(conn), await stats.count_fenced(conn)
                self._live = time.monotonic() + STATS_S, counts
        return self._live[1]


async def get_stats(call: Call) -> web.Response:
    """Answer counts by state and queue, the oldest pending age, and rates."""
    call.no_query()
    return answers.as_json(await call.parts.numbers.get(call.parts))


def _as_json(counts: Counts, completed: dict[str, int], rates: Rates) -> dict[str, object]:
    queues: dict[str, dict[str, object]] = {}
    totals = dict.fromkeys((status.value for status in JobStatus), 0)
    found = {**counts.jobs, **{(queue, JobStatus.COMPLETED): jobs for queue, jobs in completed.items()}}
    for (queue, status), jobs in sorted(found.items()):
        entry = queues.setdefault(
            queue, {**dict.fromkeys((one.value for one in JobStatus), 0), "oldest_pending_s": None}
        )
        entry[status.value] = jobs
        totals[status.value] += jobs
    for queue, waited_s in counts.oldest_pending_s.items():
        queues[queue]["oldest_pending_s"] = round(waited_s, 3)
    return {
        "states": totals,
        "queues": queues,
        "oldest_pending_s": round(max(counts.oldest_pending_s.values()), 3) if counts.oldest_pending_s else None,
        "rates": {
            "submitted_per_s": {
                "1m": round(rates.submitted_in_1_min / 60, 3),
                "15m": round(rates.submitted_in_15_min / 900, 3),
            },
            "completed_per_s": {
                "1m": round(rates.completed_in_1_min / 60, 3),
                "15m": round(rates.completed_in_15_min / 900, 3),
            },
            "dead_per_s": {"1m": round(rates.dead_in_1_min / 60, 3), "15m": round(rates.dead_in_15_min / 900, 3)},
        },
    }
