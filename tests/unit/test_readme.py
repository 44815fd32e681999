"""The README says what the code does: its tables are made from it, and its examples are valid specs."""

from __future__ import annotations

import pytest

from relay.model.spec import parse_spec
from tests import readme


@pytest.mark.parametrize("name", ["job spec", "settings"])
def test_a_generated_table_is_up_to_date(name: str) -> None:
    assert readme.written(name) == readme.tables()[name], "run: python -m tests.readme"


def test_there_are_ten_examples_and_each_is_a_valid_spec() -> None:
    examples = dict(readme.examples())

    assert len(examples) == 10
    for raw in examples.values():
        assert parse_spec(raw).normalised()
