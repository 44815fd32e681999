"""Prometheus metrics of a `relay serve`.

Counters of this process live in memory; the numbers of jobs are read from the database at a scrape, so every server shows the
same and a restart loses none. Labels are closed sets: no path, no id; queues are those that have jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.maintenance.state import State
    from relay.store.stats import Counts

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})
_requests = Counter("relay_http_requests", "Requests answered.", ["method", "status"])
_streams = Gauge("relay_http_streams", "Event streams being read.")
_jobs = Gauge("relay_jobs", "Jobs that have not completed.", ["queue", "status"])
_oldest = Gauge("relay_oldest_pending_seconds", "For how long the oldest pending job has been due.", ["queue"])
_fenced = Gauge("relay_fenced_finishes", "Finishes that came too late and changed nothing, ever, by all workers.")
_rescue_waiting = Gauge(
    "relay_rescue_waiting_seconds", "For how long silent workers' jobs have waited for Redis to answer."
)
_maintenance = Gauge(
    "relay_maintenance_jobs", "Jobs that this server's maintenance has changed, by what it did.", ["step"]
)
_up = Gauge("relay_part_up", "1 where the part answers, else 0.", ["part"])
_children: dict[tuple[str, int], Counter] = {}


def count_request(method: str, status: int) -> None:
    """Count one answered request."""
    child = _children.get((method, status))
    if child is None:
        known = method if method in _METHODS else "other"
        child = _requests.labels(known, str(status))
        if known == method:
            _children[method, status] = child
    child.inc()


def render(
    parts_up: Mapping[str, bool], counts: Counts | None, *, streams: int, fenced: int | None, maintenance: State
) -> bytes:
    """Write everything in Prometheus' text format. `counts` and `fenced` None: the database is away; they are left out."""
    for part, is_up in parts_up.items():
        _up.labels(part).set(is_up)
    _streams.set(streams)
    _rescue_waiting.set(maintenance.rescue_waiting_s)
    for step in ("dispatched", "expired", "rescued", "deleted"):
        _maintenance.labels(step).set(getattr(maintenance, step))
    if fenced is not None:
        _fenced.set(fenced)
    _jobs.clear()
    _oldest.clear()
    if counts is not None:
        for (queue, status), jobs in counts.jobs.items():
            _jobs.labels(queue, status.value).set(jobs)
        for queue, waited_s in counts.oldest_pending_s.items():
            _oldest.labels(queue).set(waited_s)
    return generate_latest(REGISTRY)
