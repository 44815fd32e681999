"""Children: an end brings about its edge's children, once per round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from relay.model.records import JobRef
from relay.model.states import JobStatus, Lane
from relay.store import children, jobs
from relay.store.children import Ended
from tests.integration import seeding

if TYPE_CHECKING:
    from relay.store.connection import Connection

CHAIN: dict[str, Any] = {
    "on_success": [seeding.TRUE | {"name": "s0", "queue": "q"}, seeding.TRUE | {"name": "s1", "delay": "1h"}],
    "on_failure": seeding.TRUE | {"name": "f0"},
}


async def names_of_children(conn: Connection, job_id: int) -> list[str]:
    rows = await conn.fetch(
        "SELECT name FROM jobs JOIN job_specs ON job_id = id WHERE parent_id = $1 ORDER BY id", job_id
    )
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(JobStatus.COMPLETED, ["s0", "s1"]), (JobStatus.DEAD, ["f0"]), (JobStatus.CANCELLED, [])],
)
async def test_an_end_brings_about_the_children_of_its_edge(
    conn: Connection, status: JobStatus, expected: list[str]
) -> None:
    job_id = await seeding.insert_one(conn, **CHAIN)

    await children.create_children(conn, [Ended(job_id, 0, status)])

    assert await names_of_children(conn, job_id) == expected


async def test_children_that_are_due_are_answered_for_publishing(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn, **CHAIN)

    refs = await children.create_children(conn, [Ended(job_id, 0, JobStatus.COMPLETED)])

    child_id = await conn.fetchval("SELECT id FROM jobs WHERE edge_index = 0")
    assert refs == [JobRef(child_id, "q", Lane.NORMAL)]


async def test_of_children_with_a_named_lock_the_first_in_line_is_published(conn: Connection) -> None:
    locked = seeding.TRUE | {"lock": "db"}
    job_id = await seeding.insert_one(conn, on_success=[locked, locked])

    refs = await children.create_children(conn, [Ended(job_id, 0, JobStatus.COMPLETED)])

    assert [ref.id for ref in refs] == [await conn.fetchval("SELECT min(id) FROM jobs WHERE lock = 'db'")]


async def test_children_whose_lock_is_held_are_not_published(conn: Connection) -> None:
    holder_id = await seeding.insert_one(conn, lock="db")
    await seeding.start(conn, holder_id)
    job_id = await seeding.insert_one(conn, on_success=seeding.TRUE | {"lock": "db"})

    assert await children.create_children(conn, [Ended(job_id, 0, JobStatus.COMPLETED)]) == []


async def test_an_edge_has_one_child_per_round(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn, **CHAIN)
    await children.create_children(conn, [Ended(job_id, 0, JobStatus.DEAD)])

    await children.create_children(conn, [Ended(job_id, 1, JobStatus.DEAD)])
    with pytest.raises(asyncpg.UniqueViolationError):
        await children.create_children(conn, [Ended(job_id, 1, JobStatus.DEAD)])

    assert await names_of_children(conn, job_id) == ["f0", "f0"]


async def test_a_batch_of_ends_is_handled_at_once(conn: Connection) -> None:
    ids = [one.id for one in await seeding.insert(conn, *(seeding.new_job(**CHAIN) for _ in range(3)))]

    refs = await children.create_children(conn, [Ended(job_id, 0, JobStatus.DEAD) for job_id in ids])

    assert len(refs) == 3
    assert [await names_of_children(conn, job_id) for job_id in ids] == [["f0"]] * 3


async def test_children_leave_no_audit_row_and_keep_their_own_spec(conn: Connection) -> None:
    job_id = await seeding.insert_one(conn, labels={"a": "b"}, queue="parent", **CHAIN)

    (ref,) = await children.create_children(conn, [Ended(job_id, 0, JobStatus.DEAD)])

    child = await jobs.get_job(conn, ref.id)
    assert child is not None
    assert (child.queue, child.labels, child.parent_id) == ("default", {}, job_id)
    assert await seeding.audited(conn, ref.id) == []
