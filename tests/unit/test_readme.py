"""The README says what the code does: its tables are made from it, and its examples are valid specs."""

from __future__ import annotations

import json

import pytest

from relay.model.spec import parse_spec
from tests import readme
from tests.chaos import faults, rows


@pytest.mark.parametrize("name", ["job spec", "settings", "chaos"])
def test_a_generated_table_is_up_to_date(name: str) -> None:
    assert readme.written(name) == readme.tables()[name], "run: python -m tests.readme"


def test_there_are_ten_examples_and_each_is_a_valid_spec() -> None:
    examples = dict(readme.examples())

    assert len(examples) == 10
    for raw in examples.values():
        assert parse_spec(raw).normalised()


def test_each_row_of_faults_names_tests_and_faults_that_exist() -> None:
    for row in rows.ROWS:
        text = (rows.RECORD.parent / f"{row.file}.py").read_text()
        assert [name for name in row.tests if f"async def {name}(" not in text] == []
        assert set(row.measured) <= faults.FAULTS.keys()


def test_the_recorded_runs_held_every_invariant() -> None:
    recorded = json.loads(rows.RECORD.read_text())

    assert recorded
    assert [run["violations"] for run in recorded.values()] == [{}] * len(recorded)
