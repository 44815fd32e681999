"""Plans: among a million jobs each statement finds its rows through an index."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest

from relay.store import filters, queries
from tests.integration import crowd, statements
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.store.connection import Connection
    from tests.stack import Stack

pytestmark = pytest.mark.timeout(300)  # a million jobs take 15 s to make on an idle machine


class Plan(NamedTuple):
    """What of a plan matters: which tables it reads whole, and which indexes it uses."""

    scanned: frozenset[str]
    indexes: frozenset[str]
    text: str


def read_plan(plan: str) -> Plan:
    """Read EXPLAIN's JSON."""
    nodes = list(walk(json.loads(plan)[0]["Plan"]))
    return Plan(
        frozenset(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"),
        frozenset(node["Index Name"] for node in nodes if "Index Name" in node),
        plan,
    )


def walk(node: dict[str, object]) -> Iterator[dict[str, str]]:
    """Visit a plan's nodes."""
    yield {key: value for key, value in node.items() if isinstance(value, str)}
    children = node.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        yield from walk(child)


async def explain(conn: Connection, stem: str, arguments: str, *, mode: str) -> Plan:
    """Plan a statement as a prepared one: generic (for any values, as a busy connection does) or custom (for these)."""
    await conn.execute(f"SET plan_cache_mode = force_{mode}_plan")
    await conn.execute(f"DEALLOCATE ALL; PREPARE statement AS {queries.text(stem)}")
    return read_plan(await conn.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE statement{arguments}"))


@pytest.fixture(scope="module")
def crowded(stack: Stack) -> Iterator[str]:
    """The DSN of a database with a million jobs."""
    name = asyncio.run(databases.create(stack.pg_admin_dsn))
    dsn = databases.dsn_of(stack.pg_admin_dsn, name)
    asyncio.run(crowd.fill(dsn))
    yield dsn
    asyncio.run(databases.drop(stack.pg_admin_dsn, name))


@pytest.fixture
async def among_many(crowded: str) -> AsyncIterator[Connection]:
    """A connection to the database with a million jobs."""
    opened = await asyncpg.connect(crowded, server_settings={"jit": "off"}, statement_cache_size=0)
    yield opened
    await opened.close()


BIG = frozenset({"jobs", "job_specs", "attempts", "output_today", "idempotency_keys", "audit"})
WHOLE = {
    "count_all_jobs",  # by an index alone, where the table has been vacuumed
    "count_jobs",  # only where most jobs are alive
    "list_old_output_days",  # once for each day's partition, when it is about to be dropped
}
BY_VALUES = {"list_jobs", "list_job_ids", "count_matching_jobs", "measure_rates"}  # never planned for any values
GENERIC = [stem for stem in statements.STEMS if stem not in WHOLE | BY_VALUES | {"create_migrations_table"}]


@pytest.mark.parametrize("stem", GENERIC)
async def test_a_statement_planned_for_any_values_reads_no_big_table_whole(among_many: Connection, stem: str) -> None:
    nulls = ", ".join(["NULL"] * len(statements.documented_types(stem)))

    plan = await explain(among_many, stem, f"({nulls})" if nulls else "", mode="generic")

    assert not plan.scanned & BIG, plan.text


HOT = [
    (
        "claim_jobs",
        "(1, '{1,2}', '{null,null}')",
        {"jobs_pkey", "job_specs_pkey", "jobs_lock_holder", "jobs_lock_waiting"},
    ),
    ("steal_jobs", "('{default}', 2, 10)", {"jobs_due"}),
    ("steal_locked_jobs", None, {"jobs_lock_waiting", "jobs_lock_holder"}),
    ("finish_attempts", None, {"jobs_pkey", "attempts_pkey"}),
    ("append_output", None, {"attempts_one_open_per_job"}),
    ("lose_claims", None, {"jobs_pkey", "attempts_pkey"}),
    ("list_running_claims", None, {"jobs_running"}),
    ("heads", None, {"jobs_lock_waiting", "jobs_lock_holder"}),
    ("dispatch_due", "(0, 100)", {"jobs_undispatched"}),
    ("expire_jobs", "(100)", {"jobs_expiring"}),
    ("get_job", "(1)", {"jobs_pkey", "job_specs_pkey"}),
    ("get_jobs", "('{1,2}')", {"jobs_pkey", "job_specs_pkey"}),
    ("list_states", "('{1,2}')", {"jobs_pkey"}),
    ("list_attempts", "(1)", {"attempts_pkey"}),
    ("list_tree", "(1, 100)", {"jobs_pkey", "jobs_one_child_per_edge", "job_specs_pkey"}),
    ("get_circumstances", "(1)", {"jobs_pkey", "jobs_due", "jobs_lock_holder", "jobs_running", "attempts_pkey"}),
    ("cancel_job", "(1, 'a')", {"jobs_pkey"}),
    ("retry_jobs", "('{1}', '{DEAD}', 'a')", {"jobs_pkey"}),
    ("delete_jobs", "('{1}', '{DEAD}', 'a')", {"jobs_pkey", "job_specs_pkey", "attempts_pkey"}),
    ("find_first_id", "(now())", {"job_specs_pkey"}),
    ("read_output", "(100, 1, 0, null, 1000)", {"attempts_pkey", "output_today_pkey"}),
]


@pytest.mark.parametrize(("stem", "arguments", "indexes"), HOT, ids=[stem for stem, _, _ in HOT])
@pytest.mark.parametrize("mode", ["generic", "custom"])
async def test_a_hot_statement_finds_its_rows_by_its_indexes(
    among_many: Connection, stem: str, arguments: str | None, indexes: set[str], mode: str
) -> None:
    if arguments is None:
        arguments = f"({', '.join(['NULL'] * len(statements.documented_types(stem)))})"
        mode = "generic"

    plan = await explain(among_many, stem, arguments, mode=mode)

    assert plan.indexes >= indexes, plan.text
    assert not plan.scanned & BIG, plan.text


def listing(**given: str) -> str:
    """The arguments of list_jobs with these filters."""
    order = (
        "statuses",
        "live_queues",
        "queues",
        "name",
        "labels",
        "parent_id",
        "worker_id",
        "created_after",
        "created_before",
    )
    bounds = [given.get("first_id", "0"), given.get("before_id", str(2**63 - 1)), "51"]
    return f"({', '.join([given.get(key, 'NULL') for key in order] + bounds)})"


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ({}, "jobs_pkey"),
        ({"before_id": "500000"}, "jobs_pkey"),
        ({"first_id": "999000"}, "jobs_pkey"),
        ({"statuses": "'{DEAD}'"}, "jobs_ended_badly"),
        ({"statuses": "'{RUNNING}'"}, "jobs_running"),
        ({"statuses": "'{COMPLETED}'"}, "jobs_pkey"),
        ({"statuses": "'{PENDING,RUNNING}'"}, "jobs_pkey"),
        ({"statuses": "'{PENDING}'", "live_queues": "'{none}'"}, "jobs_due"),
        ({"statuses": "'{PENDING}'", "live_queues": "'{none}'"}, "jobs_lock_waiting"),
        ({"statuses": "'{DEAD}'", "live_queues": "'{gpu}'"}, "jobs_ended_badly"),
        ({"statuses": "'{COMPLETED}'", "queues": "'{none}'"}, "job_specs_queue"),
        ({"queues": "'{gpu}'"}, "job_specs_queue"),
        ({"queues": "'{none}'"}, "job_specs_queue"),
        ({"queues": "'{none,never}'"}, "job_specs_queue"),
        ({"name": "'name5'"}, "job_specs_name"),
        ({"name": "'name5'", "statuses": "'{DEAD}'"}, "jobs_ended_badly"),
        ({"labels": '\'{"customer": "300"}\''}, "job_specs_labels"),
        ({"parent_id": "77"}, "jobs_one_child_per_edge"),
    ],
)
async def test_each_filter_of_a_list_has_its_index(among_many: Connection, given: dict[str, str], index: str) -> None:
    plan = await explain(among_many, "list_jobs", listing(**given), mode="custom")

    assert index in plan.indexes, plan.text
    assert not plan.scanned & BIG, plan.text


