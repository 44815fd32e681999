"""Read and steer jobs: list, show and wait, tree, retry, cancel, delete.

Whoever changes a job publishes after the commit what may run now, and wakes those who wait for it; both are best effort.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from relay import errors
from relay.api import answers, filters, streams
from relay.lease import CANCEL, CHANGED
from relay.model.states import TERMINAL, JobStatus
from relay.store import connection, jobs, locks

if TYPE_CHECKING:
    from aiohttp import web

    from relay.api.call import Call, Parts
    from relay.store.connection import Connection
    from relay.store.jobs import Changed, Page, Tree

MAX_WAIT_S = 600.0
CLIENT_LOOK_S = 5.0  # how soon a client that hung up is noticed


async def list_jobs(call: Call) -> web.Response:
    """Answer a page of jobs, newest first."""
    query = call.query
    wanted = filters.read(query)
    limit, before_id = filters.read_page(query, call.parts.cluster_id)
    query.done()
    async with call.parts.connection() as conn:
        page = await jobs.list_jobs(conn, wanted, limit=limit, before_id=before_id)
    return answer_page(page, call.parts)


def answer_page(page: Page, parts: Parts) -> web.Response:
    """Answer jobs with the cursor of the next page; specs are copied as the text they are."""
    items = ",".join([job.as_json_text() for job in page.items])
    cursor = "null" if page.next_id is None else f'"{filters.make_cursor(page.next_id, parts.cluster_id)}"'
    return answers.raw_json(f'{{"items":[{items}],"next_cursor":{cursor}}}'.encode())


async def get_job(call: Call) -> web.Response:
    """Answer a job and its attempts, with `wait` once it is terminal or the time is up."""
    query = call.query
    wait_s = query.duration("wait", high_s=MAX_WAIT_S)
    query.done()
    job_id = call.id()
    if wait_s:
        await _wait_until_terminal(call, job_id, timeout_s=wait_s)
    return await _answer_job(call.parts, job_id)


async def _answer_job(parts: Parts, job_id: int) -> web.Response:
    async with parts.connection() as conn:
        job = await jobs.get_job(conn, job_id)
        attempts = await jobs.list_attempts(conn, job_id)
    if job is None:
        raise errors.NotFound(f"there is no job {job_id}")
    return answers.raw_json(job.as_json_text(attempts=attempts).encode())


async def _wait_until_terminal(call: Call, job_id: int, *, timeout_s: float) -> None:
    """Return when the job is terminal or gone, the time is up, the client has hung up, or the server closes."""
    watch = call.parts.watch
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    with watch.changes(job_id) as changed:
        changed.set()
        while (left_s := deadline - loop.time()) > 0 and not watch.is_closing.is_set():
            is_changed = await streams.wait_for(changed, min(left_s, CLIENT_LOOK_S))
            if streams.is_gone(call.request) or (is_changed and await _is_settled(call.parts, job_id)):
                return


async def _is_settled(parts: Parts, job_id: int) -> bool:
    async with parts.connection() as conn:
        state = (await jobs.list_states(conn, [job_id])).get(job_id)
    return state is None or state.status in TERMINAL


async def get_tree(call: Call) -> web.Response:
    """Answer the chain that a job belongs to, from its root."""
    call.no_query()
    job_id = call.id()
    async with call.parts.connection() as conn:
        tree = await jobs.list_tree(conn, job_id)
    if tree is None:
        raise errors.NotFound(f"there is no job {job_id}")
    return answers.raw_json(_tree_text(tree).encode())


def _tree_text(tree: Tree) -> str:
    """Write a tree as JSON; a chain is as deep as its retries made it, so not by recursion."""
    parts: list[str] = []
    todo: list[Tree | str] = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            parts.append(one)
            continue
        parts.append(f'{{"job":{one.job.as_json_text()},"children":[')
        todo.append("]}")
        for n, child in enumerate(reversed(one.children)):
            todo += [child] if n == len(one.children) - 1 else [child, ","]
    return "".join(parts)


async def retry_job(call: Call) -> web.Response:
    """Send a DEAD, FAILED or CANCELLED job round again."""
    call.no_query()
    async with call.parts.connection() as conn:
        changed = await jobs.retry_job(conn, call.id(), actor=call.principal.actor)
        await publish(call.parts, conn, changed)
    await call.parts.leases.publish_wake(CHANGED, [changed.job.id])
    return answers.raw_json(changed.job.as_json_text().encode())


async def cancel_job(call: Call) -> web.Response:
    """Cancel a job, or have its worker stop it."""
    call.no_query()
    async with call.parts.connection() as conn:
        changed = await jobs.cancel_job(conn, call.id(), actor=call.principal.actor)
        await publish(call.parts, conn, changed)
    kind = CANCEL if changed.job.status is JobStatus.RUNNING else CHANGED
    await call.parts.leases.publish_wake(kind, [changed.job.id])
    return answers.raw_json(changed.job.as_json_text().encode(), status=202)


async def delete_job(call: Call) -> web.Response:
    """Delete a terminal job."""
    call.no_query()
    job_id = call.id()
    async with call.parts.connection() as conn:
        await jobs.delete_job(conn, job_id, actor=call.principal.actor)
    await call.parts.leases.publish_wake(CHANGED, [job_id])
    return answers.nothing()


async def publish(parts: Parts, conn: Connection, changed: Changed) -> None:
    """Publish what a committed change lets run; what is missed here, a steal finds."""
    refs = list(changed.refs)
    if changed.locks:
        with contextlib.suppress(*connection.OUTAGES):  # the change is committed, and its answer must say so
            refs += await locks.heads(conn, sorted(changed.locks))
    if refs:
        parts.publisher.publish(refs)
