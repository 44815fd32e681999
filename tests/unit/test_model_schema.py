from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.model.backoff import Backoff
from relay.model.payload import Limits, Payload
from relay.model.schema import DESCRIPTIONS
from relay.model.spec import JobSpec, json_schema, parse_spec

if TYPE_CHECKING:
    from relay.model.part import Part


@pytest.mark.parametrize("model", [JobSpec, Payload, Limits, Backoff])
def test_every_key_is_described(model: type[Part]) -> None:
    assert set(model.model_fields) == set(DESCRIPTIONS[model.__name__])


def test_descriptions_reach_the_schema() -> None:
    properties = json_schema()["$defs"]["Payload"]["properties"]
    assert properties["timeout"]["description"].startswith("Per attempt; 0 for none.")
    assert "Go-style" in properties["timeout"]["description"]


def test_the_defaults_in_the_schema_are_those_of_the_models() -> None:
    parts = json_schema()["$defs"]

    def defaults(model: str, *, leave_out: str = "") -> dict[str, object]:
        keys = parts[model]["properties"].items()
        return {name: key["default"] for name, key in keys if "default" in key and name != leave_out}

    written = {
        "payload": {"command": "x", **defaults("Payload"), "limits": defaults("Limits")},
        **defaults("JobSpec", leave_out="backoff"),
        "backoff": defaults("Backoff"),
    }
    assert parse_spec({"payload": {"command": "x"}}) == parse_spec(written)
    assert "backoff" in parts["JobSpec"]["properties"]
    assert not any("null" in str(default) for default in defaults("JobSpec").values())
