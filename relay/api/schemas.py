"""The JSON Schemas of what the API answers and takes, for the OpenAPI document.

A spec's schema is the one that specs are checked with; the answers' are written here, and a test compares their members with
what the records answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from relay.model import spec
from relay.model.states import JobStatus, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema: TypeAlias = dict[str, object]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": list(members)}


def _words(words: list[str]) -> Schema:
    return {"type": "string", "enum": words}


_TEXT: Schema = {"type": "string"}
_INT: Schema = {"type": "integer"}
_OPEN: Schema = {"type": "object", "additionalProperties": True}
_NUMBER: Schema = {"type": "number"}
_BOOL: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_LABELS: Schema = {"type": "object", "additionalProperties": _TEXT}
_REASON = _nullable(_words(list(Reason)))


def _job() -> Schema:
    members: Mapping[str, Schema] = {
        "id": _INT,
        "name": _TEXT,
        "queue": _TEXT,
        "priority": _words(["high", "normal", "low"]),
        "status": _words(list(JobStatus)),
        "reason": _REASON,
        "parent_id": _nullable(_INT),
        "worker": _nullable(_INT),
        "labels": _LABELS,
        "lock": _nullable(_TEXT),
        "run_at": _TIME,
        "created_at": _TIME,
        "started_at": _nullable(_TIME),
        "finished_at": _nullable(_TIME),
        "max_retries": _INT,
        "retries_used": _INT,
        "spec": _ref("JobSpec"),
    }
    required = list(members)
    attempts = {**_array(_ref("Attempt")), "description": "in GET /v1/jobs/{id} only"}
    return {"type": "object", "properties": {**members, "attempts": attempts}, "required": required}


def _attempt() -> Schema:
    return _object(
        attempt=_INT,
        outcome=_nullable(_words(list(Outcome))),
        reason=_REASON,
        exit_code=_nullable(_INT),
        signal=_nullable(_TEXT),
        limit=_nullable(_TEXT),
        error=_nullable(_TEXT),
        worker=_INT,
        started_at=_TIME,
        finished_at=_nullable(_TIME),
        cpu_s=_nullable(_NUMBER),
        peak_memory_bytes=_nullable(_INT),
        leftover_processes=_INT,
        stdout_bytes=_INT,
        stderr_bytes=_INT,
        dropped_bytes=_INT,
    )


def _page(name: str) -> Schema:
    return _object(items=_array(_ref(name)), next_cursor=_nullable(_TEXT))


def _dead_letter_filters() -> Schema:
    one_or_many: Schema = {"anyOf": [_TEXT, _array(_TEXT)]}
    members: dict[str, Schema] = {
        "status": {**one_or_many, "description": "in any case; DEAD is the only one that matches"},
        "queue": one_or_many,
        "name": _TEXT,
        "label": {"anyOf": [_TEXT, _array(_TEXT), _LABELS]},
        "parent_id": _INT,
        "worker": _INT,
        "created_after": _TIME,
        "created_before": _TIME,
        "dry_run": _BOOL,
    }
    return {"type": "object", "properties": members, "additionalProperties": False}


def schemas() -> dict[str, Schema]:
    """Return every schema by its name, with those that a spec is made of."""
    spec_schema = spec.json_schema(ref_template="#/components/schemas/{model}")
    parts = spec_schema.pop("$defs", {})
    assert isinstance(parts, dict)
    return {
        **({"JobSpec": spec_schema} if "JobSpec" not in parts else {}),
        **parts,
        "JobSpecs": {**_array(_ref("JobSpec")), "minItems": 1, "maxItems": 10_000},
        "Job": _job(),
        "Attempt": _attempt(),
        "JobPage": _page("Job"),
        "Ids": _object(ids=_array(_INT)),
        "Tree": _object(job=_ref("Job"), children=_array(_ref("Tree"))),
        "Why": {**_OPEN, "properties": {"reason": _TEXT}, "required": ["reason"]},
        "Record": _record(),
        "Records": _page("Record"),
        "DeadLetterFilters": _dead_letter_filters(),
        "Count": _object(count=_INT),
        "Worker": _worker(),
        "WorkerPage": _page("Worker"),
        "Stats": _OPEN,
        "Status": _object(status=_TEXT),
        "Ready": _ready(),
        "Problem": _problem(),
    }


def _worker() -> Schema:
    return _object(
        id=_INT,
        host=_TEXT,
        pid=_INT,
        version=_TEXT,
        queues=_array(_TEXT),
        slots=_INT,
        running=_INT,
        seen_at=_TIME,
        state=_words(["active", "draining", "lost"]),
    )


def _record() -> Schema:
    record = _object(attempt=_INT, seq=_INT, ts=_TIME, stream=_words(["stdout", "stderr"]))
    record["properties"] = {
        **_members(record),
        "text": _TEXT,
        "base64": {"type": "string", "contentEncoding": "base64"},
    }
    return record


def _ready() -> Schema:
    state = _words(["up", "down"])
    status = _words(["ready", "degraded", "unavailable"])
    return _object(status=status, postgresql=state, schema=_TEXT, redis=state, kafka=state)


def _problem() -> Schema:
    problem = _object(type=_TEXT, title=_TEXT, status=_INT, detail=_TEXT, code=_TEXT)
    problem["properties"] = {**_members(problem), "errors": _array(_object(path=_TEXT, message=_TEXT))}
    return problem


def _members(schema: Schema) -> dict[str, object]:
    members = schema["properties"]
    assert isinstance(members, dict)
    return members
