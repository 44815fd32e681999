"""The dead letters: list them, send them round again, or purge them.

The two POSTs take the list filters as JSON, and `dry_run` to count only. A body is required: that all dead letters are meant
is said with `{}`, not by forgetting it. They work in chunks that are each committed;
a cut call has done some of them, and calling again does the rest.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from relay.api import answers, filters
from relay.api.jobs import answer_page
from relay.api.query import Query
from relay.lease import CHANGED
from relay.model.states import JobStatus
from relay.store import dead_letters, jobs, locks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp import web

    from relay.api.call import Call
    from relay.store.connection import Connection
    from relay.store.filters import Filters
    from relay.store.jobs import Retried

_STATES = (JobStatus.DEAD,)


async def list_dead(call: Call) -> web.Response:
    """Answer a page of DEAD jobs, newest first."""
    query = call.query
    given = filters.read(query, states=_STATES)
    limit, before_id = filters.read_page(query, call.parts.cluster_id)
    query.done()
    async with call.parts.connection() as conn:
        page = await jobs.list_jobs(conn, replace(given, statuses=_STATES), limit=limit, before_id=before_id)
    return answer_page(page, call.parts)


async def retry_dead(call: Call) -> web.Response:
    """Send all that match round again; with `dry_run` count them."""
    wanted, is_dry = await _read_body(call)
    count = 0
    async with call.parts.connection() as conn:
        if is_dry:
            count = await dead_letters.count_dead(conn, wanted)
        else:
            retrying = dead_letters.retry_dead(conn, wanted, actor=call.principal.actor)
            async with aclosing(cast("AsyncGenerator[list[Retried]]", retrying)) as chunks:
                async for retried in chunks:
                    count += len(retried)
                    await _publish(call, conn, retried)
    return answers.as_json({"count": count})


async def purge_dead(call: Call) -> web.Response:
    """Delete all that match; with `dry_run` count them."""
    wanted, is_dry = await _read_body(call)
    async with call.parts.connection() as conn:
        if is_dry:
            count = await dead_letters.count_dead(conn, wanted)
        else:
            count = 0
            purging = dead_letters.purge_dead(conn, wanted, actor=call.principal.actor)
            async with aclosing(cast("AsyncGenerator[int]", purging)) as chunks:
                async for deleted in chunks:
                    count += deleted
    return answers.as_json({"count": count})


async def _read_body(call: Call) -> tuple[Filters, bool]:
    call.no_query()
    given = await call.json_object()
    is_dry = given.pop("dry_run", False)
    query = Query.of_object(given)
    if not isinstance(is_dry, bool):
        query.fault("dry_run", "must be true or false")
    wanted = filters.read(query, states=_STATES)
    query.done()
    return wanted, is_dry is True


async def _publish(call: Call, conn: Connection, retried: list[Retried]) -> None:
    refs = [job.ref for job in retried if job.lock is None]
    refs += await locks.heads(conn, sorted({job.lock for job in retried if job.lock is not None}))
    call.parts.publisher.publish(refs)
    await call.parts.leases.publish_wake(CHANGED, [job.ref.id for job in retried])
