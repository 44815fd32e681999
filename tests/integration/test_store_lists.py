"""Lists: filters, pages, and dead letters in bulk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.model.states import JobStatus
from relay.store import dead_letters, filters, jobs
from relay.store.filters import Filters
from tests.integration import seeding

if TYPE_CHECKING:
    from relay.store.connection import Connection

DAY = timedelta(days=1)


async def names(conn: Connection, **wanted: object) -> list[str]:
    page = await jobs.list_jobs(conn, Filters(**wanted), limit=100)  # type: ignore[arg-type]
    return [job.name for job in page.items]


@pytest.fixture
async def six(conn: Connection) -> list[int]:
    """Jobs a to f, each in another state, some with what filters look for."""
    inserted = await seeding.insert(
        conn,
        seeding.new_job(name="a"),
        seeding.new_job(name="b", queue="q", lock="db"),
        seeding.new_job(name="c", queue="q", labels={"team": "x", "env": "prod"}),
        seeding.new_job(name="d", queue="r", labels={"team": "x"}),
        seeding.new_job(name="e"),
        seeding.new_job(name="f"),
    )
    ids = [one.id for one in inserted]
    await seeding.start(conn, ids[2], worker_id=3)
    for job_id, status in zip(ids[3:5], ("FAILED", "DEAD"), strict=True):
        await seeding.run(conn, job_id, status)
    await jobs.cancel_job(conn, ids[5], actor="token:1")
    await conn.execute(
        "UPDATE jobs SET parent_id = $1, parent_edge = 'on_failure', edge_index = 0, parent_round = 0 WHERE id = $2",
        ids[0],
        ids[4],
    )
    return ids


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "fedcba"),
        ({"statuses": (JobStatus.PENDING,)}, "ba"),
        ({"statuses": (JobStatus.RUNNING,)}, "c"),
        ({"statuses": (JobStatus.DEAD,)}, "e"),
        ({"statuses": (JobStatus.COMPLETED,)}, ""),
        ({"statuses": (JobStatus.PENDING, JobStatus.DEAD, JobStatus.CANCELLED)}, "feba"),
        ({"queues": ("q",)}, "cb"),
        ({"queues": ("q", "r", "none")}, "dcb"),
        ({"queues": ("q",), "statuses": (JobStatus.PENDING,)}, "b"),
        ({"name": "d"}, "d"),
        ({"labels": {"team": "x"}}, "dc"),
        ({"labels": {"team": "x", "env": "prod"}}, "c"),
        ({"labels": {"team": "y"}}, ""),
        ({"worker_id": 3}, "c"),
        ({"worker_id": 10**30}, ""),
        ({"parent_id": -1}, ""),
    ],
)
async def test_a_list_holds_what_matches_all_filters_newest_first(
    conn: Connection, wanted: dict[str, object], expected: str
) -> None:
    assert "".join(await names(conn, **wanted)) == expected


async def test_a_list_can_hold_the_children_of_one_job(conn: Connection, six: list[int]) -> None:
    assert await names(conn, parent_id=six[0]) == ["e"]


async def test_pages_follow_each_other_without_gap_or_repetition(conn: Connection, six: list[int]) -> None:
    seen: list[int] = []
    before_id: int | None = None
    while True:
        page = await jobs.list_jobs(conn, Filters(), limit=2, before_id=before_id)
        seen += [job.id for job in page.items]
        before_id = page.next_id
        if before_id is None:
            break
        await seeding.insert_one(conn)  # a newer job disturbs no page

    assert seen == six[::-1]


@pytest.mark.parametrize("before_id", [0, -5, 10**30])
async def test_a_forged_cursor_is_harmless(conn: Connection, six: list[int], before_id: int) -> None:
    page = await jobs.list_jobs(conn, Filters(), limit=100, before_id=before_id)

    assert len(page.items) == (len(six) if before_id > 0 else 0)


async def insert_over_days(conn: Connection, days: int) -> datetime:
    """One job for each day before today; answers the first day. Some ids are missing."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(days):
        job_id = await seeding.insert_one(conn, name=str(n))
        for table, key in (("jobs", "id"), ("job_specs", "job_id")):
            await conn.execute(f"UPDATE {table} SET created_at = $2 WHERE {key} = $1", job_id, first + n * DAY)
        await conn.execute("SELECT setval('jobs_id_seq', nextval('jobs_id_seq') + $1)", n % 3)
    return first


async def test_times_bound_a_list_on_both_sides_and_exclude_themselves(conn: Connection) -> None:
    first = await insert_over_days(conn, 9)

    assert await names(conn, created_after=first + 5 * DAY) == ["8", "7", "6"]
    assert await names(conn, created_before=first + 2 * DAY) == ["1", "0"]
    assert await names(conn, created_after=first + 2 * DAY, created_before=first + 5 * DAY) == ["4", "3"]
    assert await names(conn, created_before=first) == []
    assert await names(conn, created_after=first + 99 * DAY) == []


async def test_a_time_is_found_among_the_ids_wherever_it_lies(conn: Connection) -> None:
    first = await insert_over_days(conn, 20)
    created = {row["job_id"]: row["created_at"] for row in await conn.fetch("SELECT job_id, created_at FROM job_specs")}

    for n in range(-1, 21):
        bound = await filters.find_first_id(conn, first + n * DAY)
        assert {job_id for job_id, at in created.items() if at >= first + n * DAY} == {
            job_id for job_id in created if job_id >= bound
        }


async def test_an_empty_table_has_an_empty_list(conn: Connection) -> None:
    page = await jobs.list_jobs(conn, Filters(created_after=datetime(2026, 1, 1, tzinfo=UTC)), limit=5)

    assert page == jobs.Page([], None)


@pytest.fixture
async def dead(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seven dead letters, three of them in queue q, with chunks of two; and one failed job."""
    monkeypatch.setattr(dead_letters, "CHUNK", 2)
    ids = [await seeding.insert_one(conn, queue="q" if n < 3 else "default") for n in range(7)]
    for job_id in ids:
        await seeding.run(conn, job_id, "DEAD")
    await seeding.run(conn, await seeding.insert_one(conn), "FAILED")
    return ids


@pytest.mark.usefixtures("dead")
async def test_a_dry_run_counts_dead_letters_and_changes_nothing(conn: Connection) -> None:
    assert await dead_letters.count_dead(conn, Filters()) == 7
    assert await dead_letters.count_dead(conn, Filters(queues=("q",))) == 3
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'DEAD'") == 7


async def test_all_dead_letters_that_match_are_sent_round_again(conn: Connection, dead: list[int]) -> None:
    retried = [
        job async for chunk in dead_letters.retry_dead(conn, Filters(queues=("q",)), actor="token:1") for job in chunk
    ]

    assert sorted(job.ref.id for job in retried) == dead[:3]
    assert await conn.fetchval("SELECT count(*) FROM jobs WHERE status = 'PENDING'") == 3
    assert (await seeding.audited(conn, dead[0]))[-1] == ("token:1", "job.retry")


async def test_all_dead_letters_that_match_are_purged(conn: Connection, dead: list[int]) -> None:
    counts = [count async for count in dead_letters.purge_dead(conn, Filters(), actor="token:1")]

    assert counts == [2, 2, 2, 1]
    assert await conn.fetchval("SELECT array_agg(status) FROM jobs") == ["FAILED"]
    assert (await seeding.audited(conn, dead[0]))[-1] == ("token:1", "job.delete")
