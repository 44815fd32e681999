"""Every call of the API, in the order in which the documentation shows them.

`body` and `answer` name schemas of `relay.api.schemas`. Scopes: `read` every GET; `submit` also submit, retry, cancel; `admin`
the rest.
"""

from __future__ import annotations

from relay.api import dead_letters, docs, filters, fleet, health, jobs, logs, openapi, submit, why
from relay.api.routing import Route, Scope

_PAGE = ("limit", "cursor")
_FILTERS = filters.NAMES

ROUTES: tuple[Route, ...] = (
    Route(
        "POST", "/v1/jobs", submit.submit_job, Scope.SUBMIT, "Submit a job", body="JobSpec", answer="Job", status=201
    ),
    Route(
        "POST",
        "/v1/jobs/batch",
        submit.submit_batch,
        Scope.SUBMIT,
        "Submit up to 10,000 jobs, all or none; an Idempotency-Key of the request is numbered for each (KEY:0, KEY:1, …)",
        body="JobSpecs",
        answer="Ids",
        status=201,
    ),
    Route(
        "GET",
        "/v1/jobs",
        jobs.list_jobs,
        Scope.READ,
        "List jobs, newest first",
        query=(*_FILTERS, *_PAGE),
        answer="JobPage",
    ),
    Route(
        "GET",
        "/v1/jobs/{id}",
        jobs.get_job,
        Scope.READ,
        "Show a job and its attempts, with wait=30s once it is terminal or then",
        query=("wait",),
        answer="Job",
    ),
    Route("GET", "/v1/jobs/{id}/why", why.explain_job, Scope.READ, "Say why a job is where it is", answer="Why"),
    Route(
        "GET", "/v1/jobs/{id}/tree", jobs.get_tree, Scope.READ, "Show the chain that a job belongs to", answer="Tree"
    ),
    Route(
        "GET",
        "/v1/jobs/{id}/logs",
        logs.read_logs,
        Scope.READ,
        "Read or follow a job's output: text/plain (default), application/json or text/event-stream",
        query=("attempt", "stream", "tail", "follow"),
        answer="Records",
        media=logs.MEDIA,
    ),
    Route(
        "POST",
        "/v1/jobs/{id}/retry",
        jobs.retry_job,
        Scope.SUBMIT,
        "Send a job round again, with fresh retries",
        answer="Job",
    ),
    Route("POST", "/v1/jobs/{id}/replay", jobs.retry_job, Scope.SUBMIT, "The same as retry", answer="Job"),
    Route("POST", "/v1/jobs/{id}/cancel", jobs.cancel_job, Scope.SUBMIT, "Cancel a job", answer="Job", status=202),
    Route("DELETE", "/v1/jobs/{id}", jobs.delete_job, Scope.ADMIN, "Delete a terminal job", status=204),
    Route(
        "GET",
        "/v1/dead-letters",
        dead_letters.list_dead,
        Scope.READ,
        "List dead letters, newest first",
        tag="dead letters",
        query=(*_FILTERS, *_PAGE),
        answer="JobPage",
    ),
    Route(
        "POST",
        "/v1/dead-letters/retry",
        dead_letters.retry_dead,
        Scope.ADMIN,
        "Send all dead letters that match round again",
        tag="dead letters",
        body="DeadLetterFilters",
        answer="Count",
    ),
    Route(
        "POST",
        "/v1/dead-letters/purge",
        dead_letters.purge_dead,
        Scope.ADMIN,
        "Delete all dead letters that match",
        tag="dead letters",
        body="DeadLetterFilters",
        answer="Count",
    ),
    Route(
        "GET",
        "/v1/workers",
        fleet.list_workers,
        Scope.READ,
        "List workers",
        tag="workers",
        query=_PAGE,
        answer="WorkerPage",
    ),
    Route(
        "POST",
        "/v1/workers/{id}/drain",
        fleet.drain_worker,
        Scope.ADMIN,
        "Ask a worker to take no more jobs, and to end when its own have",
        tag="workers",
        answer="Worker",
        status=202,
    ),
    Route("GET", "/v1/stats", fleet.get_stats, Scope.READ, "Count and measure", tag="server", answer="Stats"),
    Route("GET", "/healthz", health.healthz, Scope.NONE, "Say that the server is alive", tag="server", answer="Status"),
    Route(
        "GET",
        "/readyz",
        health.readyz,
        Scope.NONE,
        "Say whether jobs are accepted, and each part's state",
        tag="server",
        answer="Ready",
    ),
    Route(
        "GET",
        "/metrics",
        health.get_metrics,
        Scope.READ,
        "Metrics in Prometheus' text format",
        tag="server",
        media=("text/plain",),
    ),
    Route(
        "GET",
        "/openapi.json",
        openapi.get_document,
        Scope.READ,
        "This document",
        tag="server",
        media=("application/json",),
    ),
    Route("GET", "/docs", docs.get_page, Scope.READ, "A page about the API", tag="server", media=("text/html",)),
)
