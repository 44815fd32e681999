"""Prometheus metrics of a `relay serve`.

Counters of this process live in memory; the state of the jobs is read from the database at each scrape, so every server
shows the same numbers and a restart loses none. Labels are closed sets: no path, no id, no queue a client made up is one, save
the queues that have jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from relay.api import answers
from relay.store import stats

if TYPE_CHECKING:
    from relay.api.call import Call

REGISTRY = CollectorRegistry()
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})
_requests = Counter("relay_http_requests", "Requests answered.", ["method", "status"], registry=REGISTRY)
_readers = Gauge("relay_http_streams", "Event streams being read.", registry=REGISTRY)
_jobs = Gauge("relay_jobs", "Live jobs, and ended ones of the last 15 min.", ["status", "queue"], registry=REGISTRY)
_oldest = Gauge("relay_oldest_pending_seconds", "Age of the oldest due job that waits.", registry=REGISTRY)
_up = Gauge("relay_part_up", "1 where the part answers, else 0.", ["part"], registry=REGISTRY)
_children: dict[tuple[str, int], Counter] = {}


def count_request(method: str, status: int) -> None:
    """Count one answered request."""
    child = _children.get((method, status))
    if child is None:
        known = method if method in _METHODS else "other"
        child = _children[method if method in _METHODS else "other", status] = _requests.labels(known, str(status))
    child.inc()
