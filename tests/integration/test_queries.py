"""The statements of `sql/queries`: each is what its header says, has one caller, and finds its rows through an index."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest

import relay
from relay.store import filters, queries
from tests.integration import crowd
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.store.connection import Connection
    from tests.stack import Stack

STEMS = sorted(path.stem for path in (queries.folder() / "queries").glob("*.sql"))
STORE = queries.folder().parent / "relay" / "store"
PARAMETER = re.compile(r"^-- \$(\d+) (.*)$", re.MULTILINE)
TYPE = re.compile(
    r"(?<!\w)(double precision|timestamptz|bigint|integer|smallint|boolean|text|jsonb?|bytea|uuid|date)(\[\])?"
)
NO_ROW = re.compile(r"no row|always one row|never a row", re.IGNORECASE)
CATALOG_NAMES = {
    "double precision": "float8",
    "bigint": "int8",
    "integer": "int4",
    "smallint": "int2",
    "boolean": "bool",
}


def header(stem: str) -> str:
    """The comment that a statement begins with."""
    lines = queries.text(stem).splitlines()
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])


def documented_types(stem: str) -> list[str]:
    """The parameters' types by the header, as PostgreSQL's catalog names them."""
    found = PARAMETER.findall(header(stem))
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    types = []
    for _, words in found:
        match = TYPE.search(words)
        assert match is not None, f"no type in {words!r}"
        types.append(CATALOG_NAMES.get(match[1], match[1]) + (match[2] or ""))
    return types


@pytest.mark.parametrize("stem", STEMS)
async def test_a_statement_takes_the_parameters_that_its_header_names(conn: Connection, stem: str) -> None:
    statement = await conn.prepare(queries.text(stem))

    assert [parameter.name for parameter in statement.get_parameters()] == documented_types(stem)


@pytest.mark.parametrize("stem", STEMS)
def test_a_header_says_what_the_statement_does_and_what_no_row_means(stem: str) -> None:
    first = header(stem).splitlines()[0]

    assert re.fullmatch(r"-- [A-Z].*", first)
    assert NO_ROW.search(header(stem))


def test_each_statement_is_run_by_the_one_function_of_its_name() -> None:
    callers = sorted(
        (call.args[0].value, function.name)
        for path in STORE.glob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "queries.text"
        and isinstance(call.args[0], ast.Constant)
    )

    assert callers == [(stem, stem) for stem in STEMS]


def test_no_other_code_holds_sql() -> None:
    package = STORE.parent
    culprits = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS)\b", node.value)
    ]

    assert culprits == []


def test_all_statements_with_filters_filter_alike() -> None:
    def where(stem: str) -> str:
        return queries.text(stem).partition("\n WHERE ")[2].partition("\n ORDER BY ")[0].strip()

    assert where("list_job_ids") == where("list_jobs")
    assert where("count_matching_jobs") == where("list_jobs")
    assert where("list_jobs")


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


BIG = frozenset({"jobs", "job_specs", "attempts", "idempotency_keys", "audit"})
WHOLE = {
    "count_all_jobs",  # counts them; by an index alone where the table has been vacuumed
    "count_jobs",  # counts the live ones; reads whole tables only where most jobs are alive
    *("list_jobs", "list_job_ids", "count_matching_jobs", "measure_rates"),  # planned for their values: see below
}


@pytest.mark.parametrize("stem", [stem for stem in STEMS if stem not in WHOLE])
async def test_no_statement_reads_a_big_table_whole(among_many: Connection, stem: str) -> None:
    parameters = documented_types(stem)
    nulls = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
    if not re.search(r"\bFROM\b|\bUPDATE\b", queries.text(stem)) or "CREATE TABLE" in queries.text(stem):
        pytest.fail("nothing to explain") if parameters and "VALUES" not in queries.text(stem) else None
        return

    plan = await explain(among_many, stem, nulls, mode="generic")

    assert not plan.scanned & BIG, plan.text
