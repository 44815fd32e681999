"""The statements of `sql/queries`: each is what its header says, and has one caller."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import store
from relay.store import queries
from tests.integration import statements

if TYPE_CHECKING:
    from relay.store.connection import Connection

STORE = Path(store.__file__).parent
NO_ROW = re.compile(r"no row|always one row|never a row", re.IGNORECASE)


@pytest.mark.parametrize("stem", statements.STEMS)
async def test_a_statement_takes_the_parameters_that_its_header_names(conn: Connection, stem: str) -> None:
    statement = await conn.prepare(queries.text(stem))

    assert [parameter.name for parameter in statement.get_parameters()] == statements.documented_types(stem)


@pytest.mark.parametrize("stem", statements.STEMS)
def test_a_header_says_what_the_statement_does_and_what_no_row_means(stem: str) -> None:
    first = statements.header(stem).splitlines()[0]

    assert re.fullmatch(r"-- [A-Z].*", first)
    assert NO_ROW.search(statements.header(stem))


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

    assert callers == [(stem, stem) for stem in statements.STEMS]


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
    def where(stem: str) -> list[str]:
        filtered = queries.text(stem).partition("FROM jobs\n")[2].partition("ORDER BY")[0]
        return [line.strip() for line in filtered.splitlines() if line.strip()]

    assert where("list_job_ids") == where("list_jobs")
    assert where("count_matching_jobs") == where("list_jobs")
    assert where("list_jobs")
