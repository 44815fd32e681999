"""GET /openapi.json: OpenAPI 3.1, made of the route table and the schemas.

Nothing is written twice: paths, scopes and summaries come from the table that requests are routed by, and a job spec's schema
from the model that checks it. The document is made once, at the first request for it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from pydantic_core import to_json

import relay
from relay.api import answers
from relay.api.routing import Scope
from relay.api.schemas import schemas

if TYPE_CHECKING:
    from aiohttp import web

    from relay.api.call import Call
    from relay.api.routing import Route

_TEXT = {"type": "string"}
_INT = {"type": "integer"}
_LIST = {"type": "array", "items": _TEXT}
_QUERY: dict[str, tuple[dict[str, object], str]] = {
    "status": ({**_LIST}, "repeatable, in any case (of dead letters: DEAD)"),
    "queue": ({**_LIST}, "repeatable"),
    "name": ({**_TEXT}, "the exact name"),
    "label": ({**_LIST}, "KEY:VALUE, repeatable: all must match"),
    "parent_id": ({**_INT}, "children of this job"),
    "worker": ({**_INT}, "last claimed by this worker"),
    "created_after": ({"type": "string", "format": "date-time"}, "RFC 3339 with zone"),
    "created_before": ({"type": "string", "format": "date-time"}, "RFC 3339 with zone"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}, "items a page"),
    "cursor": ({**_TEXT}, "next_cursor of the page before"),
    "wait": ({**_TEXT, "examples": ["30s"]}, "a duration, at most 10m"),
    "attempt": ({"type": "integer", "minimum": 1}, "the last one by default"),
    "stream": ({"type": "string", "enum": ["stdout", "stderr"]}, "both by default, in order of arrival"),
    "tail": ({"type": "integer", "minimum": 0}, "only the last bytes"),
    "follow": ({"type": "boolean", "default": False}, "go on until the job is terminal (text/event-stream)"),
}


async def get_document(call: Call) -> web.Response:
    """Answer the OpenAPI document."""
    call.no_query()
    return answers.raw_json(_text())


@cache
def _text() -> bytes:
    return to_json(document())


def document() -> dict[str, object]:
    """Make the OpenAPI document."""
    from relay.api.table import ROUTES  # noqa: PLC0415 - the table has this module's handler in it

    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Relay",
            "version": relay.__version__,
            "description": "Run commands as durable jobs across machines. All errors are RFC 9457 problem documents.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "relay token create"}},
        },
    }


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route),
        "security": [] if route.scope is Scope.NONE else [{"token": []}],
        "x-scope": route.scope.name.lower(),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _body_content(route.body)}
    return operation


def _operation_id(route: Route) -> str:
    words = [word for word in re.split(r"[/{}.-]+", route.path) if word not in {"", "v1"}]
    return "_".join([route.method.lower(), *words])


def _body_content(name: str) -> dict[str, object]:
    content: dict[str, object] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    if name == "JobSpecs":
        content["application/x-ndjson"] = {"schema": {**_TEXT, "description": "one JobSpec a line"}}
    return content


def _parameters(route: Route) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {**_INT}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    for name in route.query:
        schema, told = _QUERY[name]
        found.append({"name": name, "in": "query", "required": False, "schema": schema, "description": told})
    if route.body in {"JobSpec", "JobSpecs"}:
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {**_TEXT, "maxLength": 200}}
        )
    if "follow" in route.query:
        found.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": {**_TEXT}})
    return found


def _answer_content(route: Route) -> dict[str, object]:
    named = {"$ref": f"#/components/schemas/{route.answer}"} if route.answer else {"type": "object"}
    kinds = route.media or (("application/json",) if route.answer else ())
    return {kind: {"schema": named if kind == "application/json" else {**_TEXT}} for kind in kinds}


def _responses(route: Route) -> dict[str, object]:
    done: dict[str, object] = {"description": "done"}
    if content := _answer_content(route):
        done["content"] = content
    problem = {
        "description": "a problem document",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    responses: dict[str, object] = {str(route.status): done, "default": problem}
    if route.body in {"JobSpec", "JobSpecs"}:
        responses["200"] = {**done, "description": "replayed: the idempotency key was used for the same spec"}
    return responses
