"""The OpenAPI document against the route table, the schemas against the records."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from relay.api import filters, openapi
from relay.api.schemas import schemas
from relay.api.table import ROUTES
from relay.model.records import Attempt, Job, Worker
from relay.model.states import JobStatus, Lane

NOW = datetime.now(UTC)
CONTRACT = {
    "POST /v1/jobs", "POST /v1/jobs/batch", "GET /v1/jobs", "GET /v1/jobs/{id}", "GET /v1/jobs/{id}/why",
    "GET /v1/jobs/{id}/tree", "GET /v1/jobs/{id}/logs", "POST /v1/jobs/{id}/retry", "POST /v1/jobs/{id}/replay",
    "POST /v1/jobs/{id}/cancel", "DELETE /v1/jobs/{id}", "GET /v1/dead-letters", "POST /v1/dead-letters/retry",
    "POST /v1/dead-letters/purge", "GET /v1/workers", "POST /v1/workers/{id}/drain", "GET /v1/stats", "GET /healthz",
    "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /docs",
}  # fmt: skip


def document() -> Any:
    return json.loads(json.dumps(openapi.document()))


def test_the_document_has_every_route_and_no_other() -> None:
    described = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert described == {f"{route.method} {route.path}" for route in ROUTES}
    assert described >= CONTRACT


def test_every_reference_leads_to_a_schema() -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document())))
    assert names <= set(schemas())
    assert '"#/$defs/' not in json.dumps(document())


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_list_filters_are_described() -> None:
    for path in ("/v1/jobs", "/v1/dead-letters"):
        described = {one["name"] for one in document()["paths"][path]["get"]["parameters"]}
        assert described >= {"status", *filters.NAMES, "limit", "cursor"}
    assert members("DeadLetterFilters") == {*filters.NAMES, "dry_run"}


def test_every_body_is_required() -> None:
    bodies = {f"{method} {path}": operation["requestBody"]["required"] for path, methods in document()["paths"].items()
              for method, operation in methods.items() if "requestBody" in operation}  # fmt: skip
    assert bodies == {
        f"post /v1/{path}": True for path in ("jobs", "jobs/batch", "dead-letters/retry", "dead-letters/purge")
    }


def test_each_answer_names_its_media_types() -> None:
    paths = document()["paths"]
    kinds = {route.path: list(paths[route.path]["get"]["responses"]["200"]["content"]) for route in ROUTES
             if route.method == "GET"}  # fmt: skip
    others = {path: found for path, found in kinds.items() if found != ["application/json"]}
    assert others == {
        "/v1/jobs/{id}/logs": ["text/plain", "application/json", "text/event-stream"],
        "/metrics": ["text/plain"],
        "/docs": ["text/html"],
    }
    assert "content" not in paths["/v1/jobs/{id}"]["delete"]["responses"]["204"]


def members(name: str) -> set[str]:
    found = schemas()[name]["properties"]
    assert isinstance(found, dict)
    return set(found)


def test_the_schemas_have_the_members_that_the_records_answer() -> None:
    attempt = Attempt(attempt=1, worker_id=1, started_at=NOW)
    job = Job(
        id=1, name="n", queue="q", lane=Lane.LOW, status=JobStatus.PENDING, run_at=NOW, created_at=NOW, max_retries=0,
        spec="{}",
    )  # fmt: skip
    worker = Worker(id=1, host="h", pid=1, version="1", queues=[], slots=1, running=0, seen_at=NOW, state="active")
    assert members("Job") == set(job.as_json(attempts=[attempt]))
    assert members("Attempt") == set(attempt.as_json())
    assert members("Worker") == set(worker.as_json())


def test_a_spec_is_described_as_it_is_checked() -> None:
    assert members("JobSpec") >= {"payload", "on_success", "idempotency_key", "run_at", "lock"}
