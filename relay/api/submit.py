"""POST /v1/jobs and /v1/jobs/batch: read, check, commit, answer.

The answer is made of what was sent and what the insert returned; nothing is read back. Thousands of specs are checked in
slices, so that a large batch doesn't stall everybody else's requests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, failpoints
from relay.api import answers, bodies
from relay.model import jsontext
from relay.model.part import check_name
from relay.model.spec import parse_spec
from relay.store import jobs
from relay.store.submit import NewJob, as_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from relay.api.call import Call
    from relay.model.spec import JobSpec

MAX_BATCH = 10_000
_SLICE = 100
_MAX_FAULTS = 1000
_MAX_KEY = 200
_REPLAYED: Mapping[str, str] = {"Idempotency-Replayed": "true"}


async def submit_job(call: Call) -> web.Response:
    """Accept one job."""
    call.no_query()
    raw = await call.json()
    if not isinstance(raw, dict):
        raise errors.BadRequest("the body must be one JSON object, a job spec; many go to POST /v1/jobs/batch")
    new = _new_job(parse_spec(raw), key=_header_key(call))
    inserted = await call.parts.submissions.submit(new, actor=call.principal.actor)
    failpoints.hit("before_answer")
    location = {"Location": f"/v1/jobs/{inserted.id}"}
    if not inserted.is_replayed:
        return answers.raw_json(as_job(new, inserted).as_json_text().encode(), status=201, headers=location)
    async with call.parts.connection() as conn:
        first = await jobs.get_job(conn, inserted.id)
    if first is None:
        raise errors.Conflict(
            f"job {inserted.id}, which this idempotency key made, was deleted just now: send it again"
        )
    return answers.raw_json(first.as_json_text().encode(), headers={**location, **_REPLAYED})


async def submit_batch(call: Call) -> web.Response:
    """Accept many jobs, all or none."""
    call.no_query()
    bodies.check_media_type(call.request, allowed=bodies.JSON_TYPES | bodies.NDJSON_TYPES)
    is_lines = bodies.media_type(call.request) in bodies.NDJSON_TYPES
    settings = call.parts.settings
    body = await bodies.read(call.request, limit_bytes=max(settings.max_batch_bytes, settings.max_body_bytes))
    raws = jsontext.parse_ndjson(body) if is_lines else jsontext.parse_json(body)
    if not isinstance(raws, list):
        raise errors.BadRequest(
            "the body must be a JSON array of job specs, or one spec a line as application/x-ndjson"
        )
    if not 1 <= len(raws) <= MAX_BATCH:
        raise errors.BadRequest(f"a batch holds 1 to {MAX_BATCH} job specs, and this one has {len(raws)}")
    news = await _check_all(raws, key=_header_key(call))
    inserted = await call.parts.submissions.submit_all(news, actor=call.principal.actor)
    is_replayed = all(one.is_replayed for one in inserted)
    return answers.as_json(
        {"ids": [one.id for one in inserted]},
        status=200 if is_replayed else 201,
        headers=_REPLAYED if is_replayed else None,
    )


async def _check_all(raws: list[object], *, key: str | None) -> list[NewJob]:
    """Check every spec, and raise all their faults at once; a key of the request is numbered for each."""
    news: list[NewJob] = []
    faults: list[errors.Fault] = []
    for n, raw in enumerate(raws):
        if n % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        try:
            spec = parse_spec(raw, path=f"[{n}]")
            news.append(_new_job(spec, key=None if key is None or spec.idempotency_key else f"{key}:{n}"))
        except errors.InvalidSpec as error:
            faults += error.faults or [errors.Fault(f"[{n}]", error.detail)]
            if len(faults) > _MAX_FAULTS:
                break
    if faults:
        raise errors.InvalidSpec(
            f"{len(faults)} faults in the batch, nothing was accepted", faults=faults[:_MAX_FAULTS]
        )
    return news


def _new_job(spec: JobSpec, *, key: str | None) -> NewJob:
    if key is not None and spec.idempotency_key is not None and key != spec.idempotency_key:
        message = "differs from the header Idempotency-Key: send one of them"
        raise errors.InvalidSpec(f"idempotency_key {message}", faults=[errors.Fault("idempotency_key", message)])
    key = key or spec.idempotency_key
    return NewJob(spec, spec.normalised_json(), spec.delay, key, None if key is None else spec.fingerprint())


def _header_key(call: Call) -> str | None:
    key = call.request.headers.get("Idempotency-Key")
    if key is None:
        return None
    try:
        _check_key(key)
    except ValueError as error:
        told = "is not text" if isinstance(error, UnicodeError) else str(error)
        faults = [errors.Fault("idempotency_key", told)]
        raise errors.InvalidSpec(f"the header Idempotency-Key {told}", faults=faults) from error
    return key


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= _MAX_KEY:
        raise ValueError(f"must have 1 to {_MAX_KEY} characters")
    key.encode()  # bytes that are not UTF-8 arrive as surrogates
    check_name(key)