async def test_a_list_without_filters_on_specs_reads_only_its_page_of_them(among_many: Connection) -> None:
    plan = await explain(among_many, "list_job_ids", listing(statuses="'{COMPLETED}'"), mode="custom")

    assert plan.indexes == {"jobs_pkey"}, plan.text


async def test_a_list_is_planned_for_its_values(among_many: Connection) -> None:
    async with filters.planned(among_many):
        assert await among_many.fetchval("SHOW plan_cache_mode") == "force_custom_plan"


async def test_output_is_read_from_one_partition(among_many: Connection) -> None:
    await among_many.execute(
        "CREATE TABLE output_old PARTITION OF output FOR VALUES FROM ('2025-01-01') TO ('2025-01-02')"
    )
    await among_many.execute(f"PREPARE statement AS {queries.text('read_output')}")

    plan = await among_many.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE statement(100, 1, 0, null, 1000)")

    read = {
        node["Index Name"]
        for node in walk(json.loads(plan)[0]["Plan"])
        if node.get("Index Name", "").startswith("output")
    }
    assert '"Subplans Removed"' in plan or read == {"output_today_pkey"}, plan


async def test_a_steal_reads_no_job_of_later(among_many: Connection) -> None:
    """A volatile function can't bound an index scan: compared with one, every delayed job would be read at each steal."""
    plan = await explain(among_many, "steal_jobs", "('{default}', 2, 10)", mode="generic")

    conditions = [
        node["Index Cond"] for node in walk(json.loads(plan.text)[0]["Plan"]) if node.get("Index Name") == "jobs_due"
    ]
    assert conditions
    assert all("run_at <=" in condition for condition in conditions), plan.text
